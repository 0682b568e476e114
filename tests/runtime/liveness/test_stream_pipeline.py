"""Face tracking in a stream: it is cheap, ends when the face has left, and never confuses two faces."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest

from runtime.capture.simulated.rig import SyntheticPair, SyntheticRig
from runtime.core.errors import InferenceFailed
from runtime.core.values import Box, Pair
from runtime.face.detector import HaarDetector
from runtime.face.fixed import FixedRegion
from runtime.face.tracker import TrackRule, face_patch, follow_face
from runtime.liveness.decision import Verdict
from runtime.liveness.evidence import Evidence, EvidenceRule
from runtime.liveness.quality import QualityLimits
from runtime.liveness.stream_pipeline import StreamAssessment, StreamPipeline
from runtime.pairing.feed import CapturedPair
from tests.support.scenes import (
    BOX,
    POINT,
    MarkDetector,
    ScriptedEngine,
    depth_map,
    ir_image,
    pair,
    pipeline,
    rgb_image,
)

FRAME = 33_333_333
START = 10**12
RULE = TrackRule(search_near_every=5, search_whole_every=20)


class Stream:
    """A stream pipeline with its engine and detector. `see` passes it the next pair, one frame later."""

    def __init__(self, rule: TrackRule = RULE, **parts: Any) -> None:
        self.detector, self.engine = MarkDetector(), ScriptedEngine(parts.get("modalities", ("rgb", "ir")))
        self.stream = StreamPipeline(pipeline(self.engine, self.detector, **parts), track=rule)
        self.number = 0

    def see(self, box: Box | None = BOX, seed: int = 1, **changes: Any) -> StreamAssessment:
        now = START + self.number * FRAME
        made = pair(now, rgb=rgb_image(box, seed), ir=ir_image(box, seed))
        return self.take(replace(made, **changes), now)

    def take(self, made: Pair, now: int) -> StreamAssessment:
        self.number += 1
        self.detector.searches.clear()
        return self.stream.assess(CapturedPair(self.number, made, now), now)


def at(step: int) -> Box:
    return replace(BOX, x=BOX.x + step)


def test_the_detector_runs_now_and_then_and_the_face_is_followed_between() -> None:
    stream = Stream()
    searches = []
    for step in range(20):
        seen = stream.see(at(5 * step))
        searches.append(list(stream.detector.searches))
        box = seen.observation.box
        assert box is not None
        assert abs(box.x - at(5 * step).x) < 4
        assert box.w == pytest.approx(BOX.w, abs=8)
        assert seen.assessment is not None
        assert seen.assessment.decision == "live"
        assert seen.observation.track == 1
    # At first whole images are searched, then regions on every fifth pair, and nothing in between.
    assert searches[0][0] == (480, 640)
    assert [number for number, found in enumerate(searches) if found] == [0, 5, 10, 15]
    assert all(size[0] < 300 and size[1] < 300 for size in searches[5])


def test_the_whole_picture_is_searched_every_so_often() -> None:
    stream = Stream()
    whole = []
    for number in range(45):
        stream.see()
        whole += [number] * ((480, 640) in stream.detector.searches)
    assert whole == [0, 20, 40]


def test_tracking_never_outlives_the_face() -> None:
    stream = Stream()
    for _ in range(3):
        stream.see()
    seen = stream.see(None)
    assert seen.assessment is None
    assert seen.observation.failed == seen.reasons == ("no_face",)
    assert seen.observation.box is None
    assert seen.observation.score is None


def test_a_face_that_the_detector_does_not_confirm_is_lost_however_alike() -> None:
    stream = Stream(TrackRule(search_near_every=3, search_idle_every=1))
    stream.see()
    # The correlation still matches, but the detector finds no face.
    for _ in range(2):
        assert stream.see(rgb=rgb_image() // 2 * 2, ir=ir_image()).observation.failed == ()
    stream.detector.detect = lambda *args: None  # type: ignore[method-assign]  # it finds nothing any more
    assert stream.see().observation.failed == ("no_face",)


def test_another_face_in_the_same_place_is_another_track() -> None:
    stream = Stream()
    first = stream.see(seed=1)
    assert stream.see(seed=1).observation.track == first.observation.track
    other = stream.see(seed=2)
    assert other.assessment is not None
    assert other.observation.track == first.observation.track + 1


def test_a_gap_and_a_new_epoch_begin_anew() -> None:
    stream = Stream()
    first = stream.see()
    stream.number += 20
    assert stream.see().observation.track == first.observation.track + 1
    assert stream.see(generation=3).observation.track == first.observation.track + 2
    stream.stream.reset()
    assert stream.see(generation=3).observation.track == first.observation.track + 3


def test_several_faces_are_looked_for_until_there_is_one() -> None:
    stream = Stream()
    both = np.maximum(rgb_image(), rgb_image(Box(20, 140, 150, 150), 2))
    for _ in range(3):
        assert "multiple_faces" in stream.see(rgb=both).observation.failed
        assert (480, 640) in stream.detector.searches
    assert stream.see().observation.failed == ()


def test_a_fixed_region_is_never_one_track_and_never_opens() -> None:
    region = FixedRegion(BOX.x / 640, BOX.y / 480, BOX.w / 640, BOX.h / 480)
    stream = Stream()
    stream.stream = StreamPipeline(pipeline(stream.engine, region), track=RULE)
    evidence = Evidence(POINT, ("rgb", "ir"), EvidenceRule(min_pairs=2, confirm=1))
    tracks, verdicts = [], []
    for _ in range(100):
        seen = stream.see()
        # Each single pair is as good as it can be. Only the gates that need a detection are unknown.
        assert seen.assessment is not None
        assert seen.assessment.decision == "live"
        unknown = {check.name for check in seen.assessment.checks if check.status == "unknown"}
        assert {"face.count", "ir.face"} <= unknown
        tracks.append(seen.observation.track)
        verdicts.append(evidence.add(seen.observation))
    assert len(set(tracks)) == len(tracks)
    assert {None if verdict is None else verdict.decision for verdict in verdicts} == {None, "uncertain"}


def test_nobody_there_is_not_searched_for_on_every_pair() -> None:
    stream = Stream()
    searched = []
    for _ in range(7):
        assert stream.see(None).observation.failed == ("no_face",)
        searched.append(len(stream.detector.searches))
    assert searched == [2, 0, 0, 2, 0, 0, 2]


def test_infrared_leads_in_the_dark() -> None:
    stream = Stream()
    night = (rgb_image() // 40).astype(np.uint8)
    for step in range(8):
        seen = stream.see(at(4 * step), rgb=night)
        assert seen.assessment is not None
        assert seen.assessment.detected_in == "ir"
        assert seen.observation.failed == ()
        # The RGB stream shows nothing, so its score is ignored.
        assert seen.observation.stream_scores[0] is None
        assert seen.observation.stream_scores[1] == pytest.approx(0.9)


def test_infrared_that_goes_black_is_noticed_between_searches() -> None:
    stream = Stream()
    stream.see()
    assert "ir_flat" in stream.see(ir=np.zeros_like(ir_image())).observation.failed


def test_slow_checks_are_carried_for_two_pairs_of_the_same_face_and_only_when_passed() -> None:
    stream = Stream()

    def blur_of(**changes: Any) -> Any:
        seen = stream.see(**changes)
        assert seen.assessment is not None
        return next(check for check in seen.assessment.checks if check.name == "rgb.blur")

    found = [blur_of() for _ in range(7)]
    assert found[1] is found[2] is found[0]
    assert found[3] is not found[0]
    assert found[4] is found[5] is found[3]
    assert found[6] is not found[3]
    # On a different face the checks run at once.
    assert blur_of(seed=2) is not found[6]
    stream = Stream(limits=QualityLimits(max_blur=0.01))
    seen = [stream.see().assessment for _ in range(3)]
    for name in ("rgb.blur", "ir.copied"):
        asked = [next(check for check in found.checks if check.name == name) for found in seen if found is not None]
        assert len({id(check) for check in asked}) == 3
        assert {check.status for check in asked} == {"fail" if name == "rgb.blur" else "pass"}


def test_old_pairs_and_pairs_of_no_known_age_fail() -> None:
    stream = Stream()
    seen = stream.stream.assess(CapturedPair(1, pair(START), START), START + 600_000_000)
    assert seen.observation.failed == ("pair_stale",)
    seen = stream.stream.assess(CapturedPair(2, pair(START, ir_time_ns=None), START), START)
    assert seen.observation.failed == ("pair_stale",)


def test_a_missing_picture_is_said_and_a_broken_engine_is_raised() -> None:
    stream = Stream()
    assert stream.see(ir=None).observation.failed == ("modality_missing",)
    stream.engine.score = float("nan")
    with pytest.raises(InferenceFailed):
        stream.see()


def test_infrared_and_depth_stream() -> None:
    stream = Stream(modalities=("ir", "depth"))
    for _ in range(7):
        now = START + stream.number * FRAME
        made = Pair(ir=ir_image(), depth=depth_map(), ir_time_ns=now, depth_time_ns=now, lit="lit")
        seen = stream.take(made, now)
        assert seen.assessment is not None
        assert seen.assessment.decision == "live"
        assert set(seen.assessment.boxes) == {"ir", "depth"}


@pytest.mark.parametrize(("score", "streams", "decision"), [(0.97, (0.9, 0.9), "live"), (0.01, (0.9, 0.01), "spoof")])
def test_a_stream_and_its_evidence_decide(score: float, streams: tuple[float, float], decision: str) -> None:
    stream, evidence = Stream(), Evidence(POINT, ("rgb", "ir"))
    stream.engine.score, stream.engine.streams = score, streams
    verdict: Verdict | None = None
    while verdict is None and stream.number < 40:
        verdict = evidence.add(stream.see(at(stream.number)).observation)
    assert verdict is not None
    assert verdict.decision == decision
    assert 5 <= stream.number < 20


def test_a_swap_within_a_stream_loses_the_evidence() -> None:
    stream, evidence = Stream(), Evidence(POINT, ("rgb", "ir"))
    for _ in range(4):
        assert evidence.add(stream.see(seed=1).observation) is None
    before = evidence.state
    assert before.good == 4
    evidence.add(stream.see(seed=2).observation)
    assert (evidence.state.good, evidence.state.forgotten) == (1, "subject_changed")


def test_small_pictures_of_faces_at_the_edge_and_of_nothing() -> None:
    image = rgb_image()
    assert face_patch(image, Box(-120, 100, 150, 150)) is None
    assert face_patch(np.full_like(image, 90), BOX) is None
    inside = face_patch(image, Box(-10, 100, 150, 150))
    assert inside is not None
    assert inside.shape == (24, 24)


@pytest.mark.parametrize("slack", [0, 6])
@pytest.mark.parametrize("box", [Box(-10, 100, 150, 150), Box(500, 300, 240, 200), Box(-90, -60, 640, 600)])
def test_a_small_picture_at_the_edge_continues_the_edge(box: Box, slack: int) -> None:
    image = rgb_image()
    reach = 1000
    wide = cv2.copyMakeBorder(image, reach, reach, reach, reach, cv2.BORDER_REPLICATE)
    moved = replace(box, x=box.x + reach, y=box.y + reach)
    found, expected = face_patch(image, box, slack), face_patch(np.asarray(wide, np.uint8), moved, slack)
    assert found is not None
    assert expected is not None
    assert np.array_equal(found, expected)


def test_a_small_picture_of_a_face_that_fills_a_large_picture_costs_little() -> None:
    image = np.random.default_rng(2).integers(0, 256, (3000, 4000, 3), dtype=np.uint8)
    tracemalloc.start()
    try:
        assert face_patch(image, Box(-900, -700, 5000, 4000), 6) is not None
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1 << 20


def test_following_is_right_to_a_part_of_a_small_pixel() -> None:
    patch = face_patch(rgb_image(), BOX)
    assert patch is not None
    for dx, dy in ((0, 0), (7, -3), (-11, 14), (20, 9)):
        moved = replace(BOX, x=BOX.x + dx, y=BOX.y + dy)
        found = follow_face(rgb_image(moved), pipeline().assess(pair(START)).face, patch, 0.7)
        assert found is not None
        assert abs(found.box.x - moved.x) < 3
        assert abs(found.box.y - moved.y) < 3
    far = replace(BOX, x=BOX.x + 90)
    assert follow_face(rgb_image(far), pipeline().assess(pair(START)).face, patch, 0.7) is None


def test_a_simulated_person_is_followed_by_the_cascade_and_a_swap_is_noticed() -> None:
    rig = SyntheticRig(seed=107, subject=9000)
    stream = StreamPipeline(pipeline(detector=HaarDetector()), track=TrackRule(search_near_every=4))
    evidence = Evidence(POINT, ("rgb", "ir"), EvidenceRule(min_pairs=20))

    def see(number: int, made: SyntheticPair) -> StreamAssessment:
        now = START + number * FRAME
        shown = replace(made.pair, rgb_time_ns=now, ir_time_ns=now, lit="lit")
        return stream.assess(CapturedPair(number, shown, now), now)

    for number in range(10):
        made = rig.next()
        seen = see(number, made)
        assert seen.observation.failed == ()
        assert seen.observation.track == 1
        box = seen.observation.box
        assert box is not None
        truth = made.face_box
        assert abs(box.x + box.w / 2 - truth.x - truth.w / 2) < 0.12 * truth.w
        assert abs(box.y + box.h / 2 - truth.y - truth.h / 2) < 0.12 * truth.w
        assert evidence.add(seen.observation) is None
    assert evidence.state.good == 10
    other = SyntheticRig(seed=107, subject=9001, presentation=1)
    evidence.add(see(10, other.next()).observation)
    assert evidence.state.good <= 1
    assert evidence.state.forgotten in ("subject_changed", "face_lost", "multiple_faces")
