"""The reader of scan-derived shapes, on a synthetic model with the published layout and none of its data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from synthetic import FaceModelError, Presentation, load_face_model, render_frame, render_patch
from synthetic.people import scan
from tests.support.face_model import KEPT, face_model_arrays

VERTICES = scan.KEPT[-1][1]
"""Layout of the published folder, as far as it is used."""


@pytest.fixture(scope="module")
def arrays() -> dict[str, np.ndarray]:
    return face_model_arrays()


@pytest.fixture(scope="module")
def model_file(arrays: dict[str, np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "faces.npz"
    np.savez(path, **arrays)  # type: ignore[arg-type]  # keyword arrays, not allow_pickle
    return path


def write_obj(path: Path, kept: np.ndarray, faces: np.ndarray | None = None) -> None:
    """Write an OBJ file with the published vertex order; vertices that are not kept are at the origin."""
    order = np.concatenate([np.arange(*span) for span in scan.KEPT])
    full = np.zeros((VERTICES, 3))
    full[order] = kept
    lines = ["# made up", *(f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in full)]
    if faces is not None:
        lines += ["f " + " ".join(f"{order[v] + 1}/1/1" for v in face) for face in faces]
    path.write_text("\n".join(lines) + "\n")


def test_the_published_folder_gives_the_same_shapes(
    arrays: dict[str, np.ndarray], model_file: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "FaceXModel"
    folder.mkdir()
    neutral = arrays["neutral"]
    write_obj(folder / "generic_neutral_mesh.obj", neutral, arrays["triangles"])
    for i, offset in enumerate(arrays["identity"].astype(np.float32)):
        write_obj(folder / f"identity{i:03d}.obj", neutral + offset)
    for name, offset in zip(arrays["expression_names"], arrays["expression"].astype(np.float32), strict=True):
        write_obj(folder / f"{name}.obj", neutral + offset)
    from_folder, from_file = load_face_model(str(folder)), load_face_model(str(model_file))
    assert np.array_equal(from_folder.topology.triangles, from_file.topology.triangles)
    assert from_folder.shape(7) == pytest.approx(from_file.shape(7), abs=0.01)
    assert from_folder.expression.keys() == from_file.expression.keys() == {"mouthSmile_L", "jawOpen"}
    assert from_folder.posed(7, {"jawOpen": 1.0}).vertices == pytest.approx(
        from_file.posed(7, {"jawOpen": 1.0}).vertices, abs=0.02
    )


def test_subjects_differ_and_stay_themselves(model_file: Path) -> None:
    model = load_face_model(str(model_file))
    assert np.array_equal(model.shape(3), model.shape(3))
    assert np.abs(model.shape(3) - model.shape(4)).max() > 0.1


def test_pictures_are_rendered_from_it(model_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(scan.VARIABLE, str(model_file))
    for species in ("bona_fide", "mask_rigid", "mask_silicone", "partial", "print_cutout"):
        shown = Presentation(seed=1, subject=2, species=species)
        first = render_patch(shown, shape="scan")
        again = render_patch(shown, shape="scan")
        other = render_patch(shown, shape="analytic")
        assert first.shape == "scan"
        assert np.array_equal(first.rgb, again.rgb)
        assert not np.array_equal(first.rgb, other.rgb)
    assert render_frame(Presentation(seed=1, subject=2), shape="scan", size=(320, 240)).rgb.any()


def test_without_a_model_it_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(scan.VARIABLE, raising=False)
    with pytest.raises(FaceModelError, match=scan.VARIABLE):
        render_patch(Presentation(seed=1, subject=2), shape="scan")


def test_an_unknown_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="analytic, scan"):
        render_patch(Presentation(seed=1, subject=2), shape="sphere")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FaceModelError, match=r"nowhere\.npz"):
        load_face_model(str(tmp_path / "nowhere.npz"))


def test_a_folder_without_the_neutral_face_is_named(tmp_path: Path) -> None:
    (tmp_path / "readme").write_text("x")
    with pytest.raises(FaceModelError, match=r"generic_neutral_mesh\.obj"):
        load_face_model(str(tmp_path))


def test_another_npz_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", neutral=np.zeros((3, 3)))
    with pytest.raises(FaceModelError, match=r"other\.npz.*not the face model"):
        load_face_model(str(tmp_path / "other.npz"))


def test_a_model_of_another_size_is_refused(arrays: dict[str, np.ndarray], tmp_path: Path) -> None:
    short = {**arrays, "neutral": arrays["neutral"][:-5], "identity": arrays["identity"][:, :-5]}
    np.savez(tmp_path / "short.npz", **short)  # type: ignore[arg-type]  # keyword arrays
    with pytest.raises(FaceModelError, match=rf"{KEPT - 5} vertices"):
        load_face_model(str(tmp_path / "short.npz"))


def test_a_file_that_would_unpickle_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "pickled.npz", neutral=np.array([{"a": 1}], object))
    with pytest.raises(FaceModelError, match=r"pickled\.npz"):
        load_face_model(str(tmp_path / "pickled.npz"))


def test_a_malformed_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.obj"
    path.write_text("v 0 0 0\nv 1 2\n")
    with pytest.raises(FaceModelError, match=r"x\.obj:2"):
        scan.read_obj(path, faces=True)


def test_polygons_become_fans(tmp_path: Path) -> None:
    path = tmp_path / "x.obj"
    path.write_text("v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nvt 0 0\nf 1/1 2/1 3/1 4/1\n")
    vertices, triangles = scan.read_obj(path, faces=True)
    assert vertices.shape == (4, 3)
    assert triangles.tolist() == [[0, 1, 2], [0, 2, 3]]
