"""How far one stream's capture times are off against another's, from the same light seen by both.

A camera's time stamp is not the middle of its exposure: drivers stamp the start of a transfer, the end of a frame, or
whatever the firmware pleases. What is constant in that is found by showing both cameras one light that changes.

This module has what all ways share and the best of them, a light that blinks at irregular times.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from runtime.core.errors import InputError

Floats = NDArray[np.float64]

RANGE_MS = 150.0
"""Offsets are searched to this far either way: four frames at 30 a second."""
STEP_MS = 0.1
LARGEST_SIGMA_MS = 1.5
"""An offset that is known no better is not worth setting: pairs are rejected from 10 ms of skew on."""
LEAST_EDGES = 20
LEAST_CONTRAST = 8.0
"""Of the light, in standard deviations of the noise."""
CLEAR = 0.15
"""Levels within this of dark or bright, as a fraction of the step between them, are dark or bright."""
FLOOR_MS = 1.0
"""No edge is placed more narrowly than this: noise, a rolling shutter, lamps that take time."""
SYSTEMATIC_MS = 0.3
"""What simulation shows beyond the scatter of the edges, as exposures are guessed."""
STRAY = 1e-4
"""Density, per ms, of edges that one camera saw and the other did not."""
PHASES = 10
ASIDE_MS, ASIDE_SHARE = 8.0, 0.02
"""More than this share of the belief farther away than this from the best offset means that there are two answers."""


class OffsetUnknown(InputError):
    """The streams do not determine their offset."""

    code = "offset_unknown"


@dataclass(frozen=True, slots=True, eq=False)
class LevelSeries:
    """Mean level of one stream's frames. ``times_ms`` float64 [N], ascending; ``levels`` float64 [N]. ``exposure_ms``:
    None where the camera does not tell."""

    times_ms: Floats
    levels: Floats
    exposure_ms: float | None = None

    @property
    def period_ms(self) -> float:
        return float(np.median(np.diff(self.times_ms)))


Method = Literal["blink", "strobe", "motion"]


@dataclass(frozen=True, slots=True)
class TimeOffset:
    """``ms`` is to be added to the first stream's times. ``sigma_ms``: standard deviation of that. ``events``: how many
    edges, flashes or seconds it rests on."""

    ms: float
    sigma_ms: float
    events: int
    method: Method


@dataclass(frozen=True, slots=True, eq=False)
class LightEdges:
    """When the light went on (``rising``) or off: between ``low`` and ``high``, float64 [M], ms."""

    low: Floats
    high: Floats
    rising: NDArray[np.bool_]


def by_blink(first: LevelSeries, second: LevelSeries) -> TimeOffset:
    """Offset from a light that is switched at irregular times, much more slowly than frames come.

    Each edge lies between two frames of either camera, or inside the exposure of a frame that is half bright. What both
    say of it bounds the offset, and the bounds of many edges leave little, if the edges fall anywhere between frames.

    Raises:
        OffsetUnknown: no blinking light, one that blinks in step with the frames, too few edges, or they leave several
            answers or too wide a one.
    """
    a, b = edges_of(first, "first"), edges_of(second, "second")
    for edges, series in ((a, first), (b, second)):
        require_out_of_step(edges, series.period_ms)
    grid = np.arange(-RANGE_MS, RANGE_MS + STEP_MS / 2, STEP_MS)
    belief = np.zeros(grid.size)
    matched = 0
    for low, high, rising in zip(a.low, a.high, a.rising, strict=True):
        near = (b.rising == rising) & (b.low - high < RANGE_MS) & (low - b.high < RANGE_MS)
        if not near.any():
            continue
        matched += 1
        wide, other = high - low, b.high[near] - b.low[near]
        apart = np.abs(grid[:, None] - ((b.low[near] + b.high[near]) / 2 - (low + high) / 2))
        common = np.clip((wide + other) / 2 - apart, 0, np.minimum(wide, other))
        belief += np.log(STRAY + (common / (wide * other)).sum(axis=1))
    if matched < LEAST_EDGES:
        raise OffsetUnknown(
            f"{matched} edges of a light were seen by both cameras; {LEAST_EDGES} are needed. Let it blink in view of "
            "both for longer, slowly enough that each state lasts several frames."
        )
    share = np.exp(belief - belief.max())
    share /= share.sum()
    best = float(grid[np.argmax(share)])
    near = np.abs(grid - best) <= ASIDE_MS
    if float(share[~near].sum()) > ASIDE_SHARE:
        raise OffsetUnknown(
            "the edges allow several offsets. Switch the light by hand, at irregular times, and for longer."
        )
    middle = float((grid * share).sum())
    sigma = float(np.hypot(np.sqrt((np.square(grid - middle) * share).sum()), SYSTEMATIC_MS))
    require_certain(middle, sigma)
    return TimeOffset(middle, sigma, matched, "blink")


def require_out_of_step(edges: LightEdges, period_ms: float) -> None:
    """Refuse a light that blinks regularly and always at the same point between two frames: every edge repeats what the
    first one said, and adding them up would make the offset look better known than it is."""
    times = ((edges.low + edges.high) / 2)[edges.rising]
    if times.size < LEAST_EDGES // 2:
        return
    between = float(np.median(np.diff(times)))
    number = np.concatenate([[0], np.cumsum(np.round(np.diff(times) / between))])
    slope, start = np.polyfit(number, times, 1)
    if float(np.std(times - start - slope * number)) > period_ms / 2:
        return
    phases = (start + slope * number) / period_ms % 1
    if np.unique((phases * PHASES).astype(int)).size < PHASES * 0.7:
        raise OffsetUnknown(
            "the light blinks in step with the frames, so that every edge says the same. Switch it by hand, or at a "
            "period that is no multiple of the frames'."
        )


def require_certain(middle: float, sigma: float) -> None:
    """Refuse an offset that is too uncertain, or at the end of what was searched."""
    if sigma > LARGEST_SIGMA_MS:
        raise OffsetUnknown(
            f"the offset is known to ±{2 * sigma:.1f} ms only (at most ±{2 * LARGEST_SIGMA_MS:.0f} ms). Measure for "
            "longer; let the light change at irregular times, not in step with the frames."
        )
    if abs(middle) > RANGE_MS - ASIDE_MS:
        raise OffsetUnknown(f"the streams are {abs(middle):.0f} ms apart or more: whole frames are delayed.")


def states(series: LevelSeries, what: str) -> Floats:
    """Levels as fractions between dark, 0, and bright, 1.

    Raises:
        OffsetUnknown: there are not two of them.
    """
    if series.times_ms.size < 2 * LEAST_EDGES:
        raise OffsetUnknown(f"the {what} stream has {series.times_ms.size} frames, too few to measure with.")
    if not (np.isfinite(series.levels).all() and (np.diff(series.times_ms) > 0).all()):
        raise OffsetUnknown(f"the {what} stream's times do not ascend, or a level is no number.")
    middle = (series.levels.min() + series.levels.max()) / 2
    for _ in range(20):
        dark, bright = series.levels[series.levels <= middle], series.levels[series.levels > middle]
        if not dark.size or not bright.size:
            raise OffsetUnknown(f"nothing changes in the {what} stream.")
        middle = (float(np.median(dark)) + float(np.median(bright))) / 2
    low, high = float(np.median(dark)), float(np.median(bright))
    noise = 1.4826 * float(np.median(np.abs(np.concatenate([dark - low, bright - high])))) + 1e-9
    share = (series.levels - low) / (high - low)
    clear = (np.abs(share) < CLEAR) | (np.abs(share - 1) < CLEAR)
    if (high - low) < LEAST_CONTRAST * noise or clear.mean() < 0.6:
        raise OffsetUnknown(
            f"the {what} stream shows no light that is on or off: bring it nearer, keep everything else still, and "
            "switch automatic exposure off."
        )
    return share


def edges_of(series: LevelSeries, what: str) -> LightEdges:
    """When a light was switched, as one stream saw it.

    Raises:
        OffsetUnknown: it shows no such light.
    """
    share, times = states(series, what), series.times_ms
    level = np.where(share < CLEAR, 0, np.where(share > 1 - CLEAR, 1, -1))
    clear = np.flatnonzero(level >= 0)
    period = series.period_ms
    changes = [
        (before, after)
        for before, after in itertools.pairwise(clear)
        if level[before] != level[after] and after - before <= 2 and times[after] - times[before] <= 3.5 * period
    ]
    exposure = series.exposure_ms
    if exposure is None:
        # An edge leaves a half-bright frame when it falls into an exposure: that often, the exposure is that long.
        seen = np.mean([after - before == 2 for before, after in changes]) if changes else 0.0
        exposure = float(min(1.0, float(seen) / (1 - 2 * CLEAR))) * period
    low, high, rising = [], [], []
    for before, after in changes:
        up = bool(level[after])
        if after - before == 2:
            inside = before + 1
            # The light was on for this part of the exposure: its last one if it went on, its first if it went off.
            part = exposure * float(np.clip(share[inside], 0, 1))
            at = times[inside] + exposure / 2 - part if up else times[inside] - exposure / 2 + part
            start = end = at
        else:
            # A frame that still counts as clear may hold a little of the edge.
            start = times[before] + exposure * (0.5 - CLEAR)
            end = times[after] - exposure * (0.5 - CLEAR)
        middle, half = (start + end) / 2, max((end - start) / 2, FLOOR_MS)
        low.append(middle - half)
        high.append(middle + half)
        rising.append(up)
    return LightEdges(np.array(low), np.array(high), np.array(rising, bool))
