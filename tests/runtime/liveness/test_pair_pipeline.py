"""The pipeline on single pairs: every gate can fail, any two modalities work, and no failure gives ``live``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import pytest

from runtime.core.check import Check
from runtime.core.errors import InvalidFaceBox, ModalityMissing, NoFace
from runtime.core.reasons import REASONS
from runtime.core.values import Box, Modality, Pair
from runtime.face.detector import HaarDetector
from runtime.face.pair_detection import find_face
from runtime.geometry.box_mapping import MappedBox, ScaleMapper
from runtime.liveness.quality import QualityLimits, blur
from synthetic import Presentation, render_frame
from tests.support.scenes import (
    BOX,
    HEIGHT,
    WIDTH,
    MarkDetector,
    ScriptedEngine,
    depth_map,
    ir_image,
    pair,
    pipeline,
    rgb_image,
)

NOW = 10**12
ELSEWHERE = Box(20, 20, 100, 100)
PROVOKED: set[str] = {
    "no_face",
    "modality_missing",
    "score_in_band",
    "rgb_spoof",
    "ir_spoof",
    "fused_spoof",
    "depth_spoof",
}


def failed(found: Any) -> tuple[str, ...]:
    return tuple(dict.fromkeys(c.reason for c in found.checks if c.status == "fail"))


def test_a_good_pair_is_live() -> None:
    found = pipeline().assess(pair(NOW), now_ns=NOW)
    assert (found.decision, found.reasons) == ("live", ())
    assert found.detected_in == found.lead == "rgb"
    assert found.face.box == found.boxes["rgb"] == found.boxes["ir"] == BOX
    assert list(found.timing_ms) == ["locate", "crop", "quality", "inference"]
    # The pose was not measured and there was no dark frame, so these checks are ``unknown``.
    unknown = {c.name for c in found.checks if c.status == "unknown"}
    assert unknown == {"face.yaw", "face.pitch", "ir.ambient"}


def flat(level: int, channels: int = 1) -> Any:
    return np.full((HEIGHT, WIDTH, channels), level, np.uint8)


def blurred() -> Any:
    return cv2.GaussianBlur(rgb_image(), (0, 0), 12)


GATES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("multiple_faces", {"rgb": np.maximum(rgb_image(), rgb_image(Box(20, 140, 150, 150), 2))}, {}),
    ("face_too_small", {}, {"rgb": Box(200, 100, 40, 40), "ir": Box(200, 100, 40, 40)}),
    ("face_cropped", {}, {"rgb": Box(0, 0, 160, 160), "ir": Box(0, 0, 160, 160)}),
    ("rgb_blurry", {"rgb": blurred()}, {"rgb": BOX}),
    ("rgb_too_bright", {"rgb": np.maximum(flat(245, 3), rgb_image())}, {"rgb": BOX}),
    ("ir_unlit", {"ir": ((ir_image() > 130) * 20).astype(np.uint8)}, {"rgb": BOX}),
    ("ir_unlit", {"lit": "dark"}, {}),
    ("ir_saturated", {"ir": np.maximum(flat(230), ir_image())}, {"rgb": BOX}),
    ("ir_flat", {"ir": flat(120)}, {"rgb": BOX}),
    ("ir_no_face", {"ir": ir_image(None)}, {}),
    ("ir_no_face", {"ir": ir_image(ELSEWHERE)}, {}),
    # The lit and the dark frame are too far apart in time to be compared.
    ("ambient_flood", {"ir_dark": ir_image(), "ir_dark_time_ns": NOW + 200_000_000}, {}),
    ("pair_skew", {"ir_time_ns": NOW - 11_000_000}, {}),
    ("pair_stale", {"rgb_time_ns": NOW - 501_000_000, "ir_time_ns": NOW - 501_000_000}, {}),
    # A timestamp in the future comes from another clock.
    ("pair_stale", {"rgb_time_ns": NOW + 60_000_000, "ir_time_ns": NOW + 60_000_000}, {}),
]


@pytest.mark.parametrize(("reason", "changes", "boxes"), GATES, ids=[f"{g[0]}-{i}" for i, g in enumerate(GATES)])
def test_every_gate_stands_alone_and_keeps_from_live(
    reason: str, changes: dict[str, Any], boxes: dict[Modality, Box]
) -> None:
    found = pipeline(limits=QualityLimits(max_ir_ambient=100)).assess(pair(NOW, **changes), boxes, now_ns=NOW)
    assert failed(found) == (reason,)
    assert (found.decision, found.reasons) == ("uncertain", (reason,))
    # The score is still the network's.
    assert found.score == pytest.approx(0.95)


def test_head_pose_needs_landmarks_and_uses_them() -> None:
    detector = MarkDetector()
    front = np.array([[-31.5, 0], [31.5, 0], [0, 45], [-25, 72], [25, 72]], np.float32)
    detector.landmarks = front + 300
    found = pipeline(detector=detector).assess(pair(NOW))
    assert {c.name: c.status for c in found.checks if c.name.startswith("face.") and c.reason == "head_pose"} == {
        "face.yaw": "pass",
        "face.pitch": "pass",
    }
    turned = front.copy()
    turned[2, 0] += 26  # the nose far to one side
    turned[:, 0] *= 0.7
    detector.landmarks = turned + 300
    found = pipeline(detector=detector).assess(pair(NOW))
    assert (found.decision, found.reasons) == ("uncertain", ("head_pose",))


def test_a_dark_colour_picture_passes_where_infrared_leads() -> None:
    night = pair(NOW, rgb=(rgb_image() // 40).astype(np.uint8))
    found = pipeline().assess(night, now_ns=NOW)
    assert found.detected_in == "ir"
    assert found.lead == "rgb"
    assert found.decision == "live"
    statuses = {c.name: c.status for c in found.checks}
    # Too dark to search for a face, or to tell focus from noise.
    assert statuses["rgb.face"] == statuses["rgb.blur"] == "unknown"
    assert statuses["rgb.brightness"] == "pass"


def test_a_dark_colour_picture_is_no_reason_for_spoof() -> None:
    engine = ScriptedEngine(score=0.1)
    engine.streams = (0.2, 0.3)
    night = pair(NOW, rgb=(rgb_image() // 40).astype(np.uint8))
    assert pipeline(engine=engine).assess(night, now_ns=NOW).reasons == ("ir_spoof", "fused_spoof")
    assert pipeline(engine=engine).assess(pair(NOW), now_ns=NOW).reasons == ("rgb_spoof", "ir_spoof", "fused_spoof")


def test_a_dark_colour_picture_fails_where_nothing_else_sees() -> None:
    night = Pair(rgb=(rgb_image() // 40).astype(np.uint8), depth=depth_map())
    found = pipeline(modalities=("rgb", "depth")).assess(night, {"rgb": BOX})
    assert (found.decision, found.reasons) == ("uncertain", ("rgb_too_dark",))


def test_a_face_in_infrared_alone_is_not_enough_in_the_light() -> None:
    found = pipeline().assess(pair(NOW, rgb=rgb_image(None)), now_ns=NOW)
    assert found.detected_in == "ir"
    assert (found.decision, found.reasons) == ("uncertain", ("no_face",))


def test_no_face_anywhere_is_an_error_for_a_still() -> None:
    with pytest.raises(NoFace, match="RGB image or the infrared image"):
        pipeline().assess(pair(NOW, rgb=rgb_image(None), ir=ir_image(None)))


def test_without_boxes_and_without_a_detector_nothing_is_live() -> None:
    class Blind:
        def detect(self, image: Any, smallest: float = 0.0) -> None:
            return None

    with pytest.raises(NoFace):
        pipeline(detector=Blind()).assess(pair(NOW))


def test_boxes_that_are_given_are_used_and_nothing_is_searched() -> None:
    detector, engine = MarkDetector(), ScriptedEngine()
    other = Box(100, 100, 120, 130)
    found = pipeline(engine, detector).assess(pair(NOW), {"rgb": BOX, "ir": other})
    assert detector.searches == []
    assert found.boxes == {"rgb": BOX, "ir": other}
    assert found.face.confidence is None
    assert found.detected_in is None
    with pytest.raises(InvalidFaceBox, match="ir face box"):
        pipeline().assess(pair(NOW), {"rgb": BOX, "ir": Box(600, 400, 100, 100)})


def test_infrared_and_depth() -> None:
    engine = ScriptedEngine(("ir", "depth"))
    made = Pair(ir=ir_image(), depth=depth_map(), ir_time_ns=NOW, depth_time_ns=NOW)
    found = pipeline(engine, modalities=("ir", "depth")).assess(made, now_ns=NOW)
    assert found.decision == "live"
    assert found.lead == found.detected_in == "ir"
    assert engine.batch["depth"].dtype == np.float32
    engine.score, engine.streams = 0.01, (0.9, 0.01)
    found = pipeline(engine, modalities=("ir", "depth")).assess(made)
    assert (found.decision, found.reasons) == ("spoof", ("depth_spoof", "fused_spoof"))


@pytest.mark.parametrize(
    "depth",
    [depth_map(0), depth_map(9000), depth_map(50), np.where(np.arange(WIDTH)[None, :, None] < 330, depth_map(), 0)],
    ids=["none", "far", "near", "half"],
)
def test_depth_that_is_none(depth: Any) -> None:
    made = Pair(rgb=rgb_image(), depth=depth.astype(np.float32))
    found = pipeline(modalities=("rgb", "depth")).assess(made)
    assert (found.decision, found.reasons) == ("uncertain", ("depth_invalid",))
    assert all(c.value is None or np.isfinite(c.value) for c in found.checks)


def test_a_missing_picture_is_an_error() -> None:
    with pytest.raises(ModalityMissing, match="no ir image"):
        pipeline().assess(Pair(rgb=rgb_image()))
    with pytest.raises(ModalityMissing, match="no depth image"):
        pipeline(modalities=("ir", "depth")).assess(pair(NOW))


def test_pictures_of_other_proportions_are_searched_apart() -> None:
    tall = np.zeros((640, 400, 1), np.uint8)
    tall[100:580, :] = ir_image()[:, 120:520]
    found = pipeline().assess(pair(NOW, ir=tall))
    assert found.boxes["ir"] == Box(120, 240, 160, 160)
    assert found.decision == "live"
    found = pipeline().assess(pair(NOW, ir=np.ascontiguousarray(tall[:, :100])))
    assert "ir_no_face" in found.reasons


@dataclass(frozen=True)
class Shifted:
    """Box mapper of a rig whose IR camera sees everything 30 pixels further to the left."""

    def map_box(self, box: Box, source: Modality, target: Modality, pair: Pair) -> MappedBox | None:
        step = {("rgb", "ir"): -30, ("ir", "rgb"): 30}.get((source, target), 0)
        return MappedBox(replace(box, x=box.x + step), "face_width", 2.0)


def test_a_box_mapper_places_the_face() -> None:
    made = pair(NOW, ir=ir_image(replace(BOX, x=BOX.x - 30)))
    found = pipeline(box_mapper=Shifted()).assess(made)
    assert found.boxes["ir"] == replace(BOX, x=BOX.x - 30)
    assert found.decision == "live"
    night = replace(made, rgb=(rgb_image() // 40).astype(np.uint8))
    found = pipeline(box_mapper=Shifted()).assess(night)
    assert found.boxes["rgb"] == BOX
    assert found.face.box == BOX


def test_a_check_without_a_value_is_unknown_and_one_with_nan_fails() -> None:
    assert Check("x", None, None, None, "head_pose").status == "unknown"
    assert Check("x", float("nan"), None, None, "head_pose").status == "fail"
    assert Check("x", float("nan"), 0, 1, "head_pose").status == "fail"


def test_blur_grows_with_blur_and_not_with_contrast() -> None:
    rng = np.random.default_rng(3)
    sharp = cv2.resize(rng.uniform(0, 255, (20, 20)).astype(np.float32), (112, 112)).astype(np.uint8)
    values = [blur(cv2.GaussianBlur(sharp, (0, 0), s)) for s in (0.5, 1, 2, 4)]
    assert values == sorted(values)
    assert values[-1] > 0.75 > values[0]
    assert blur(sharp // 4 + 90) == pytest.approx(blur(sharp), abs=0.03)
    assert blur(np.full((112, 112), 9, np.uint8)) == 1


def test_the_reasons_provoked_here_are_all_there_are() -> None:
    """`strobe_lost` occurs only in streams, and is tested with the active-light check."""
    here = {gate[0] for gate in GATES} | PROVOKED | {"head_pose", "rgb_too_dark", "depth_invalid", "strobe_lost"}
    assert here == set(REASONS)


@pytest.mark.parametrize("species", ["bona_fide", "replay_screen"])
def test_the_cascade_sees_people_in_both_pictures_and_screens_in_one(species: str) -> None:
    """On simulated frames the gate rejects no person. A screen is black in IR."""
    told = set()
    for subject in range(3):
        r = render_frame(Presentation(seed=2, subject=subject, species=species, number=subject))
        try:
            found = find_face(Pair(rgb=r.rgb, ir=r.ir), ("rgb", "ir"), HaarDetector(), ScaleMapper())
        except NoFace:
            continue
        told |= {c.status for c in found.checks if c.name == "ir.face"}
    assert told == {"pass" if species == "bona_fide" else "fail"}
