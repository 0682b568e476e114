"""Timing of two free-running streams: the period of each, and the phase between them.

Both are measured on the passing frames, in bounded memory and without a clock.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

_TURN = 2 * math.pi
_MEMORY = 1 / 8
"""Weight of the newest difference. Eight pairs span a quarter of a second at 30 frames/s, in which 300 ppm of drift
moves the phase by 0.08 ms."""
_STABLE = 0.7
"""Length of the mean unit vector from which the phase counts as stable. Jitter of a tenth of a period leaves 0.82;
streams whose rates do not match leave less than half. From zero it takes ten pairs to get there."""
_LOST = 0.5
"""Length below which a stable phase is lost; hysteresis, because with much jitter it dips below `_STABLE` by chance."""
_SIDE = 0.55
"""Fraction of a period at which the phase switches sides. Above one half, so that jitter does not flip it back and
forth."""


@dataclass(frozen=True, slots=True)
class Phase:
    """The phase of two streams.

    ``phase_ns``: mid-exposure of the second stream minus that of its partner in the first, offsets applied.
    ``period_ns``: of the faster stream, counting usable frames only; 0 until it is known. ``stable``: whether the phase
    can be relied on.
    """

    phase_ns: int
    period_ns: int
    stable: bool


class PeriodEstimator:
    """Period of a stream, measured from its intervals. Dropped frames do not lengthen it; a change of rate is followed.

    ``value``: nanoseconds; 0 until two frames have been seen.
    """

    __slots__ = ("_long", "_seen", "_short", "value")

    def __init__(self, value: int = 0) -> None:
        self.value = value
        self._seen = self._short = self._long = 0

    def add(self, interval: int) -> None:
        """Add an interval between two consecutive frames, above 0."""
        value = self.value
        if value == 0:
            self.value = interval
        elif interval < 0.75 * value:
            # While little is known, the first interval may have spanned a drop. Later, three short ones in a row mean
            # a new rate; fewer are jitter.
            self._short += 1
            self._long = 0
            if self._seen < 8 or self._short >= 3:
                self.value = interval
                self._short = 0
        elif interval > 1.5 * value:
            self._long += 1
            if self._long >= 8:
                self.value = interval
                self._long = 0
        else:
            self._short = self._long = 0
            self.value = value + ((interval - value) >> 3)
        self._seen += 1


class PhaseTracker:
    """The phase as a running mean on the circle of one period, and how to compare neighbours by it.

    ``lean``: the phase in integer nanoseconds; 0 while it is not stable. ``between``: the phase is nearly half a
    period, so that neither neighbour is much nearer than the other. ``shift``: what to subtract from a time difference
    before neighbours are compared: the phase, or 0 while ``between``.
    """

    __slots__ = ("_x", "_y", "between", "lean", "period", "shift", "stable")

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Reset after a stream was opened again."""
        self._x = self._y = 0.0
        self.lean = self.shift = 0
        self.between = self.stable = False
        self.period = 0

    def add(self, difference: int, period: int) -> None:
        """Add the time difference of two neighbours, second minus first, and the faster stream's period."""
        angle = _TURN * difference / period
        self._x += (math.cos(angle) - self._x) * _MEMORY
        self._y += (math.sin(angle) - self._y) * _MEMORY
        self.period = period
        least = _LOST if self.stable else _STABLE
        self.stable = self._x * self._x + self._y * self._y >= least * least
        if not self.stable:
            self.lean = self.shift = 0
            self.between = False
            return
        measured = int(math.atan2(self._y, self._x) * period / _TURN)
        # The circle has no start: continue from the previous phase, and switch sides late.
        if self.lean:
            measured += round((self.lean - measured) / period) * period
        limit = int(_SIDE * period)
        if measured > limit:
            measured -= period
        elif measured < -limit:
            measured += period
        self.lean = measured
        self.between = 8 * abs(measured) >= 3 * period
        self.shift = 0 if self.between else measured

    @property
    def phase(self) -> Phase:
        """The phase so far."""
        return Phase(self.lean, self.period, self.stable)
