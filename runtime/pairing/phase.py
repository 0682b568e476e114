"""Timing of two free-running streams: the period of each, and the phase between them.

Both are estimated from the frames as they pass, in bounded memory and without a clock.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

_TURN = 2 * math.pi
_MEMORY = 1 / 8
"""Weight of the newest difference in the running mean. Eight pairs span a quarter of a second at 30 frames/s; a clock
drift of 300 ppm moves the phase by 0.08 ms in that time."""
_STABLE = 0.7
"""Length of the mean unit vector at or above which the phase counts as stable. With jitter of a tenth of a period the
length is 0.82; with streams of different rates it is below 0.5. Starting from zero it takes ten pairs to reach this
value."""
_LOST = 0.5
"""Length below which a stable phase counts as lost. It is lower than `_STABLE` (hysteresis), because with much jitter
the length dips below `_STABLE` by chance."""
_SIDE = 0.55
"""Fraction of a period at which the phase changes its sign. It is above one half, so that jitter does not flip the sign
back and forth."""


@dataclass(frozen=True, slots=True)
class Phase:
    """Phase between two streams.

    ``phase_ns``: mid-exposure of the second stream minus that of its partner in the first, offsets applied.
    ``period_ns``: of the faster stream, counting usable frames only; 0 until it is known. ``stable``: whether the phase
    can be relied on.
    """

    phase_ns: int
    period_ns: int
    stable: bool


class PeriodEstimator:
    """Estimator of a stream's period from its frame intervals. Dropped frames do not lengthen the period; a change of
    rate is followed.

    ``value``: the period in nanoseconds; 0 until two frames have been seen.
    """

    __slots__ = ("_long", "_seen", "_short", "value")

    def __init__(self, value: int = 0) -> None:
        self.value = value
        self._seen = self._short = self._long = 0

    def add(self, interval: int) -> None:
        """Add the interval between two consecutive frames, in nanoseconds, greater than 0."""
        value = self.value
        if value == 0:
            self.value = interval
        elif interval < 0.75 * value:
            # At the start, a short interval may mean that the first one spanned a dropped frame. Later, three short
            # intervals without a normal one in between mean a new rate; fewer are jitter.
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
    """Circular running mean of the phase, that is, modulo one period. `Pairer` uses it to compare neighbouring frames.

    ``lean``: the phase in integer nanoseconds; 0 while it is not stable. ``between``: whether the phase is nearly half
    a period, so that neither neighbour is much nearer than the other. ``shift``: nanoseconds to subtract from a time
    difference before neighbours are compared: the phase, or 0 while ``between``.
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
        """Add a time difference between neighbours.

        ``difference``: second minus first, in nanoseconds. ``period``: period of the faster stream, in nanoseconds.
        """
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
        # The mean is known only modulo one period. Take the value nearest to the previous phase, and wrap it only
        # beyond `_SIDE`.
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
        """Current estimate of the phase."""
        return Phase(self.lean, self.period, self.stable)
