"""Pipeline from one pair of images to a decision: locate → register → crop → quality → engine → decision."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from runtime.core.check import Check
from runtime.core.operating_point import OperatingPoint
from runtime.core.parallel import ParallelRunner, run_sequentially
from runtime.core.values import Box, Modality, Pair
from runtime.engines.base import Batch, Engine
from runtime.face.detector import Face, FaceDetector
from runtime.face.head_pose import head_angles
from runtime.face.pair_detection import PairDetection, find_face
from runtime.geometry.box_mapping import BoxMapper, ScaleMapper
from runtime.imaging.crop import CropRule, crop, crop_mean
from runtime.liveness.active_light import ActiveLight
from runtime.liveness.decision import Decision, StrobeResponse, decide
from runtime.liveness.quality import (
    FACE_RULE,
    QualityLimits,
    blur_check,
    box_checks,
    copy_check,
    depth_checks,
    failed_codes,
    ir_checks,
    pose_checks,
    rgb_checks,
    rgb_is_dark,
    time_checks,
)

SecondResult = TypeVar("SecondResult")
SLOW_CHECKS = frozenset({"rgb.blur", "ir.copied"})
"""The two checks that together cost more than all the others."""


@dataclass(frozen=True, slots=True)
class Assessment:
    """Result of assessing one pair.

    ``score`` and ``stream_scores`` (in the order of ``modalities``) are the outputs of the network, even if a failed
    gate made the decision ``uncertain``. ``face``: in pixels of the ``lead`` image, which is of the first of the
    model's modalities that can be searched for faces (RGB, otherwise IR). ``detected_in``: modality of the image in
    which it was detected, None if the caller gave the box. ``boxes``: modality → box in its image. ``timing_ms``: stage
    → milliseconds. ``crops``: modality → input of the network. ``attention``: float32 [2, M, h, w]. ``strobe``: whether
    the face brightens with the strobing illuminator; ``unknown`` if that cannot be measured, for example without a dark
    IR frame.
    """

    decision: Decision
    reasons: tuple[str, ...]
    score: float
    stream_scores: tuple[float, float]
    modalities: tuple[Modality, ...]
    face: Face
    lead: Modality
    detected_in: Modality | None
    boxes: Mapping[Modality, Box]
    checks: tuple[Check, ...]
    timing_ms: Mapping[str, float]
    crops: Mapping[Modality, NDArray[Any]]
    attention: NDArray[np.float32]
    strobe: StrobeResponse = "unknown"


class Stopwatch:
    """Stopwatch in milliseconds on the monotonic clock. `lap` adds to earlier laps of the same name; `time` overwrites
    them."""

    def __init__(self) -> None:
        self._last = time.perf_counter_ns()
        self.laps: dict[str, float] = {}

    def lap(self, name: str) -> None:
        now = time.perf_counter_ns()
        self.laps[name] = self.laps.get(name, 0.0) + (now - self._last) / 1e6
        self._last = now

    def time(self, name: str, function: Callable[[], SecondResult]) -> SecondResult:
        """Call ``function``, record how long it took, and return its result.

        May be called from any thread. The next lap starts when the last of these calls ends.
        """
        began = time.perf_counter_ns()
        value = function()
        self._last = time.perf_counter_ns()
        self.laps[name] = (self._last - began) / 1e6
        return value


@dataclass(frozen=True, slots=True)
class LivenessPipeline:
    """Assesses pairs of any two modalities. Thread-safe if its engine and detector are.

    ``box_mapper``: maps a face box from one image to another; the default treats images that differ only in scale as
    registered. ``run_both``: runs two functions, in parallel if the caller has a second core to spare; used for the
    gates and the network, and for two face searches.
    """

    engine: Engine
    detector: FaceDetector
    rule: CropRule
    point: OperatingPoint
    modalities: Sequence[Modality] = ("rgb", "ir")
    limits: QualityLimits = field(default_factory=QualityLimits)
    box_mapper: BoxMapper = field(default_factory=ScaleMapper)
    run_both: ParallelRunner = run_sequentially
    light: ActiveLight = field(default_factory=ActiveLight)

    def assess(
        self,
        pair: Pair,
        boxes: Mapping[Modality, Box] | None = None,
        *,
        now_ns: int | None = None,
        run_both: ParallelRunner | None = None,
    ) -> Assessment:
        """Find the face in a single pair and decide on it.

        ``boxes``: modality → face box in pixels of its image. A given box is used unchanged; for a modality without one
        the face is detected. ``now_ns``: current time on the clock of the pair's timestamps; None if its age does not
        matter. ``run_both``: replaces the pipeline's own for this call.

        Raises:
            ModalityMissing: the pair lacks an image that the model needs. NoFace: no box was given for the lead image,
                and no face was found. InvalidFaceBox: a given box is malformed, or a given or mapped box lies outside
                its image. CalibrationInvalid: an image does not have the calibrated size. InferenceFailed: the engine
                gave no score.
        """
        stopwatch = Stopwatch()
        detection = find_face(pair, self.modalities, self.detector, self.box_mapper, boxes, run_both or self.run_both)
        stopwatch.lap("locate")
        return self.assess_found(pair, detection, stopwatch, now_ns=now_ns, run_both=run_both)

    def assess_found(
        self,
        pair: Pair,
        detection: PairDetection,
        stopwatch: Stopwatch,
        *,
        now_ns: int | None = None,
        carried: Mapping[str, Check] | None = None,
        run_both: ParallelRunner | None = None,
    ) -> Assessment:
        """Decide on a pair whose face has been found.

        ``stopwatch``: the stopwatch that timed the earlier stages; this call adds its own stages. ``carried``: name of
        a check in `SLOW_CHECKS` → its result for a recent pair, reused for this one. ``now_ns``, ``run_both``: as for
        `assess`.

        Raises:
            InferenceFailed: the engine gave no score. InvalidFaceBox: a box lies outside its image.
        """
        crops = {m: crop(pair.image(m), detection.boxes[m], self.rule) for m in self.modalities}
        stopwatch.lap("crop")
        batch: Batch = {modality: image[None] for modality, image in crops.items()}
        checking = partial(self._gates, pair, detection, now_ns, carried or {})
        # Fixes the order of the two stages, whichever finishes first.
        stopwatch.laps |= {"quality": 0.0, "inference": 0.0}
        (measured, strobe), scores = (run_both or self.run_both)(
            partial(stopwatch.time, "quality", checking),
            partial(stopwatch.time, "inference", partial(self.engine.infer, batch)),
        )
        checks = (*detection.checks, *measured)
        score = float(scores.score[0])
        streams = (float(scores.stream_scores[0, 0]), float(scores.stream_scores[0, 1]))
        unseen = ("rgb",) if rgb_is_dark(checks) else ()
        verdict = decide(score, streams, self.modalities, self.point, failed_codes(checks), strobe, unseen)
        return Assessment(
            decision=verdict.decision,
            reasons=verdict.reasons,
            score=score,
            stream_scores=streams,
            modalities=tuple(self.modalities),
            face=detection.face,
            lead=detection.lead,
            detected_in=detection.detected_in,
            boxes=detection.boxes,
            checks=checks,
            timing_ms=stopwatch.laps,
            crops=crops,
            attention=scores.attention[0],
            strobe=strobe,
        )

    def _gates(
        self, pair: Pair, detection: PairDetection, now_ns: int | None, carried: Mapping[str, Check]
    ) -> tuple[list[Check], StrobeResponse]:
        """Return the results of the quality gates, and whether the face brightens with the strobing illuminator."""
        box = detection.boxes.get("ir")
        strobe = "unknown" if box is None else self.light.measure(pair, box)
        return self._checks(pair, detection, now_ns, carried), strobe

    def _checks(
        self,
        pair: Pair,
        detection: PairDetection,
        now_ns: int | None,
        carried: Mapping[str, Check],
    ) -> list[Check]:
        limits, boxes = self.limits, detection.boxes
        # The network's crop may show more than the face; the gates look at the face only.
        crops = {m: crop(pair.image(m), boxes[m], FACE_RULE) for m in self.modalities if m != "rgb"}
        checks = box_checks(pair, boxes, limits)
        angles = None if detection.face.landmarks is None else head_angles(detection.face.landmarks)
        checks += pose_checks(angles, limits)
        slow = self._slow_checks(pair, detection, crops.get("ir"), carried) if "rgb" in self.modalities else {}
        for modality in self.modalities:
            if modality == "rgb":
                mean = crop_mean(pair.image("rgb"), boxes["rgb"], FACE_RULE)
                checks += rgb_checks(mean, limits, alone_in_the_dark="ir" not in crops)
                checks.append(slow["rgb.blur"])
            elif modality == "ir":
                dark = None if pair.ir_dark is None else crop(pair.ir_dark, boxes["ir"], FACE_RULE)
                checks += ir_checks(crops["ir"], dark, pair.lit, limits)
            else:
                checks += depth_checks(crops["depth"], limits)
        if "ir.copied" in slow:
            checks.append(slow["ir.copied"])
        return checks + time_checks(pair, limits, now_ns)

    def _slow_checks(
        self, pair: Pair, detection: PairDetection, ir: NDArray[Any] | None, carried: Mapping[str, Check]
    ) -> Mapping[str, Check]:
        """Return the checks in `SLOW_CHECKS` by name. Only they need the RGB crop. ``ir``: the IR crop, if any."""
        if "rgb.blur" in carried and ("ir.copied" in carried or ir is None):
            return carried
        rgb = crop(pair.image("rgb"), detection.boxes["rgb"], FACE_RULE)
        checks = {"rgb.blur": carried.get("rgb.blur") or blur_check(rgb, self.limits)}
        if ir is not None:
            checks["ir.copied"] = carried.get("ir.copied") or copy_check(rgb, ir, self.limits)
        return checks
