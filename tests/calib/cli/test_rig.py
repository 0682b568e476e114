"""The commands, as used by a technician, with folders and with cameras, and their errors."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner, Result

import calib.cli.check
import calib.cli.rig
from calib.cli.main import app
from calib.geometry.pictures import pairs_in, write
from calib.geometry.session import BoardSession
from runtime.capture.open import SCHEMES, Scheme
from runtime.core.errors import AdsnError
from runtime.geometry.calibration_file import load_geometry, save_geometry
from tests.support.geometry.board_cameras import LOOKS, RIG, shown, somebody


def call(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def refused(result: Result) -> str:
    assert isinstance(result.exception, AdsnError), result.output
    return result.exception.message


@pytest.fixture
def cameras(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("board", "blink", "face"):
        monkeypatch.setitem(SCHEMES, name, Scheme("tests.support.geometry.board_cameras", name, f"{name}:"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "pairs"
    path.mkdir()
    for number, (rgb, ir) in enumerate(zip(shown("rgb"), shown("ir"), strict=True)):
        write(path, f"view{number:02}", {"rgb": rgb, "ir": ir})
    return path


FROM_FOLDER = ("--rgb-camera", "usb-1-rgb", "--ir-camera", "usb-1-ir")


def test_pictures_come_back_from_their_folder(folder: Path) -> None:
    pairs = list(pairs_in(folder, ("rgb", "ir")))
    assert [name for name, _ in pairs] == [f"view{n:02}" for n in range(len(shown("rgb")))]
    assert np.array_equal(pairs[3][1]["rgb"], shown("rgb")[3])
    assert np.array_equal(pairs[3][1]["ir"], shown("ir")[3])


def test_a_folder_of_pairs_becomes_a_geometry(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "rig.json"
    done = call("rig", "--images", folder, "--out", out, *FROM_FOLDER, "--depth-like", "ir", "--depth-camera", "tof-7")
    assert done.exit_code == 0, done.output
    assert "mm apart" in done.output
    assert f'geometry = "{out}" in the section [rig]' in done.output
    found = load_geometry(out)
    assert {m: c.identity for m, c in found.cameras.items()} == {"rgb": "usb-1-rgb", "ir": "usb-1-ir", "depth": "tof-7"}
    assert np.abs(found.cameras["ir"].translation - RIG.cameras["ir"].translation).max() < 0.5
    assert np.array_equal(found.cameras["depth"].matrix, found.cameras["ir"].matrix)
    first = out.read_bytes()
    # With one image less the calibration is different, so the two files differ.
    (folder / "view17-ir.png").rename(folder / "view17-later.png")
    again = call("rig", "--images", folder, "--out", out, *FROM_FOLDER)
    assert again.exit_code == 0, again.output
    assert out.read_bytes() != first
    older = [path for path in tmp_path.glob("rig*.json") if path != out]
    assert len(older) == 1
    assert older[0].read_bytes() == first
    assert older[0].name.startswith(f"rig-{json.loads(first)['date'][:4]}")


def test_what_cannot_be_calibrated_writes_nothing(folder: Path, tmp_path: Path) -> None:
    few = tmp_path / "few"
    few.mkdir()
    for number in range(4):
        for kind in ("rgb", "ir"):
            name = f"view{number:02}-{kind}.png"
            (few / name).write_bytes((folder / name).read_bytes())
    out = tmp_path / "rig.json"
    assert "11 more views" in refused(call("rig", "--images", few, "--out", out, *FROM_FOLDER))
    assert "7x10 squares" not in refused(call("rig", "--images", few, "--out", out, *FROM_FOLDER))
    other = refused(call("rig", "--images", few, "--out", out, *FROM_FOLDER, "--columns", "5", "--rows", "5"))
    assert "no image shows the board of 5x5 squares" in other
    cv2.imwrite(str(few / "view03-ir.png"), np.zeros((400, 320), np.uint8))
    assert "view03: the infrared image has 320×400" in refused(call("rig", "--images", few, "--out", out, *FROM_FOLDER))
    (few / "view00-ir.png").write_bytes(b"no picture")
    assert "view00-ir.png" in refused(call("rig", "--images", few, "--out", out, *FROM_FOLDER))
    assert not out.exists()


def test_an_older_file_that_is_no_geometry_is_not_overwritten(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "rig.json"
    out.write_text("precious")
    assert "is not overwritten" in refused(call("rig", "--images", folder, "--out", out, *FROM_FOLDER))
    assert out.read_text() == "precious"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "--rgb and --ir"),
        (("--rgb", "board:a"), "--rgb and --ir"),
        (("--images", "/proc/nowhere"), "identities"),
        (("--images", "/proc/nowhere", *FROM_FOLDER), "no such folder"),
        (("--images", "/tmp", "--rgb", "board:a", *FROM_FOLDER), "live cameras"),
        (("--depth-like", "ir"), "must be given together"),
        (("--rgb", "nowhere", "--ir", "board:a"), "not a camera address"),
        (("--images", "/tmp", *FROM_FOLDER, "--columns", "2"), "squares"),
    ],
)
def test_wrong_use_of_rig(words: tuple[str, ...], says: str) -> None:
    assert says in refused(call("rig", *words))


@pytest.mark.usefixtures("cameras")
def test_live_cameras_are_watched_until_nothing_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offer(session: BoardSession, name: str, pictures: Any) -> str:
        LOOKS.append(name)
        return look(session, name, pictures)

    look = BoardSession.offer
    monkeypatch.setattr(BoardSession, "offer", offer)
    monkeypatch.setattr(calib.cli.rig, "LOOK_S", 0.03)
    LOOKS.clear()
    out, kept = tmp_path / "rig.json", tmp_path / "kept"
    done = call("rig", "--rgb", "board:live", "--ir", "board:live", "--out", out, "--keep", kept, "--seconds", 60)
    assert done.exit_code == 0, f"{done.output} {done.exception}"
    found = load_geometry(out)
    assert found.cameras["ir"].identity == "usb-1-ir"
    assert np.abs(found.cameras["ir"].translation - RIG.cameras["ir"].translation).max() < 1
    assert "Still missing" in done.output
    assert len(list(pairs_in(kept, ("rgb", "ir")))) == found.views
    assert "They show the person who holds the board" in done.output


@pytest.mark.usefixtures("cameras")
def test_the_offset_of_a_recording() -> None:
    done = call("offset", "--rgb", "blink:x?late=12", "--ir", "blink:x", "--seconds", 60)
    assert done.exit_code == 0, f"{done.output} {done.exception}"
    line = next(line for line in done.output.splitlines() if "rgb_offset_ms" in line)
    value = float(line.split("rgb_offset_ms = ")[1].split(" ")[0])
    assert abs(value + 12) <= 1.0
    assert "by blink" in done.output
    assert "in the section [rig]" in done.output


@pytest.mark.usefixtures("cameras")
def test_an_offset_that_nothing_determines_is_none() -> None:
    done = call("offset", "--rgb", "blink:x", "--ir", "blink:x?steady=1", "--seconds", 60, "--method", "blink")
    assert done.exit_code == 1
    assert "recording is over" in refused(done)
    assert "--rgb and --ir" in refused(call("offset", "--rgb", "blink:x"))


def geometry_of_somebody(path: Path, moved_px: float) -> Path:
    """Write a geometry for the cameras that see a face, whose IR camera has been moved since."""
    geometry = somebody()[0].geometry
    ir = geometry.cameras["ir"]
    matrix = ir.matrix.copy()
    matrix[0, 2] -= moved_px
    moved = dataclasses.replace(geometry, cameras={**geometry.cameras, "ir": dataclasses.replace(ir, matrix=matrix)})
    save_geometry(moved, path)
    return path


@pytest.mark.usefixtures("cameras")
@pytest.mark.parametrize("moved_px", [0.0, 25.0])
def test_cameras_that_moved_are_told_from_those_that_did_not(
    tmp_path: Path, moved_px: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calib.cli.check, "ENOUGH", 20)
    monkeypatch.setattr(calib.cli.check, "LOOK_S", 0.01)
    path = geometry_of_somebody(tmp_path / "rig.json", moved_px)
    done = call("check", path, "--rgb", "face:x", "--ir", "face:x", "--seconds", 60)
    if moved_px:
        assert "a camera has moved" in refused(done)
    else:
        assert done.exit_code == 0, f"{done.output} {done.exception}"
        assert "have not moved" in done.output


@pytest.mark.usefixtures("cameras")
def test_check_refuses_other_cameras_and_too_little(folder: Path, tmp_path: Path) -> None:
    path = geometry_of_somebody(tmp_path / "rig.json", 0)
    assert "identity" in refused(call("check", path, "--rgb", "board:x", "--ir", "board:x"))
    assert "are too few to tell" in refused(call("check", path, "--rgb", "face:x", "--ir", "face:x", "--seconds", 1))
    assert "--rgb and --ir" in refused(call("check", path))
    assert "No such file" in refused(call("check", tmp_path / "none.json", "--rgb", "face:x", "--ir", "face:x"))


def test_the_board_is_written(tmp_path: Path) -> None:
    for name in ("board.pdf", "board.png"):
        done = call("board", tmp_path / name, "--page", "letter")
        assert done.exit_code == 0, done.output
        assert (tmp_path / name).stat().st_size > 1000
    assert ".pdf or .png" in refused(call("board", tmp_path / "board.svg"))
    assert "/proc/nowhere" in refused(call("board", "/proc/nowhere/board.pdf"))
    assert "fit" in refused(call("board", tmp_path / "x.pdf", "--square-mm", "40"))
