"""The Python API: names, inputs and errors of `import adsn`."""

from __future__ import annotations

import pickle
import subprocess
import sys
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import adsn
from runtime.bundle.manifest import open_bundle
from runtime.core.errors import BundleMissing, InvalidFaceBox, ModalityMissing, TruncatedImage, WrongChannels
from runtime.core.values import Modality
from runtime.liveness.open import LoadedModel, default_bundle
from synthetic import SPECIES
from tests.support import scenes

HEAVY = {"torch", "onnx", "onnxruntime", "cv2", "numpy", "pydantic", "synthetic"}
BONA_FIDE = SPECIES[0]


def pipeline(modalities: tuple[Modality, ...] = ("rgb", "ir"), score: float = 0.95) -> adsn.Pipeline:
    """The public pipeline with an engine that returns a given score."""
    inner = scenes.pipeline(scenes.ScriptedEngine(modalities, score), modalities=modalities)
    return adsn.Pipeline(LoadedModel(inner, open_bundle(default_bundle()).manifest, ""))


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Image files of a simulated bona fide presentation."""
    from runtime.capture.simulated.rig import SyntheticRig

    folder = tmp_path_factory.mktemp("sample")
    pair = SyntheticRig(seed=20260726, subject=7, species=BONA_FIDE, family="A", presentation=0).next().pair
    rgb, ir = folder / "rgb.png", folder / "ir.png"
    cv2.imwrite(str(rgb), cv2.cvtColor(pair.image("rgb"), cv2.COLOR_RGB2BGR))
    cv2.imwrite(str(ir), pair.image("ir"))
    return rgb, ir


def test_every_public_name_is_there() -> None:
    assert sorted(adsn.__all__) == adsn.__all__
    for name in adsn.__all__:
        assert getattr(adsn, name) is not None
    assert set(adsn.__all__) <= set(dir(adsn))
    with pytest.raises(AttributeError, match="no attribute 'load_pipelin'"):
        adsn.load_pipelin  # noqa: B018


def test_importing_it_loads_nothing_heavy_and_a_decision_loads_no_torch(sample: tuple[Path, Path]) -> None:
    code = f"""
import sys
import adsn
loaded = {sorted(HEAVY)!r}
assert not set(loaded) & set(sys.modules), set(loaded) & set(sys.modules)
assert adsn.__version__
result = adsn.load_pipeline().assess({str(sample[0])!r}, {str(sample[1])!r})
assert not {{"torch", "onnx", "synthetic"}} & set(sys.modules)
print(result.decision)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in ("live", "spoof", "uncertain")


def test_files_and_arrays_give_the_same_result(sample: tuple[Path, Path]) -> None:
    bgr, grey = cv2.imread(str(sample[0])), cv2.imread(str(sample[1]), cv2.IMREAD_GRAYSCALE)
    assert bgr is not None
    assert grey is not None
    rgb = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
    with adsn.load_pipeline() as loaded:
        results = [
            loaded.assess(*sample),
            loaded.assess(str(sample[0]), str(sample[1])),
            loaded.assess(rgb, grey),
            loaded.assess(rgb, grey[:, :, None]),
            loaded.assess(rgb, cv2.imread(str(sample[1]))),
        ]
    assert len({r.score for r in results}) == 1
    assert len({r.face for r in results}) == 1


def test_a_face_in_bgr_order_is_warned_of_once_and_still_judged(sample: tuple[Path, Path]) -> None:
    bgr, grey = cv2.imread(str(sample[0])), cv2.imread(str(sample[1]), cv2.IMREAD_GRAYSCALE)
    assert bgr is not None
    assert grey is not None
    with adsn.load_pipeline() as loaded:
        with pytest.warns(adsn.ColourOrderWarning, match=r"cv2\.COLOR_BGR2RGB") as given:
            judged = loaded.assess(bgr, grey)
        assert [Path(warning.filename).name for warning in given] == [Path(__file__).name]
        assert judged.decision in ("live", "spoof", "uncertain")
        # Warnings are errors in these tests: a second warning would raise here.
        assert loaded.assess(bgr, grey).score == judged.score


def test_a_result_says_what_it_rests_on_and_has_no_truth_value() -> None:
    result = pipeline().assess(scenes.rgb_image(), scenes.ir_image()[:, :, 0])
    assert (result.decision, result.is_live, result.reasons) == ("live", True, ())
    assert result.score == pytest.approx(0.95)
    assert result.threshold == scenes.POINT.threshold
    assert set(result.stream_scores) == set(result.boxes) == {"rgb", "ir"}
    assert result.face == result.boxes[result.face_image] == scenes.BOX
    assert {check.status for check in result.checks} >= {"pass"}
    assert pickle.loads(pickle.dumps(result)) == result
    with pytest.raises(TypeError, match="is_live"):
        bool(result)
    with pytest.raises(FrozenInstanceError):
        result.decision = "live"  # type: ignore[misc]  # the field is read-only


def test_an_attack_is_not_live() -> None:
    result = pipeline(score=0.01).assess(scenes.rgb_image(), scenes.ir_image())
    assert (result.decision, result.is_live) == ("spoof", False)


def test_named_boxes_are_used() -> None:
    images = scenes.rgb_image(None), scenes.ir_image(None)
    with pytest.raises(adsn.NoFace):
        pipeline().assess(*images)
    result = pipeline().assess(*images, boxes={"rgb": (240, 140, 160, 160), "ir": adsn.Box(240, 140, 160, 160)})
    assert result.boxes == {"rgb": scenes.BOX, "ir": scenes.BOX}
    with pytest.raises(InvalidFaceBox):
        pipeline().assess(*images, boxes={"rgb": (600, 140, 160, 160)})
    with pytest.raises(adsn.InputError, match=r"boxes\['rgb'\]"):
        pipeline().assess(*images, boxes={"rgb": (1, 2, 3)})  # type: ignore[dict-item]
    with pytest.raises(adsn.InputError, match="'thermal'"):
        pipeline().assess(*images, boxes={"thermal": (1, 2, 3, 4)})  # type: ignore[dict-item]


def test_depth_is_taken_as_millimetres() -> None:
    result = pipeline(("ir", "depth")).assess(ir=scenes.ir_image(), depth=scenes.depth_map()[:, :, 0])
    assert result.face_image == "ir"
    assert next(c.value for c in result.checks if c.name == "depth.distance_mm") == 600


RGB, IR, DEPTH = scenes.rgb_image(), scenes.ir_image(), scenes.depth_map()


@pytest.mark.parametrize(
    ("modalities", "given", "error", "message"),
    [
        (("rgb", "ir"), {"rgb": None, "ir": IR}, ModalityMissing, "rgb: None .* cv2.imread"),
        (("rgb", "ir"), {"rgb": RGB}, ModalityMissing, "ir: None"),
        (("rgb", "ir"), {"rgb": RGB, "ir": IR, "depth": DEPTH}, adsn.InputError, "depth: this model takes rgb and ir"),
        (("rgb", "ir"), {"rgb": [[0]], "ir": IR}, adsn.InputError, "rgb: list; expected a NumPy array"),
        (("rgb", "ir"), {"rgb": IR, "ir": IR}, adsn.InputError, r"\[480, 640, 1\].* swapped"),
        (("rgb", "ir"), {"rgb": IR[:, :, 0], "ir": IR}, adsn.InputError, "swapped"),
        (("rgb", "ir"), {"rgb": RGB, "ir": np.dstack([IR, IR, IR + 40])}, WrongChannels, "swapped"),
        (("rgb", "ir"), {"rgb": RGB / 255, "ir": IR}, adsn.InputError, r"float64 .* astype\(numpy.uint8\)"),
        (("rgb", "ir"), {"rgb": np.dstack([RGB, IR]), "ir": IR}, adsn.InputError, "alpha"),
        (("rgb", "ir"), {"rgb": RGB[None], "ir": IR}, adsn.InputError, r"\[1, 480, 640, 3\]"),
        (("rgb", "ir"), {"rgb": RGB[:0], "ir": IR}, adsn.InputError, r"\[0, 640, 3\]"),
        (("rgb", "ir"), {"rgb": RGB, "ir": IR.astype(np.uint16)}, adsn.InputError, "ir: an array of uint16"),
        (("ir", "depth"), {"ir": IR, "depth": DEPTH.astype(np.uint16)}, adsn.InputError, "astype.numpy.float32"),
        (("rgb", "ir"), {"rgb": "/none/rgb.png", "ir": IR}, adsn.InputError, "/none/rgb.png cannot be read: No such"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(
    modalities: tuple[Modality, ...], given: dict[str, Any], error: type[adsn.AdsnError], message: str
) -> None:
    with pytest.raises(error, match=message):
        pipeline(modalities).assess(**given)


def test_files_that_are_no_images_are_named(sample: tuple[Path, Path], tmp_path: Path) -> None:
    cut = tmp_path / "cut.png"
    cut.write_bytes(sample[1].read_bytes()[:-20])
    with pytest.raises(TruncatedImage, match=r"cut\.png: the PNG file ends"):
        pipeline().assess(sample[0], cut)
    with pytest.raises(WrongChannels, match=r"rgb\.png: ir: a colour picture"):
        pipeline().assess(sample[0], sample[0])


def test_a_bundle_that_is_not_there_and_a_wrong_precision_are_named(tmp_path: Path) -> None:
    with pytest.raises(BundleMissing, match="no such folder"):
        adsn.load_pipeline(tmp_path / "none")
    with pytest.raises(BundleMissing):
        adsn.load_pipeline(tmp_path)
    with pytest.raises(ValueError, match="'fp16'"):
        adsn.load_pipeline(precision="fp16")  # type: ignore[arg-type]


def test_a_pipeline_says_what_it_is() -> None:
    loaded = adsn.load_pipeline()
    assert repr(loaded).startswith("<Pipeline 'adsn-rgb-ir': rgb + ir, threshold 0.")
    assert loaded.modalities == ("rgb", "ir")
    assert loaded.version == open_bundle(default_bundle()).manifest.version
