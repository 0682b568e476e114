"""Pipeline for a stream of pairs. It tracks one face, and reports a pair that cannot be assessed instead of raising."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from runtime.core.check import Check
from runtime.core.errors import InvalidFaceBox, ModalityMissing, NoFace
from runtime.core.values import Pair
from runtime.face.tracker import Tracker, TrackRule
from runtime.liveness.evidence import Observation
from runtime.liveness.pair_pipeline import SLOW_CHECKS, Assessment, LivenessPipeline, Stopwatch
from runtime.liveness.quality import failed_codes, rgb_is_dark
from runtime.pairing.feed import CapturedPair

MAX_CARRIED_PAIRS = 2
"""Maximum number of consecutive pairs of a tracked face that reuse the results of the slow checks."""


@dataclass(frozen=True, slots=True)
class StreamAssessment:
    """Result for one pair of a stream.

    ``observation``: input for `runtime.liveness.evidence.Evidence`; ``assessment``: None if no face was found, an image
    is missing, or the mapped box lies outside its image. ``timing_ms``: stage → milliseconds.
    """

    observation: Observation
    assessment: Assessment | None
    timing_ms: Mapping[str, float]

    @property
    def reasons(self) -> tuple[str, ...]:
        """Reason codes of the decision, or the reason why there is none."""
        return self.observation.failed if self.assessment is None else self.assessment.reasons


class StreamPipeline:
    """Assesses the pairs of one feed in order. Not thread-safe."""

    def __init__(self, pipeline: LivenessPipeline, *, track: TrackRule | None = None) -> None:
        self.pipeline = pipeline
        self._tracker = Tracker(pipeline.modalities, pipeline.detector, pipeline.box_mapper, track)
        self._carried: dict[str, Check] = {}
        self._carried_of, self._carried_for = -1, 0

    def reset(self) -> None:
        """Forget the tracked face, for example before the next person."""
        self._tracker.reset()

    def assess(self, captured: CapturedPair, now_ns: int) -> StreamAssessment:
        """Assess the next pair. ``now_ns``: current CLOCK_MONOTONIC time in nanoseconds, for the age of the pair.

        A pair that cannot be assessed gives an observation with the reason code: ``no_face``, ``modality_missing`` or
        ``face_cropped``. Errors of the engine or the rig's geometry are raised: they affect every later pair.

        Raises:
            InferenceFailed: the engine gave no score. CalibrationInvalid: the image size differs from the
                calibration's.
        """
        stopwatch = Stopwatch()
        pair = captured.pair
        times = [t for t in pair.times_ns if t is not None]
        t_ns = min(times) if times else captured.t_emitted_ns
        assessment, reason = self._assess_tracked(pair, t_ns, now_ns, stopwatch)
        track = self._tracker.number
        if assessment is None:
            nothing = Observation(captured.number, t_ns, pair.generation, None, (), (reason,), track=track)
            return StreamAssessment(nothing, None, stopwatch.laps)
        # If any image lacks a timestamp, the pair's age is unknown.
        failed = failed_codes(assessment.checks) if len(times) == len(pair.times_ns) else ("pair_stale",)
        dark = rgb_is_dark(assessment.checks)
        observation = Observation(
            number=captured.number,
            t_ns=t_ns,
            generation=pair.generation,
            score=assessment.score,
            stream_scores=tuple(
                None if dark and modality == "rgb" else score
                for modality, score in zip(assessment.modalities, assessment.stream_scores, strict=True)
            ),
            failed=failed,
            box=assessment.face.box,
            strobe=assessment.strobe,
            track=track,
        )
        return StreamAssessment(observation, assessment, stopwatch.laps)

    def _assess_tracked(
        self, pair: Pair, t_ns: int, now_ns: int, stopwatch: Stopwatch
    ) -> tuple[Assessment | None, str]:
        """Return the assessment, or the reason why the pair was not assessed."""
        try:
            detection = self._tracker.find(pair, t_ns)
            stopwatch.lap("locate")
            assessment = self.pipeline.assess_found(pair, detection, stopwatch, now_ns=now_ns, carried=self._carry())
            self._keep(assessment)
            return assessment, ""
        except NoFace:
            reason = "no_face"
        except ModalityMissing:
            reason = "modality_missing"
        except InvalidFaceBox:
            # The mapped box lies outside the other image.
            reason = "face_cropped"
        stopwatch.lap("locate")
        return None, reason

    def _carry(self) -> dict[str, Check]:
        """Return the recent results of the slow checks for this face, if all of them passed."""
        if self._tracker.number != self._carried_of or self._carried_for >= MAX_CARRIED_PAIRS:
            return {}
        self._carried_for += 1
        return self._carried

    def _keep(self, assessment: Assessment) -> None:
        slow = {check.name: check for check in assessment.checks if check.name in SLOW_CHECKS}
        if any(self._carried.get(name) is not check for name, check in slow.items()):
            self._carried_for = 0
        # If one of them failed or is unknown, all of them run again on the next pair.
        self._carried = slow if all(check.status == "pass" for check in slow.values()) else {}
        self._carried_of = self._tracker.number
