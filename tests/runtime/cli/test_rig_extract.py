"""``adsn-rig extract``: a recording becomes a set that the data set readers can read."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner, Result

from adsn.datasets import open_dataset
from runtime.capture.simulated.rig import SyntheticRig
from runtime.cli.rig.extract import write_picture
from runtime.cli.rig.main import app
from runtime.config.rig import RigSettings
from runtime.core.values import Frame, Modality
from runtime.recording.writer import Recorder

PERIOD = 100_000_000
COUNT = 4


def call(*words: str | Path) -> Result:
    return CliRunner().invoke(app, ["extract", *map(str, words)])


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Record a simulated person at ten pairs/s, with one pair of an empty scene in between."""
    rig = SyntheticRig(seed=107, subject=7, species="bona_fide", family="A", presentation=0, shape="analytic")
    settings = RigSettings(rgb="synthetic:", ir="synthetic:", strobe="none")
    recorder = Recorder(tmp_path_factory.mktemp("r") / "private", settings, consent="nobody is in it", min_free=0)
    for n in range(COUNT):
        pair = rig.next().pair
        for modality in ("rgb", "ir"):
            image = pair.image(modality) if n != 1 else np.full_like(pair.image(modality), 90)
            t = 1_000_000_000 + n * PERIOD
            recorder.on_frame(frame(modality, image, n, t))
    recorder.close()
    assert recorder.error == ""
    return recorder.path


def frame(modality: Modality, image: np.ndarray, n: int, t: int) -> Frame:
    return Frame(modality, image, t, t + 1_000_000, n, "synthetic", lit="lit")


def words(recording: Path, folder: Path, **more: str) -> list[str | Path]:
    said = {"subject": "p1", "species": "bona_fide", "split": "train", **more}
    return [recording, folder, *(word for key, value in said.items() for word in (f"--{key}", value))]


def test_pairs_with_faces_come_out_and_the_reader_takes_them(recording: Path, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    done = call(*words(recording, folder), "--every-ms", "0", "--presentation", "p1-1")
    assert done.exit_code == 0, done.output
    assert f"{COUNT - 1} pairs written, 1 skipped (no face)" in done.output
    taken = folder / "p1-1"
    assert sorted(path.name for path in taken.iterdir()) == sorted(
        ["boxes.json", *(f"{n:04d}-{m}.png" for n in range(COUNT - 1) for m in ("rgb", "ir"))]
    )
    assert {stat.S_IMODE(path.stat().st_mode) for path in [*taken.iterdir(), folder / "recordings.csv"]} == {0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    boxes = json.loads((taken / "boxes.json").read_text())
    assert set(boxes) == {"0000", "0001", "0002"}
    assert set(boxes["0000"]) == {"rgb", "ir"}

    pairs = open_dataset("recordings", folder, split="train", modalities=("rgb", "ir"))
    assert (len(pairs), pairs.species()) == (COUNT - 1, ["bona_fide"] * (COUNT - 1))
    # The crop shows the face, not the whole image.
    picture = cv2.imread(str(taken / "0000-rgb.png"))
    assert picture is not None
    crop = pairs[0].crops["rgb"]
    assert not np.array_equal(crop, cv2.resize(picture[:, :, ::-1], crop.shape[1::-1]))


def test_pairs_are_spaced_and_counted_out(recording: Path, tmp_path: Path) -> None:
    assert call(*words(recording, tmp_path / "a"), "--every-ms", "250").exit_code == 0
    (only,) = [path for path in (tmp_path / "a").iterdir() if path.is_dir()]
    assert len(list(only.glob("*-rgb.png"))) == 2
    assert call(*words(recording, tmp_path / "b"), "--every-ms", "0", "--at-most", "1").exit_code == 0
    (only,) = [path for path in (tmp_path / "b").iterdir() if path.is_dir()]
    assert len(list(only.glob("*-rgb.png"))) == 1


def test_nobody_is_in_two_splits_and_nothing_is_written_over(recording: Path, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    assert call(*words(recording, folder), "--presentation", "a").exit_code == 0
    before = (folder / "recordings.csv").read_bytes()
    for more, says in (
        (["--presentation", "a"], "already exists"),
        (["--presentation", "b", "--split", "test"], "already in train"),
        (["--presentation", "../b"], "not a folder name"),
        (["--presentation", "b", "--species", " "], "is not a valid name"),
    ):
        done = call(*words(recording, folder), *more)
        assert done.exit_code != 0
        assert says in str(done.exception)
    assert (folder / "recordings.csv").read_bytes() == before
    assert sorted(path.name for path in folder.iterdir()) == ["a", "recordings.csv"]
    assert call(*words(recording, folder), "--presentation", "b").exit_code == 0
    assert len((folder / "recordings.csv").read_text().splitlines()) == 3


def test_a_species_that_is_new_has_to_be_said_so(recording: Path, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    for species, guess in (
        ("print_mat", "did you mean print_matte?"),
        ("waxwork", "is new to this set; known are bona_fide, "),
    ):
        done = call(*words(recording, folder, species=species))
        assert done.exit_code != 0
        assert guess in str(done.exception)
        assert "--new-species" in str(done.exception)
    assert not folder.exists()
    assert call(*words(recording, folder, species="waxwork"), "--new-species", "--presentation", "a").exit_code == 0
    # Now the species is known to the set.
    assert call(*words(recording, folder, species="waxwork"), "--presentation", "b").exit_code == 0
    done = call(*words(recording, folder, species="waxworks"), "--presentation", "c")
    assert "did you mean waxwork?" in str(done.exception)


def test_without_a_face_nothing_is_written(tmp_path: Path) -> None:
    settings = RigSettings(rgb="synthetic:", ir="synthetic:", strobe="none")
    recorder = Recorder(tmp_path / "r", settings, consent="nobody is in it", min_free=0)
    for modality, channels in (("rgb", 3), ("ir", 1)):
        recorder.on_frame(frame(modality, np.full((120, 160, channels), 90, np.uint8), 0, 1))  # type: ignore[arg-type]
    recorder.close()
    done = call(*words(recorder.path, tmp_path / "set"))
    assert done.exit_code == 1
    assert "no face found in 1 pairs" in done.output
    assert list((tmp_path / "set").iterdir()) == []


def test_depth_is_kept_in_millimetres(tmp_path: Path) -> None:
    depth = np.array([[[0.0], [412.4]], [[70000.0], [1.5]]], np.float32)
    write_picture(tmp_path / "0000-depth.png", depth)
    back = cv2.imread(str(tmp_path / "0000-depth.png"), cv2.IMREAD_UNCHANGED)
    assert back is not None
    assert back.dtype == np.uint16
    assert back.tolist() == [[0, 412], [65535, 2]]
