"""Measure the offset between the capture times of two streams, using a changing light that both cameras see.

The timestamp of a camera is not the middle of its exposure: drivers take the time at the start of a transfer, at the
end of a frame, or at a moment that only the firmware knows. The constant part of this error can be measured by showing
both cameras the same changing light.

This module contains the code that all methods share, and the best method, which uses a light that blinks irregularly.
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
"""Largest offset that is searched for, in both directions: more than four frames at 30 fps."""
STEP_MS = 0.1
LARGEST_SIGMA_MS = 1.5
"""Largest accepted standard deviation of an offset. By default, pairs with a skew above 10 ms are rejected."""
LEAST_EDGES = 20
LEAST_CONTRAST = 8.0
"""Minimum contrast of the light, in standard deviations of the noise."""
CLEAR = 0.15
"""A level counts as dark or bright if it is within this distance of that level, as a fraction of the step between the
two."""
FLOOR_MS = 1.0
"""Minimum half-width of the interval of an edge. It allows for noise, rolling shutter, and lamps with a rise time."""
SYSTEMATIC_MS = 0.3
"""Systematic error in addition to the scatter of the edges, found by simulation. It arises because exposures are
estimated."""
STRAY = 1e-4
"""Assumed density, per ms, of edges that only one camera saw."""
PHASES = 10
ASIDE_MS, ASIDE_SHARE = 8.0, 0.02
"""The result is ambiguous if more than `ASIDE_SHARE` of the probability lies more than `ASIDE_MS` from the best
offset."""


class OffsetUnknown(InputError):
    """The streams do not determine their offset."""

    code = "offset_unknown"


@dataclass(frozen=True, slots=True, eq=False)
class LevelSeries:
    """Mean levels of the frames of one stream.

    ``times_ms``: float64 [N], ascending. ``levels``: float64 [N]. ``exposure_ms``: None if the camera does not report
    it.
    """

    times_ms: Floats
    levels: Floats
    exposure_ms: float | None = None

    @property
    def period_ms(self) -> float:
        return float(np.median(np.diff(self.times_ms)))


Method = Literal["blink", "strobe", "motion"]


@dataclass(frozen=True, slots=True)
class TimeOffset:
    """A measured offset.

    ``ms``: offset to add to the times of the first stream. ``sigma_ms``: its standard deviation. ``events``: number of
    edges, flashes or seconds on which it is based.
    """

    ms: float
    sigma_ms: float
    events: int
    method: Method


@dataclass(frozen=True, slots=True, eq=False)
class LightEdges:
    """Intervals in which the light went on (``rising``) or off, each from ``low`` to ``high``, float64 [M], ms."""

    low: Floats
    high: Floats
    rising: NDArray[np.bool_]


def by_blink(first: LevelSeries, second: LevelSeries) -> TimeOffset:
    """Measure the offset with a light that is switched at irregular times, much more slowly than the frame rate.

    Each edge of the light lies between two frames of a camera, or inside the exposure of a half-bright frame. These
    intervals of both cameras bound the offset. Many edges at different times relative to the frames leave only a narrow
    range.

    Raises:
        OffsetUnknown: there is no blinking light, it blinks in step with the frames, there are too few edges, or the
            result is ambiguous or too uncertain.
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
            f"both cameras saw {matched} edges of a light, but {LEAST_EDGES} are needed. Let the light blink in view "
            "of both for longer, slowly enough that each state lasts several frames."
        )
    share = np.exp(belief - belief.max())
    share /= share.sum()
    best = float(grid[np.argmax(share)])
    near = np.abs(grid - best) <= ASIDE_MS
    if float(share[~near].sum()) > ASIDE_SHARE:
        raise OffsetUnknown(
            "the edges fit several offsets. Switch the light by hand, at irregular times, and for longer."
        )
    middle = float((grid * share).sum())
    sigma = float(np.hypot(np.sqrt((np.square(grid - middle) * share).sum()), SYSTEMATIC_MS))
    require_certain(middle, sigma)
    return TimeOffset(middle, sigma, matched, "blink")


def require_out_of_step(edges: LightEdges, period_ms: float) -> None:
    """Check that the light does not blink in step with the frames; otherwise raise `OffsetUnknown`.

    In step, all edges carry the same information, and the offset would appear more certain than it is.
    """
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
            "the light blinks in step with the frames, so every edge carries the same information. Switch it by hand, "
            "or with a period that is not a multiple of the frame period."
        )


def require_certain(middle: float, sigma: float) -> None:
    """Raise `OffsetUnknown` if the offset is too uncertain or at the end of the search range."""
    if sigma > LARGEST_SIGMA_MS:
        raise OffsetUnknown(
            f"the offset is known only to ±{2 * sigma:.1f} ms (at most ±{2 * LARGEST_SIGMA_MS:.0f} ms). Measure for "
            "longer, and change the light at irregular times, not in step with the frames."
        )
    if abs(middle) > RANGE_MS - ASIDE_MS:
        raise OffsetUnknown(f"the streams are at least {abs(middle):.0f} ms apart: a camera delays whole frames.")


def states(series: LevelSeries, what: str) -> Floats:
    """Return the levels scaled so that dark is 0 and bright is 1.

    Raises:
        OffsetUnknown: the stream does not show two distinct levels.
    """
    if series.times_ms.size < 2 * LEAST_EDGES:
        raise OffsetUnknown(f"the {what} stream has {series.times_ms.size} frames, which is too few.")
    if not (np.isfinite(series.levels).all() and (np.diff(series.times_ms) > 0).all()):
        raise OffsetUnknown(f"the {what} stream's times do not ascend, or a level is not a finite number.")
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
            f"the {what} stream shows no light that switches on and off. Bring the light closer, keep everything else "
            "still, and turn off automatic exposure."
        )
    return share


def edges_of(series: LevelSeries, what: str) -> LightEdges:
    """Return the edges of the light as seen by one stream.

    Raises:
        OffsetUnknown: the stream shows no such light.
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
        # An edge inside an exposure leaves a half-bright frame, so the fraction of such edges gives the exposure time.
        seen = np.mean([after - before == 2 for before, after in changes]) if changes else 0.0
        exposure = float(min(1.0, float(seen) / (1 - 2 * CLEAR))) * period
    low, high, rising = [], [], []
    for before, after in changes:
        up = bool(level[after])
        if after - before == 2:
            inside = before + 1
            # Length of time for which the light was on during the exposure: at its end if the light went on, at its
            # start if it went off.
            part = exposure * float(np.clip(share[inside], 0, 1))
            at = times[inside] + exposure / 2 - part if up else times[inside] - exposure / 2 + part
            start = end = at
        else:
            # A frame that counts as dark or bright may still contain a small part of the edge.
            start = times[before] + exposure * (0.5 - CLEAR)
            end = times[after] - exposure * (0.5 - CLEAR)
        middle, half = (start + end) / 2, max((end - start) / 2, FLOOR_MS)
        low.append(middle - half)
        high.append(middle + half)
        rising.append(up)
    return LightEdges(np.array(low), np.array(high), np.array(rising, bool))
