"""One pair from images to a decision: locate → register → quality → crop → engine → decision."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from runtime.decision import Decision, OperatingPoint, decide
from runtime.engines.base import Engine
from runtime.errors import NoFace
from runtime.face import Face, FaceLocator
from runtime.preprocess import CropRule, crop
from runtime.quality import Check, Limits, box_checks, crop_checks, failures, time_checks
from runtime.values import Box, Pair

ASPECT_TOLERANCE = 0.02


@dataclass(frozen=True, slots=True)
class Assessment:
    """All that is known of one pair after it was judged.

    ``score`` and ``stream_scores`` are the network's, even where a failed gate made the decision ``uncertain``.
    ``timing_ms``: stage → milliseconds. ``attention``: float32 [2, M, h, w].
    """

    decision: Decision
    reasons: tuple[str, ...]
    score: float
    stream_scores: tuple[float, float]
    face: Face
    ir_box: Box
    checks: tuple[Check, ...]
    timing_ms: Mapping[str, float]
    attention: NDArray[np.float32]


class Stopwatch:
    """Milliseconds between named points, on the monotonic clock."""

    def __init__(self) -> None:
        self._last = time.perf_counter_ns()
        self.laps: dict[str, float] = {}

    def lap(self, name: str) -> None:
        now = time.perf_counter_ns()
        self.laps[name] = (now - self._last) / 1e6
        self._last = now


@dataclass(frozen=True, slots=True)
class LivenessPipeline:
    """Judges single RGB-IR pairs. Safe to call from several threads when its engine and locator are."""

    engine: Engine
    locator: FaceLocator
    rule: CropRule
    point: OperatingPoint
    modalities: Sequence[str] = ("rgb", "ir")
    limits: Limits = field(default_factory=Limits)

    def assess(self, pair: Pair, rgb_box: Box | None = None, ir_box: Box | None = None) -> Assessment:
        """Judge a pair. Boxes that are given are used as they are; missing ones are found.

        Raises:
            NoFace: no box was given and none was found in either image.
            InvalidFaceBox: a given box is malformed or outside its image.
            InferenceFailed: the engine gave no score.
        """
        watch = Stopwatch()
        face, ir_box, checks = self._register(pair, rgb_box, ir_box)
        watch.lap("locate")
        rgb_crop = crop(pair.image("rgb"), face.box, self.rule)
        ir_crop = crop(pair.image("ir"), ir_box, self.rule)
        checks += box_checks(pair, face.box, ir_box, self.rule, self.limits)
        checks += crop_checks(rgb_crop, ir_crop, self.limits)
        checks += time_checks(pair, self.limits)
        watch.lap("preprocess")
        scores = self.engine.infer({"rgb": rgb_crop[None], "ir": ir_crop[None]})
        watch.lap("inference")
        score = float(scores.score[0])
        streams = (float(scores.stream_scores[0, 0]), float(scores.stream_scores[0, 1]))
        verdict = decide(score, streams, self.modalities, self.point, failures(checks))
        return Assessment(
            decision=verdict.decision,
            reasons=verdict.reasons,
            score=score,
            stream_scores=streams,
            face=face,
            ir_box=ir_box,
            checks=tuple(checks),
            timing_ms=watch.laps,
            attention=scores.attention[0],
        )

    def _register(self, pair: Pair, rgb_box: Box | None, ir_box: Box | None) -> tuple[Face, Box, list[Check]]:
        """The face in RGB, its box in IR, and the checks that finding them already settles."""
        rgb, ir = pair.image("rgb"), pair.image("ir")
        if rgb_box is not None:
            rgb_box.require_inside(rgb.shape, "rgb face box")
        if ir_box is not None:
            ir_box.require_inside(ir.shape, "ir face box")
        sx, sy = ir.shape[1] / rgb.shape[1], ir.shape[0] / rgb.shape[0]
        # Without a calibration, the two images are taken as registered when they differ in scale alone.
        registered = abs(sx / sy - 1) <= ASPECT_TOLERANCE

        checks: list[Check] = []
        if rgb_box is not None:
            face = Face(rgb_box, None, 1)
        else:
            found = self.locator.locate(rgb)
            if found is None and registered:
                # In darkness the infrared leads.
                in_ir = self.locator.locate(ir)
                if in_ir is not None:
                    found = Face(in_ir.box.scaled(1 / sx, 1 / sy), in_ir.confidence, in_ir.count)
            if found is None:
                raise NoFace(
                    "no face was found in the RGB image, nor in the infrared one. Send a frontal, upright face of at "
                    "least 64 pixels, or name its box."
                )
            face = found
            checks.append(Check("face.count", face.count, 1, 1, "multiple_faces"))
        if ir_box is None:
            if registered:
                ir_box = face.box.scaled(sx, sy)
            else:
                in_ir = self.locator.locate(ir)
                checks.append(Check("ir.face_count", in_ir.count if in_ir else 0, 1, 1, "ir_no_face"))
                # The pair is already uncertain when none was found; a box is still needed to say what was seen.
                ir_box = in_ir.box if in_ir else face.box.scaled(sx, sy)
        return face, ir_box, checks
