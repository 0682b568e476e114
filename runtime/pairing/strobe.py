"""Find the strobe rhythm in a series of brightness levels, to separate lit from dark frames.

A trend (someone comes nearer, exposure settles) is fitted together with the rhythm, so it does not distort the result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

StrobeMode = Literal["auto", "steady", "1:1", "2:1", "1:2", "none"]
"""Declared illuminator of a rig, as the ratio of lit to dark frames; see `RigSettings`."""
_NOISE_FLOOR = 0.5
"""Minimum standard deviation, in grey levels, used as a divisor. The mean over many pixels of a still scene hardly
varies, so a ratio to its deviation would be meaningless."""


@dataclass(frozen=True, slots=True)
class StrobeRhythm:
    """Rhythm in which the first ``lit`` frames of every ``cycle`` frames are lit. A cycle begins at sequence number
    ``start``."""

    cycle: int
    lit: int
    start: int

    def is_lit(self, index: int) -> bool:
        return (index - self.start) % self.cycle < self.lit

    @property
    def pattern(self) -> str:
        """The pattern as written in the rig's settings, lit:dark."""
        return f"{self.lit}:{self.cycle - self.lit}"


@dataclass(frozen=True, slots=True)
class RhythmFit:
    """A rhythm and how well the brightness levels follow it.

    ``gap``: lit minus dark, in grey levels. ``separation``: the gap divided by the standard deviation that trend and
    rhythm leave unexplained; about 1 for a steady light, whatever the rhythm.
    """

    rhythm: StrobeRhythm
    gap: float
    separation: float


RHYTHMS: tuple[StrobeRhythm, ...] = (
    *(StrobeRhythm(2, 1, start) for start in range(2)),
    *(StrobeRhythm(3, lit, start) for lit in (1, 2) for start in range(3)),
)
"""All rhythms that cameras are known to use: 1:1, 1:2 and 2:1, each from every start."""


def fit_rhythm(indices: Sequence[int], levels: Sequence[float], rhythm: StrobeRhythm) -> RhythmFit:
    """Fit one rhythm to the brightness ``levels`` [N] at sequence numbers ``indices`` [N].

    The gap is negative if the frames that should be lit are darker. It is 0 with fewer than two lit or two dark levels.
    """
    lit = np.array([rhythm.is_lit(i) for i in indices], dtype=np.float64)
    if min(lit.sum(), len(lit) - lit.sum()) < 2:
        return RhythmFit(rhythm, 0.0, 0.0)
    level = _detrended(np.asarray(indices, np.float64), np.asarray(levels, np.float64))
    signal = _detrended(np.asarray(indices, np.float64), lit)
    power = float(signal @ signal)
    if power < 1e-9:
        return RhythmFit(rhythm, 0.0, 0.0)
    gap = float(signal @ level) / power
    rest = level - gap * signal
    deviation = float(np.sqrt(rest @ rest / max(len(lit) - 3, 1)))
    return RhythmFit(rhythm, gap, abs(gap) / max(deviation, _NOISE_FLOOR))


def best_rhythm_fit(
    indices: Sequence[int], levels: Sequence[float], rhythms: Sequence[StrobeRhythm] = RHYTHMS
) -> RhythmFit:
    """Return the fit of the rhythm that the levels follow best.

    Rhythms whose lit frames are brighter are preferred.
    """
    fits = [fit_rhythm(indices, levels, rhythm) for rhythm in rhythms]
    return max(fits, key=lambda found: (found.gap > 0, found.separation))


def _detrended(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ``y`` without its mean and its slope over ``x``."""
    x = x - x.mean()
    y = y - y.mean()
    power = float(x @ x)
    centred: NDArray[np.float64] = y - (float(x @ y) / power) * x if power else y
    return centred
