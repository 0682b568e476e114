"""The face in both images: the IR crop is cut at the face found in IR if its place is plausible."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from runtime.core.parallel import FirstResult, SecondResult
from runtime.core.values import Box, Modality, Pair
from runtime.face.pair_detection import CONFIRM_MAX_OFFSET, DETECTOR_OFF, detect_again, find_face, is_same_face
from runtime.face.tracker import Tracker, TrackOffset, TrackRule
from runtime.geometry.box_mapping import MappedBox, ScaleMapper
from tests.support.scenes import BOX, MarkDetector, ir_image, pair, pipeline, rgb_image


@dataclass(frozen=True, slots=True)
class Shifted:
    """Box mapper that expects the face in IR at ``dx`` pixels from its place in RGB, ± ``tolerance_px``."""

    dx: float = 0.0
    tolerance_px: float | None = 8.0

    def map_box(self, box: Box, source: Modality, target: Modality, pair: Pair) -> MappedBox | None:
        dx = 0.0 if source == target else self.dx if target == "ir" else -self.dx
        return MappedBox(Box(box.x + dx, box.y, box.w, box.h), "face_width", self.tolerance_px)


def moved(dx: float, dy: float = 0.0, zoom: float = 1.0) -> Box:
    return Box(BOX.x + dx, BOX.y + dy, BOX.w * zoom, BOX.h * zoom)


def statuses(found: Any) -> dict[str, str]:
    return {check.name: check.status for check in found.checks}


def test_the_ir_crop_lies_where_the_face_is_in_ir() -> None:
    there = moved(20, -12, 0.9)
    found = find_face(pair(0, ir=ir_image(there)), ("rgb", "ir"), MarkDetector(), Shifted(5))
    assert found.boxes == {"rgb": BOX, "ir": there}
    assert found.face.box == BOX
    assert statuses(found) == {"face.count": "pass", "ir.face": "pass"}


def test_an_ir_face_that_the_calibration_contradicts_fails_the_gate() -> None:
    for box_mapper, dx in ((Shifted(), 64), (Shifted(-40), 40), (Shifted(tolerance_px=None), 96), (ScaleMapper(), 96)):
        elsewhere = pair(0, ir=ir_image(moved(dx)))
        found = find_face(elsewhere, ("rgb", "ir"), MarkDetector(), box_mapper)
        assert statuses(found)["ir.face"] == "fail"
        # The crop stays at the expected place and is not cut where something else was found.
        placed = box_mapper.map_box(BOX, "rgb", "ir", elsewhere)
        assert placed is not None
        assert found.boxes["ir"] == placed.box
        verdict = pipeline(box_mapper=box_mapper).assess(elsewhere)
        assert verdict.decision == "uncertain"
        assert verdict.reasons == ("ir_no_face",)


def test_a_missing_ir_face_is_never_live_whatever_rgb_shows() -> None:
    verdict = pipeline(box_mapper=Shifted()).assess(pair(0, ir=ir_image(None)))
    assert (verdict.decision, verdict.reasons) == ("uncertain", ("ir_no_face",))


@pytest.mark.parametrize(
    ("tolerance", "allowed"), [(0.0, DETECTOR_OFF), (None, CONFIRM_MAX_OFFSET), (1e6, CONFIRM_MAX_OFFSET)]
)
def test_how_far_a_face_may_be_off(tolerance: float | None, allowed: float) -> None:
    expected = MappedBox(BOX, "face_width", tolerance)
    assert is_same_face(moved((allowed - 0.01) * BOX.w), expected)
    assert not is_same_face(moved((allowed + 0.01) * BOX.w), expected)
    grown = Box(BOX.x - 90, BOX.y - 90, BOX.w + 180, BOX.h + 180)
    assert not is_same_face(grown, expected)


def test_the_face_is_looked_for_from_the_expected_place_outwards() -> None:
    detector = MarkDetector()
    check, face = detect_again(pair(0), "ir", MappedBox(BOX, "face_width", 0.0), detector)
    assert (check.status, face is not None) == ("pass", True)
    assert detector.searches == [(272, 272)]
    detector = MarkDetector()
    check, face = detect_again(pair(0, ir=ir_image(None)), "ir", MappedBox(BOX, "face_width", 0.0), detector)
    assert (check.status, face) == ("fail", None)
    # The whole image is never searched, because a face outside the second region could not be the same one.
    assert detector.searches == [(272, 272), (384, 384)]
    outside = MappedBox(Box(5000, 5000, 100, 100), "face_width", 0.0)
    assert detect_again(pair(0), "ir", outside, MarkDetector())[0].status == "fail"


def test_in_the_dark_ir_is_searched_first_and_leads() -> None:
    detector = MarkDetector()
    night = pair(0, rgb=(rgb_image() // 40).astype(np.uint8), ir=ir_image(moved(30)))
    found = find_face(night, ("rgb", "ir"), detector, Shifted(30))
    assert found.detected_in == "ir"
    assert found.boxes == {"rgb": BOX, "ir": moved(30)}
    assert statuses(found) == {"face.count": "pass", "rgb.face": "unknown"}
    assert detector.searches == [(480, 640)]


class Counting:
    """`ParallelRunner` with two threads that counts its calls."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(
        self, aside: Callable[[], FirstResult], here: Callable[[], SecondResult], /
    ) -> tuple[FirstResult, SecondResult]:
        self.asked += 1
        results: list[FirstResult] = []
        thread = threading.Thread(target=lambda: results.append(aside()))
        thread.start()
        own = here()
        thread.join()
        return results[0], own


def test_pictures_that_nothing_relates_are_searched_at_the_same_time() -> None:
    both = Counting()
    apart = pair(0, ir=ir_image(moved(-100))[:, :600])
    found = find_face(apart, ("rgb", "ir"), MarkDetector(), ScaleMapper(), run_both=both)
    assert both.asked == 1
    assert found.boxes == {"rgb": BOX, "ir": moved(-100)}
    assert statuses(found) == {"face.count": "pass", "ir.face_count": "pass"}
    find_face(pair(0), ("rgb", "ir"), MarkDetector(), ScaleMapper(), run_both=both)
    find_face(apart, ("rgb", "ir"), MarkDetector(), ScaleMapper(), {"rgb": BOX}, both)
    assert both.asked == 1


def test_a_tracker_keeps_the_ir_crop_where_the_face_was_found() -> None:
    detector = MarkDetector()
    tracker = Tracker(("rgb", "ir"), detector, Shifted(), TrackRule(search_near_every=3))
    for number in range(8):
        dx = 2.0 * number
        shown = pair(number, rgb=rgb_image(moved(dx)), ir=ir_image(moved(dx + 20, 8, 0.95)))
        found = tracker.find(shown, 10**12 + number * 33_333_333)
        assert tracker.number == 1
        for name in ("x", "y", "w", "h"):
            assert getattr(found.boxes["ir"], name) == pytest.approx(getattr(moved(dx + 20, 8, 0.95), name), abs=2)
    # First one whole image and one region, and later two regions at a time. In between, the face was tracked.
    assert len(detector.searches) == 2 + 2 * 2


def test_an_offset_leads_from_one_box_to_the_other() -> None:
    expected, found = Box(10, 20, 100, 100), Box(25, 10, 80, 80)
    assert TrackOffset.between(expected, found).apply(expected) == found
    assert TrackOffset().apply(expected) == expected
