"""Sequential evidence: the pairs of one attempt add up to a decision. Pure: no clock, no I/O, bounded memory.

A stream gives a better decision than a still because errors differ from pair to pair, but consecutive pairs are
strongly correlated. So each pair adds ``weight × strength``:

- *Strength* is the score relative to the operating point, in log-odds: 0 at the threshold, 1 one uncertainty band above
  it or more, −1 one band below it or less. These limits bound the influence of any single pair. The score of a single
  stream has a strength too, relative to its own neutral score ``stream_floor``. The smallest of these strengths counts,
  so a stream can lower the strength of a pair but never raise it: no stream outvotes another.
- *Weight* is the information that the pair adds to that of its neighbours. Errors within an attempt are modelled as an
  Ornstein-Uhlenbeck process, whose correlation falls as exp(−Δt/T). The best estimate of its mean from samples at
  arbitrary times, times the effective number of independent samples, is then exactly

      ½ first + ½ last + Σ tanh(Δt / 2T) · ½ (previous + this)

  so one pair counts as one, and many pairs in quick succession count as little more. T is measured
  (docs/decisions.md). Because tanh is concave, dropping pairs as strong as their neighbours never increases the
  evidence.

``live`` needs the evidence of ``confirm`` independent pairs, at least ``min_pairs`` good pairs, and a good last pair.
With a strobe, ``min_follows`` can require more. ``spoof`` needs the same evidence with the sign reversed. An attempt
that reaches neither by its deadline ends as ``uncertain``. More pairs cannot correct an error that all pairs of an
attempt share: a mask that the network takes for a face remains misclassified.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from runtime.core.operating_point import OperatingPoint
from runtime.core.reasons import PRIORITY
from runtime.core.values import Box
from runtime.liveness.decision import STREAM_SPOOF, VETO_CODES, StrobeResponse, Verdict, with_strobe

CERTAIN = 1e-4
"""Minimum distance of a clipped score from 0 and 1: the last digits of a network's output are not evidence."""
MIN_BAND = 0.5
"""Minimum width of the uncertainty band in log-odds, for operating points with a narrow band or none."""
SUBJECT_CHANGED, GENERATION_CHANGED, FACE_LOST, GAP, NOT_ALONE, STROBE = (
    "subject_changed", "epoch_changed", "face_lost", "gap", "multiple_faces", "strobe_lost",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class EvidenceRule:
    """Conditions under which an attempt is decided. Times in nanoseconds.

    ``min_pairs``: minimum number of good pairs for ``live``, and of bad pairs for ``spoof``. ``deadline_ns``: length of
    an attempt. ``confirm``: evidence needed for a decision, in independent pairs of full strength. ``correlation_ns``:
    T in the module docstring. ``max_gap_ns``: longest time between two counted pairs of one attempt. ``max_jump``:
    largest move of the face box between two pairs, as a fraction of its width; ``max_zoom``: largest factor by which
    its width may change. ``stream_floor``: neutral score of a single stream, set low because one stream knows less than
    both together. ``min_follows``: pairs on which the face must have followed the strobe before ``live``; 0 for a
    steady illuminator.
    """

    min_pairs: int = 5
    deadline_ns: int = 3_000_000_000
    confirm: float = 1.5
    correlation_ns: int = 150_000_000
    max_gap_ns: int = 500_000_000
    max_jump: float = 0.5
    max_zoom: float = 1.4
    stream_floor: float = 0.05
    min_follows: int = 0

    def __post_init__(self) -> None:
        if not (
            self.min_pairs >= 1
            and self.deadline_ns > 0
            and self.confirm >= 1
            and self.correlation_ns > 0
            and self.max_gap_ns > 0
            and self.max_jump > 0
            and self.max_zoom > 1
            and 0 < self.stream_floor < 1
            and self.min_follows >= 0
        ):
            raise ValueError(
                f"impossible evidence rule {self}: counts and times must be positive, confirm >= 1, max_zoom > 1, "
                "0 < stream_floor < 1."
            )


@dataclass(frozen=True, slots=True)
class Observation:
    """Measurements of one pair of a stream.

    ``number``: increases with each pair. ``t_ns``: capture time. ``generation``: generation of the pair's streams.
    ``score`` and ``stream_scores``: outputs of the network; None if it was not run, or for a stream that shows nothing
    (RGB in darkness). ``failed``: codes of failed gates. ``box``: the face in the lead image, None if no face was
    found. ``strobe``: whether the face follows the illuminator (`runtime.liveness.active_light`). ``track``: a
    different number means that it may be a different face.
    """

    number: int
    t_ns: int
    generation: int
    score: float | None
    stream_scores: tuple[float | None, ...] = ()
    failed: tuple[str, ...] = ()
    box: Box | None = None
    strobe: StrobeResponse = "unknown"
    track: int = 0


@dataclass(frozen=True, slots=True)
class EvidenceState:
    """Status of an attempt.

    ``level``: evidence from −1 (enough for spoof) to 1 (enough for live). ``pairs``: number of pairs counted since the
    evidence was last discarded. ``good``: number of those that were not evidence for spoof. ``forgotten``: why the
    evidence was last discarded; empty if it never was.
    """

    level: float
    pairs: int
    good: int
    forgotten: str


class Evidence:
    """Accumulator of the evidence of consecutive attempts. Not thread-safe.

    ``modalities``: names of the streams in the order of `Observation.stream_scores`.
    """

    def __init__(self, point: OperatingPoint, modalities: Sequence[str], rule: EvidenceRule | None = None) -> None:
        self.rule = rule or EvidenceRule()
        self._modalities = tuple(modalities)
        self._zero = _log_odds(point.threshold)
        self._band = max(self._zero - _log_odds(point.band_low), MIN_BAND)
        self._floor = _log_odds(self.rule.stream_floor)
        self._last: Observation | None = None
        self._begin()

    def _begin(self) -> None:
        self._verdict: Verdict | None = None
        self._started: int | None = None
        self._failures: Counter[str] = Counter()
        self._why = ""
        self._forget("")

    def _forget(self, why: str) -> None:
        """Discard the evidence; the attempt and its deadline continue."""
        self._level = self._between = self._first = 0.0
        self._strength_before = self._fused = 0.0
        self._streams = [0.0] * len(self._modalities)
        self._good = self._bad = self._follows = 0
        self._counted: Observation | None = None
        self._why = why or self._why

    @property
    def state(self) -> EvidenceState:
        """Status of the current attempt."""
        return EvidenceState(self._level / self.rule.confirm, self._good + self._bad, self._good, self._why)

    def reset(self, reason: str) -> None:
        """Begin a new attempt with its own deadline. Pairs older than those already seen are still ignored."""
        self._begin()
        self._why = reason

    def expire(self, now_ns: int) -> Verdict | None:
        """Return the verdict of the attempt, or None if it is still undecided.

        If the deadline has passed without a verdict, the result is ``uncertain``. An attempt begins with its first
        observation, so nothing expires before that.
        """
        if self._verdict is None and self._started is not None and now_ns >= self._started + self.rule.deadline_ns:
            self._verdict = Verdict("uncertain", self._why_undecided())
        return self._verdict

    def add(self, observation: Observation) -> Verdict | None:
        """Add a pair and return the verdict, or None if undecided.

        Later pairs do not change a verdict; `reset` clears it.

        A pair that is not newer than the last is ignored. A pair that failed a gate adds no evidence; if all of its
        failed gates are in `VETO_CODES` and its score speaks for ``spoof``, it counts as full evidence for ``spoof``.
        All evidence is discarded after a gap and by a pair without a face, with several faces, of another stream
        generation or of another subject. A face that does not follow the strobe discards the evidence for ``live``.
        """
        last = self._last
        if self._verdict is not None or (
            last is not None and (observation.number <= last.number or observation.t_ns <= last.t_ns)
        ):
            return self._verdict
        self._last = observation
        if self._started is None:
            self._started = observation.t_ns
        if self.expire(observation.t_ns) is not None:
            return self._verdict
        failed = with_strobe(observation.failed, observation.strobe)
        self._follow(observation, failed, last)
        if not failed and (observation.score is None or observation.box is None):
            failed = ("no_face",)
        self._failures.update(dict.fromkeys(failed, 1))
        if not set(failed) - VETO_CODES and observation.score is not None and observation.box is not None:
            self._weigh(observation, vetoed=bool(failed))
        return self._verdict

    def _follow(self, observation: Observation, failed: Sequence[str], last: Observation | None) -> None:
        """Discard the evidence if it may not belong to the subject of ``observation``; see `add`."""
        if last is not None and observation.generation != last.generation:
            self._forget(GENERATION_CHANGED)
        elif observation.box is None or "no_face" in failed:
            self._forget(FACE_LOST)
        elif "multiple_faces" in failed:
            self._forget(NOT_ALONE)
        elif last is not None and (
            observation.track != last.track or (last.box is not None and self._jumped(last.box, observation.box))
        ):
            self._forget(SUBJECT_CHANGED)
        elif self._counted is not None and observation.t_ns - self._counted.t_ns > self.rule.max_gap_ns:
            self._forget(GAP)
        elif self._level >= 0 and "strobe_lost" in failed:
            # Evidence for ``spoof`` is kept.
            self._forget(STROBE)

    def _jumped(self, old: Box, new: Box) -> bool:
        edge = max(min(old.w, new.w), 1e-6)
        far = math.hypot(new.x + new.w / 2 - old.x - old.w / 2, new.y + new.h / 2 - old.y - old.h / 2)
        near = far <= self.rule.max_jump * edge and max(old.w, new.w) <= self.rule.max_zoom * edge
        # Written so that a NaN box counts as a jump.
        return not near

    def _weigh(self, observation: Observation, *, vetoed: bool) -> None:
        """Add a pair's evidence and decide if there is enough. A vetoed pair can only add evidence for ``spoof``."""
        assert observation.score is not None
        fused = self._strength(observation.score, self._zero)
        streams = [
            self._strength(score, self._floor) if score is not None else 1.0
            for score in (*observation.stream_scores, *[None] * len(self._modalities))[: len(self._modalities)]
        ]
        strength = min(fused, *streams)
        if vetoed:
            if strength >= 0:
                return
            strength = -1.0
        confirm, weight = self.rule.confirm, 1.0
        if self._counted is None:
            self._first = strength
        else:
            weight = math.tanh((observation.t_ns - self._counted.t_ns) / (2 * self.rule.correlation_ns))
            between = self._between + weight * (self._strength_before + strength) / 2
            self._between = max(-confirm, min(confirm, between))
        self._counted, self._strength_before = observation, strength
        self._level = max(-confirm, min(confirm, self._between + (self._first + strength) / 2))
        self._fused += weight * fused
        self._streams = [total + weight * value for total, value in zip(self._streams, streams, strict=True)]
        if strength >= 0:
            self._good += 1
        else:
            self._bad += 1
        self._follows += observation.strobe == "follows"
        if (
            self._level >= confirm
            and strength >= 0
            and self._good >= self.rule.min_pairs
            and self._follows >= self.rule.min_follows
        ):
            self._verdict = Verdict("live", ())
        elif self._level <= -confirm and strength < 0 and self._bad >= self.rule.min_pairs:
            self._verdict = Verdict("spoof", self._why_spoof())

    def _strength(self, score: float, zero: float) -> float:
        # A score that is not a probability is never evidence for ``live``.
        if not 0 <= score <= 1:
            return -1.0
        return max(-1.0, min(1.0, (_log_odds(score) - zero) / self._band))

    def _why_spoof(self) -> tuple[str, ...]:
        reasons = [STREAM_SPOOF[name] for name, total in zip(self._modalities, self._streams, strict=True) if total < 0]
        if self._fused < 0 or not reasons:
            reasons.append("fused_spoof")
        return (*sorted(VETO_CODES & self._failures.keys()), *reasons)

    def _why_undecided(self) -> tuple[str, ...]:
        """Return the codes of up to four failed gates, most frequent first. If none failed, the evidence was
        inconclusive."""
        order = sorted(
            self._failures, key=lambda code: (-self._failures[code], PRIORITY.get(code, len(PRIORITY)), code)
        )
        return tuple(order[:4]) or ("score_in_band",)


def _log_odds(score: float) -> float:
    p = min(max(score, CERTAIN), 1 - CERTAIN)
    return math.log(p / (1 - p))
