"""Calibration from images of a board taken by a rig with known geometry."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from calib.geometry.board import Board, BoardDetection, BoardFinder
from calib.geometry.coverage import CELLS, LEAST_VIEWS, BoardView, attitude, common, empty_cells, gaps
from calib.geometry.session import BoardSession
from calib.geometry.stereo import StereoCalibration, calibrate
from runtime.core.errors import CalibrationInvalid, ConfigError
from runtime.core.values import Modality
from runtime.geometry.box_mapping import reproject_box
from tests.support.geometry.board_cameras import photographer, shown
from tests.support.geometry.boards import Photographer, pose
from tests.support.geometry.rigs import centre, face, rig

BOARD = Board()
RIG = rig()
SIZES: dict[Modality, tuple[int, int]] = {"rgb": (640, 480), "ir": (640, 400)}
IDENTITIES: dict[Modality, str] = {"rgb": "usb-1-rgb", "ir": "usb-1-ir"}
BOTH: tuple[Modality, Modality] = ("rgb", "ir")
DATE = "2026-01-02T03:04:05Z"
Picture = NDArray[Any]


@functools.cache
def photographers() -> tuple[Photographer, Photographer]:
    pictures()
    return photographer("rgb"), photographer("ir")


@functools.cache
def pictures() -> list[dict[Modality, Picture]]:
    return [{"rgb": rgb, "ir": ir} for rgb, ir in zip(shown("rgb"), shown("ir"), strict=True)]


@functools.cache
def views() -> tuple[BoardView, ...]:
    finder = BoardFinder(BOARD)
    found = []
    for number, pair in enumerate(pictures()):
        seen = {modality: finder.find(picture) for modality, picture in pair.items()}
        if all(seen.values()):
            found.append(BoardView(f"view-{number:02}", seen))  # type: ignore[arg-type]
    return tuple(found)


@functools.cache
def result() -> StereoCalibration:
    return calibrate(views(), SIZES, IDENTITIES, BOARD, DATE)


def test_the_rig_is_recovered() -> None:
    found = result().geometry
    rgb, ir = found.cameras["rgb"], found.cameras["ir"]
    for camera, true in ((rgb, RIG.cameras["rgb"]), (ir, RIG.cameras["ir"])):
        assert camera.matrix[0, 0] == pytest.approx(true.matrix[0, 0], rel=0.005)
        assert camera.matrix[1, 1] == pytest.approx(true.matrix[1, 1], rel=0.005)
        assert np.abs(camera.matrix[:2, 2] - true.matrix[:2, 2]).max() < 3
        assert camera.rms_px < 0.4
    assert found.rms_px < 0.3
    assert np.abs(ir.translation - RIG.cameras["ir"].translation).max() < 0.5
    turned = ir.rotation @ RIG.cameras["ir"].rotation.T
    assert np.degrees(np.linalg.norm(cv2.Rodrigues(turned)[0])) < 0.2
    assert (rgb.identity, ir.identity, found.date) == ("usb-1-rgb", "usb-1-ir", DATE)
    assert np.array_equal(rgb.rotation, np.eye(3))


def test_what_it_is_for_is_right_to_a_fifth_of_a_pixel() -> None:
    """Compare face boxes at known distances with the true rig, over the whole range and most of the image."""
    found = result().geometry.cameras
    worst = 0.0
    for z in (350.0, 500.0, 700.0, 1000.0):
        for x in (-0.2, 0.0, 0.2):
            for y in (-0.1, 0.1):
                point = (x * z, y * z, z)
                placed = reproject_box(face(RIG.cameras["rgb"], point), found["rgb"], found["ir"], z)
                assert placed is not None
                worst = max(worst, float(np.linalg.norm(centre(placed) - centre(face(RIG.cameras["ir"], point)))))
    assert worst < 0.2


def test_the_held_out_error_is_about_the_true_one() -> None:
    median, tail = result().held_out_px
    assert 0.05 < median < 0.25  # corners in infrared are found to 0.15 pixels
    assert median < tail < 0.7
    assert result().geometry.held_out_px == tail
    assert result().left_out == ()
    assert len(result().used) == len(views())


def test_a_view_that_moved_between_the_exposures_is_left_out_and_named() -> None:
    odd = list(views())
    moved = {**odd[4].seen, "ir": dataclasses.replace(odd[4].seen["ir"], pixels=odd[4].seen["ir"].pixels + 6)}
    odd[4] = BoardView(odd[4].name, moved)
    found = calibrate(odd, SIZES, IDENTITIES, BOARD, DATE)
    assert found.left_out == (odd[4].name,)
    assert np.abs(found.geometry.cameras["ir"].translation - RIG.cameras["ir"].translation).max() < 0.5


def test_pairs_of_different_moments_are_refused() -> None:
    shifted = [
        BoardView(a.name, {"rgb": a.seen["rgb"], "ir": b.seen["ir"]})
        for a, b in zip(views(), (*views()[1:], views()[0]), strict=True)
    ]
    with pytest.raises(CalibrationInvalid, match=r"show the same moment"):
        calibrate(shifted, SIZES, IDENTITIES, BOARD, DATE)


def test_too_few_views_are_refused_with_what_is_missing() -> None:
    with pytest.raises(CalibrationInvalid, match="7 more views"):
        calibrate(views()[: LEAST_VIEWS - 7], SIZES, IDENTITIES, BOARD, DATE)


def test_views_in_the_middle_alone_are_refused() -> None:
    finder = BoardFinder(BOARD)
    colour, infrared = photographers()
    same = []
    for where in (pose((0, 0, 0), (0, 0, 480)), pose((3, -2, 1), (5, 0, 480))):
        pair: dict[Modality, BoardDetection | None] = {
            "rgb": finder.find(colour.take(where, 3)),
            "ir": finder.find(infrared.take(where)),
        }
        same += [BoardView("v", pair)] * 8  # type: ignore[arg-type]
    with pytest.raises(CalibrationInvalid) as caught:
        calibrate(same, SIZES, IDENTITIES, BOARD, DATE)
    for what in ("left and right", "up and down", "other distances", "parts of the colour image: top left"):
        assert what in str(caught.value)


def test_corners_without_precision_are_refused() -> None:
    rng = np.random.default_rng(0)

    def blurred(seen: BoardDetection) -> BoardDetection:
        return BoardDetection(seen.numbers, seen.pixels + rng.normal(0, 1.6, seen.pixels.shape).astype(np.float32))

    rough = [BoardView(v.name, {m: blurred(s) for m, s in v.seen.items()}) for v in views()]
    with pytest.raises(CalibrationInvalid, match=r"fit the board only to .* pixels"):
        calibrate(rough, SIZES, IDENTITIES, BOARD, DATE)


def test_what_no_face_rig_is_is_refused() -> None:
    """If squares of 24 mm are declared as 400 mm, the cameras seem to be 417 mm apart."""
    with pytest.raises(CalibrationInvalid, match="mm apart"):
        calibrate(views(), SIZES, IDENTITIES, Board(square_mm=400), DATE)


def test_how_a_board_stands() -> None:
    finder = BoardFinder(BOARD)
    colour, _ = photographers()
    for tilt, expected in (
        ((0, 0, 0), (0, 0)),
        ((25, 0, 0), (0, 25)),
        ((0, 25, 0), (-25, 0)),
        ((-25, 0, 0), (0, -25)),
    ):
        seen = finder.find(colour.take(pose(tilt, (20, 10, 450)), 3))
        assert seen is not None
        across, down, distance = attitude(seen, BOARD, SIZES["rgb"])
        assert abs(across - expected[0]) < 6
        assert abs(down - expected[1]) < 6
        assert distance == pytest.approx(450 / BOARD.square_mm, rel=0.15)


def test_parts_of_the_picture_that_are_empty() -> None:
    assert len(empty_cells([], "rgb", SIZES["rgb"])) == CELLS[0] * CELLS[1]
    assert empty_cells(views(), "rgb", SIZES["rgb"]) == []
    here = BoardDetection(np.arange(8), np.array([[20.0 + n, 20] for n in range(8)], np.float32))
    assert (0, 0) not in empty_cells([BoardView("v", {"rgb": here})], "rgb", SIZES["rgb"])
    assert gaps(views(), SIZES, BOARD) == []


def test_a_session_takes_a_board_that_is_still_and_new() -> None:
    session = BoardSession(BOARD, BOTH, still_only=True)
    first, second = pictures()[4], pictures()[5]
    assert session.offer("1", first) == "hold the board still"
    assert session.offer("2", first) == ""
    assert "exists already" in session.offer("3", first)
    assert session.offer("4", second) == "hold the board still"
    assert session.offer("5", second) == ""
    nothing: dict[Modality, Picture] = {"rgb": first["rgb"], "ir": np.zeros_like(first["ir"])}
    assert session.offer("6", nothing) == "no board in the infrared image"
    assert [view.name for view in session.views] == ["2", "5"]
    assert any("13 more views" in gap.says for gap in session.gaps())
    session.require_right_cameras()


def test_a_mirrored_camera_is_refused() -> None:
    pair = pictures()[4]
    session = BoardSession(BOARD, BOTH)
    with pytest.raises(CalibrationInvalid, match="infrared image is mirrored"):
        session.offer("a", {"rgb": pair["rgb"], "ir": pair["ir"][:, ::-1]})


def test_swapped_cameras_are_refused() -> None:
    for first, second, says in (("ir", "rgb", "grey"), ("rgb", "rgb", "coloured")):
        session = BoardSession(BOARD, BOTH)
        for number in (4, 5, 7):
            pair = pictures()[number]
            session.offer(str(number), {"rgb": pair[first], "ir": pair[second]})  # type: ignore[index]
        with pytest.raises(CalibrationInvalid, match=says):
            session.require_right_cameras()


def test_another_size_is_refused() -> None:
    session = BoardSession(BOARD, BOTH)
    session.offer("a", pictures()[4])
    with pytest.raises(CalibrationInvalid, match="b: the infrared image has 320×200"):
        session.offer("b", {"rgb": pictures()[4]["rgb"], "ir": pictures()[4]["ir"][::2, ::2]})


def test_ink_that_vanishes_in_infrared_is_guessed_at() -> None:
    session = BoardSession(BOARD, BOTH)
    for number in range(8):
        pair = pictures()[number]
        session.offer(str(number), {"rgb": pair["rgb"], "ir": np.full_like(pair["ir"], 120)})
    assert "Dye ink" in session.trouble()
    other = BoardSession(Board(columns=5, rows=6), BOTH)
    other.offer("x", {"rgb": np.zeros((480, 640, 3), np.uint8), "ir": np.zeros((400, 640, 1), np.uint8)})
    assert "5x6 squares" in other.trouble()


def test_sixteen_bits_are_as_good_as_eight() -> None:
    finder = BoardFinder(BOARD)
    eight = pictures()[4]["ir"]
    a, b = finder.find(eight), finder.find(eight.astype(np.uint16) * 4)
    assert a is not None
    assert b is not None
    assert np.array_equal(a.numbers, b.numbers)
    assert np.abs(a.pixels - b.pixels).max() < 0.1


@pytest.mark.parametrize("wrong", [{"columns": 3}, {"columns": 20, "rows": 20}, {"square_mm": 0}])
def test_a_board_that_cannot_be(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="squares"):
        Board(**wrong)


def test_common_corners() -> None:
    view = views()[0]
    numbers = common(view, "rgb", "ir")
    assert np.array_equal(view.seen["rgb"].of(numbers).shape, (numbers.size, 2))
    index = {n: p for n, p in zip(view.seen["ir"].numbers.tolist(), view.seen["ir"].pixels.tolist(), strict=True)}
    assert view.seen["ir"].of(numbers).tolist() == [index[n] for n in numbers.tolist()]
