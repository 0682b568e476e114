"""Decide whether the rig's illuminator lit an IR frame, and whether the illuminator works.

If the camera reports the state of its illuminator, that report decides. Otherwise the declared or detected rhythm
decides; frames are counted by the driver's sequence numbers, so that a dropped frame does not shift it. Without either
the illumination is unknown, which counts neither as dark nor as lit. Faults of the illuminator have reason codes, which
prevent ``live`` (see `runtime.liveness.decision.decide`).
"""

from __future__ import annotations

import itertools
from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.core.values import IlluminationState
from runtime.pairing.phase import PeriodEstimator
from runtime.pairing.strobe import RHYTHMS, RhythmFit, StrobeMode, StrobeRhythm, best_rhythm_fit, fit_rhythm

LOCK_GAP = 8.0
"""Minimum gap in grey levels between lit and dark frames. Sunlight compresses the gap to between 8 and 10; from 8
upwards the rhythm is found without error in ten frames."""
LOST_GAP = 4.0
LOCK_SEPARATION = 3.0
"""Minimum `RhythmFit.separation`. Strobes reach at least 5.9 at a gap of 8; steady light reaches about 1."""
MIN_LIT_MEAN = 12.0
FLOOD_MEAN = 170.0
"""Mean of a dark frame above which ambient light drowns the illuminator."""
_WINDOW = 12
_SHORT = 6
_LONGEST_GAP = 1000


@dataclass(frozen=True, slots=True)
class FrameStats:
    """Mean and standard deviation of the brightness of an IR frame, in grey levels 0 to 255."""

    mean: float
    std: float


def frame_stats(image: NDArray[Any]) -> FrameStats:
    """Measure every fourth pixel of every fourth row of ``image``, uint8 [H, W] or [H, W, 1]."""
    view = image[::4, ::4]
    return FrameStats(float(view.mean()), float(view.std()))


def _is_steady(levels: list[float]) -> bool:
    return float(np.std(levels)) < LOCK_GAP


@dataclass(frozen=True, slots=True)
class Illumination:
    """State of the illuminator.

    ``pattern``: ratio of lit to dark frames, ``steady``, or empty while unknown. ``reason``: reason code of a fault
    (``strobe_lost``, ``ir_unlit``, ``ambient_flood``); empty without a fault.
    """

    pattern: str
    reason: str


class IlluminationClassifier:
    """Classifier of the frames of one IR stream into lit and dark. Pure: no clock, no I/O.

    ``strobe``: the illuminator declared for the rig, see `RigSettings`. With ``auto`` the classifier looks for a
    rhythm. If the brightness stays the same over twelve frames, the light counts as steady and its frames as lit. But
    if a rhythm was seen earlier in this stream generation, the strobe counts as lost.
    """

    def __init__(self, strobe: StrobeMode = "auto") -> None:
        self._strobe = strobe
        self._rhythms = tuple(r for r in RHYTHMS if strobe in ("auto", r.pattern))
        self._generation: int | None = None
        self._restart()

    def _restart(self) -> None:
        self._levels: deque[tuple[int, float, IlluminationState]] = deque(maxlen=_WINDOW)
        self._rhythm: StrobeRhythm | None = None
        self._flag_rhythm: StrobeRhythm | None = None
        self._flag_gap = 0.0
        self._holding = False
        self._steady = False
        self._flagged = 0
        self._faint = 0
        self._index = 0
        self._seq: int | None = None
        self._time: int | None = None
        self._period = PeriodEstimator()

    def classify(
        self,
        stats: FrameStats,
        *,
        t_ns: int,
        seq: int | None = None,
        lit: IlluminationState = "unknown",
        generation: int = 0,
    ) -> IlluminationState:
        """Classify the next frame of the stream.

        ``seq``: the driver's sequence number; without one, frames are counted by ``t_ns`` and the period. ``lit``: the
        camera's report on this frame. A new ``generation`` resets the classifier.
        """
        if generation != self._generation:
            self._generation = generation
            self._restart()
        index = self._count(seq, t_ns)
        if lit != "unknown":
            self._flagged += 1
        self._levels.append((index, stats.mean, lit))
        if self._strobe == "none":
            return "lit"
        if lit != "unknown":
            self._fit_flags()
            return lit
        if self._flagged:
            return "unknown"  # this camera flags its frames, but not this one: the rhythm is no substitute
        if self._strobe == "steady":
            return "lit" if stats.mean >= MIN_LIT_MEAN else "unknown"
        return self._by_rhythm(index, stats.mean)

    @property
    def state(self) -> Illumination:
        """The current state of the illuminator."""
        return Illumination(self._pattern(), self._reason())

    # -- rhythm ------------------------------------------------------------------------------------------------------

    def _by_rhythm(self, index: int, mean: float) -> IlluminationState:
        indices, levels = self._series()
        if self._rhythm is None or not self._holding:
            self._search(indices, levels)
        else:
            self._check(indices, levels)
        if self._rhythm is not None:
            if not self._holding:
                return "unknown"
            return self._consistent(index, mean)
        if self._steady and len(levels) > 1:
            # A drop in brightness may be the first sign of a strobe that started late.
            return "lit" if mean >= MIN_LIT_MEAN and levels[-2] - mean < LOCK_GAP else "unknown"
        return "unknown"

    def _search(self, indices: list[int], levels: list[float]) -> None:
        # Half the usual number of frames is enough to resume a known rhythm, but only in the same phase.
        if self._rhythm is not None and len(levels) >= _SHORT:
            fitted = fit_rhythm(indices[-_SHORT:], levels[-_SHORT:], self._rhythm)
            if fitted.gap >= LOCK_GAP and fitted.separation >= LOCK_SEPARATION:
                self._hold(fitted)
                return
        steps = [abs(b - a) for a, b in itertools.pairwise(levels)]
        if len(levels) == _WINDOW and max(steps) < LOST_GAP:
            # There is no rhythm to find. Searching on every frame of a steady light would cost more than everything
            # else here.
            self._steady = self._strobe == "auto" and self._rhythm is None and (self._steady or _is_steady(levels))
            return
        for length in (_WINDOW, _WINDOW - 2):
            if len(levels) < length:
                continue
            fitted = best_rhythm_fit(indices[-length:], levels[-length:], self._rhythms)
            if fitted.gap >= LOCK_GAP and fitted.separation >= LOCK_SEPARATION:
                self._hold(fitted)
                return
        if len(levels) == _WINDOW:
            calm = best_rhythm_fit(indices, levels, self._rhythms).gap < LOST_GAP and _is_steady(levels)
            self._steady = self._strobe == "auto" and self._rhythm is None and (calm or self._steady)

    def _hold(self, fitted: RhythmFit) -> None:
        self._rhythm, self._holding, self._steady, self._faint = fitted.rhythm, True, False, 0

    def _check(self, indices: list[int], levels: list[float]) -> None:
        assert self._rhythm is not None
        fitted = fit_rhythm(indices, levels, self._rhythm)
        if fitted.gap <= -LOCK_GAP and fitted.separation >= LOCK_SEPARATION:
            self._search(indices, levels)  # inverted: the camera dropped a frame and did not count it
            return
        self._faint = self._faint + 1 if fitted.gap < LOST_GAP else 0
        if self._faint >= _SHORT:
            self._holding = False

    def _consistent(self, index: int, mean: float) -> IlluminationState:
        """Return the state according to the rhythm, or ``unknown`` if the brightness of the frame contradicts it."""
        assert self._rhythm is not None
        lit = self._rhythm.is_lit(index)
        for other, level, _ in reversed(list(self._levels)[:-1]):
            if self._rhythm.is_lit(other) != lit:
                wrong = mean <= level if lit else mean >= level
                return "unknown" if wrong else "lit" if lit else "dark"
        return "unknown"

    def _fit_flags(self) -> None:
        """Measure how well the levels follow the camera's flags. Used only to report faults."""
        lit = [level for _, level, state in self._levels if state == "lit"]
        dark = [level for _, level, state in self._levels if state == "dark"]
        if len(lit) < 3 or len(dark) < 3:
            self._flag_rhythm, self._flag_gap = None, 0.0
            return
        self._flag_gap = float(np.mean(lit) - np.mean(dark))
        cycle = max(2, round((len(lit) + len(dark)) / min(len(lit), len(dark))))
        self._flag_rhythm = StrobeRhythm(cycle, cycle - 1 if len(lit) > len(dark) else 1, 0)

    # -- bookkeeping -------------------------------------------------------------------------------------------------

    def _count(self, seq: int | None, t_ns: int) -> int:
        interval = 0 if self._time is None else t_ns - self._time
        if seq is not None and self._seq is not None:
            step = (seq - self._seq) & 0xFFFFFFFF  # drivers' sequence numbers have 32 bits and wrap
            if step > _LONGEST_GAP:
                # The counter restarted, so the phase of the rhythm has to be found again.
                self._levels.clear()
                self._holding = False
                step = 1
            self._index += step
        elif interval > 0:
            period = self._period.value
            self._index += max(1, round(interval / period)) if period else 1
        if interval > 0:
            self._period.add(interval)
        self._seq, self._time = seq, t_ns
        return self._index

    def _series(self) -> tuple[list[int], list[float]]:
        return [i for i, _, _ in self._levels], [level for _, level, _ in self._levels]

    def _pattern(self) -> str:
        if self._flagged:
            return self._flag_rhythm.pattern if self._flag_rhythm else "steady"
        if self._rhythm is not None and self._holding:
            return self._rhythm.pattern
        return "steady" if self._steady or self._strobe in ("steady", "none") else ""

    def _dark_levels(self) -> list[float]:
        if self._flagged:
            return [level for _, level, state in self._levels if state == "dark"]
        if self._rhythm is not None and self._holding:
            return [level for index, level, _ in self._levels if not self._rhythm.is_lit(index)]
        return []

    def _ambient(self) -> float | None:
        dark = self._dark_levels()
        return float(np.mean(dark)) if dark else None

    def _reason(self) -> str:
        if self._strobe == "none" or len(self._levels) < _WINDOW:
            return ""
        levels = self._series()[1]
        ambient = self._ambient()
        if ambient is not None and ambient > FLOOD_MEAN:
            return "ambient_flood"
        alternates = self._strobe not in ("auto", "steady") or self._rhythm is not None or self._last_flags_alternate()
        followed = self._flag_gap >= LOST_GAP if self._flagged else self._holding
        if alternates and not followed:
            return "ambient_flood" if float(np.mean(levels)) > FLOOD_MEAN else "strobe_lost"
        if max(levels) < MIN_LIT_MEAN or (self._flagged and not any(state == "lit" for _, _, state in self._levels)):
            return "ir_unlit"
        return ""

    def _last_flags_alternate(self) -> bool:
        states = {state for _, _, state in self._levels}
        return {"lit", "dark"} <= states
