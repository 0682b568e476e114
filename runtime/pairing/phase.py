"""How two free-running streams lie to each other: the period of each, and the phase between them.

Both are measured on what passes by, in bounded memory, and without a clock.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

_TURN = 2 * math.pi
_MEMORY = 1 / 8
"""Weight of the newest difference. Eight pairs are a quarter of a second at 30 a second, in which 300 ppm of drift
move the phase by 0.08 ms."""
_STABLE = 0.7
"""Length of the mean unit vector from which the phase is believed. Jitter of a tenth of a period leaves 0.82; streams
whose rates do not divide leave less than half. From nothing it takes ten pairs to get there."""
_LOST = 0.5
"""And below which it is no longer: chance takes a phase with much jitter below the former now and then."""
_SIDE = 0.55
"""Part of a period at which the phase is counted to the other side. Above one half, so that jitter does not throw it
to and fro."""


@dataclass(frozen=True, slots=True)
class Phase:
    """What is known of two streams' phase.

    ``phase_ns``: mid-exposure of the second stream minus that of its partner in the first, offsets applied.
    ``period_ns``: of the faster of both, counting usable frames only; 0 before it is known. ``stability``: 0 (no
    phase: rates differ, or nothing was seen) to 1 (locked). ``stable``: whether the phase may be relied on.
    """

    phase_ns: int
    period_ns: int
    stability: float
    stable: bool

    @property
    def of_period(self) -> float:
        """The phase as a part of the period: 0 in step, 0.5 as far apart as can be."""
        return abs(self.phase_ns) / self.period_ns if self.period_ns else 0.0


class PeriodEstimator:
    """Period of a stream from its intervals; drops do not lengthen it, a change of rate is followed.

    ``value``: nanoseconds, 0 before two frames have been seen.
    """

    __slots__ = ("_long", "_seen", "_short", "value")

    def __init__(self, value: int = 0) -> None:
        self.value = value
        self._seen = self._short = self._long = 0

    def add(self, interval: int) -> None:
        """Take in an interval between two consecutive frames, above 0."""
        value = self.value
        if value == 0:
            self.value = interval
        elif interval < 0.75 * value:
            # While little is known the first interval may have spanned a drop. Later, three short ones in a row are
            # a new rate, and fewer are jitter.
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
    """The phase as a running mean on the circle of one period, and what follows from it for comparing neighbours.

    ``lean``: the phase, integer nanoseconds; 0 as long as none can be relied on. ``between``: it is nearly half a
    period, so that neither neighbour is much nearer than the other. ``shift``: what to take off a difference of times
    before neighbours are compared: the phase, but nothing where it leans to no side.
    """

    __slots__ = ("_x", "_y", "between", "lean", "period", "shift", "stable")

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything: a stream has been opened anew."""
        self._x = self._y = 0.0
        self.lean = self.shift = 0
        self.between = self.stable = False
        self.period = 0

    def add(self, difference: int, period: int) -> None:
        """Take in the difference of two neighbours' times, second minus first, and the faster stream's period."""
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
        # The circle has no beginning: go on from where the phase was, and change sides late.
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
        """What is known now."""
        return Phase(self.lean, self.period, min(math.hypot(self._x, self._y), 1.0), self.stable)
