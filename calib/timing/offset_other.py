"""Offsets without a blinking light: from the strobe of the infrared camera itself, or from any slow change of light."""

from __future__ import annotations

import numpy as np

from calib.timing.offset import (
    LARGEST_SIGMA_MS,
    LEAST_CONTRAST,
    RANGE_MS,
    SYSTEMATIC_MS,
    Floats,
    LevelSeries,
    OffsetUnknown,
    TimeOffset,
    require_certain,
)

BLOCKS = 20
"""Parts of the recording that are left out in turn (jackknife): neighbouring frames err alike, parts do not."""
GRID_MS = 10.0
LEAST_CORRELATION = 0.8
RIVAL_MS, RIVAL = 60.0, 0.03
"""Another offset this far away whose correlation is this near makes the offset ambiguous."""
LEAST_SECONDS = 10.0
PHASES = 12
LEAST_PHASES = 10
HARMONICS = 2


def by_motion(first: LevelSeries, second: LevelSeries) -> TimeOffset:
    """Offset from light that changes smoothly and without rhythm: a hand waved between a lamp and both lenses.

    Both streams are smoothed alike and compared at every offset, then refined by the slope.

    Raises:
        OffsetUnknown: they do not show the same, or show a rhythm, or too little.
    """
    if min(first.times_ms.size, second.times_ms.size) < 2:
        raise OffsetUnknown("a stream has no frames.")
    start = max(first.times_ms[0], second.times_ms[0]) + 2 * RANGE_MS
    end = min(first.times_ms[-1], second.times_ms[-1]) - 2 * RANGE_MS
    if end - start < LEAST_SECONDS * 1000:
        raise OffsetUnknown(f"the streams have less than {LEAST_SECONDS:.0f} s in common. Measure for longer.")
    width = max(first.period_ms, second.period_ms)
    grid = np.arange(start, end, GRID_MS)
    # Twice as far as offsets are accepted: a rhythm shows by its second match.
    lags = np.arange(-2 * RANGE_MS, 2 * RANGE_MS + 1, GRID_MS)
    wide = np.arange(start - 2 * RANGE_MS, end + 2 * RANGE_MS, GRID_MS)
    a, b = smooth(first, wide, width), smooth(second, grid, width)
    match = np.array([correlation(np.interp(grid - lag, wide, a), b) for lag in lags])
    best = int(np.argmax(match))
    if not match[best] >= LEAST_CORRELATION:
        raise OffsetUnknown(
            f"the streams agree to {max(match[best], 0):.0%} only: they do not show the same change of light. Wave a "
            "hand before a lamp that both see, and keep everything else still."
        )
    rivals = match[np.abs(lags - lags[best]) >= RIVAL_MS]
    if rivals.size and match[best] - float(rivals.max()) < RIVAL:
        raise OffsetUnknown("the light changes in a rhythm, or too slowly: several offsets fit. Wave without rhythm.")
    middle = float(lags[best])
    for _ in range(10):
        moved = np.interp(grid - middle, wide, a)
        slope = np.gradient(moved, GRID_MS)
        fit = np.column_stack([slope, moved, np.ones(grid.size)])
        # b = gain·a(t − middle − step) + level, and a(t − step) = a(t) − step·slope
        values = np.linalg.lstsq(fit, b, rcond=None)[0]
        step = float(-values[0] / values[1])
        middle += float(np.clip(step, -GRID_MS, GRID_MS))
        if abs(step) < 1e-3:
            break
    moved = np.interp(grid - middle, wide, a)
    fit = np.column_stack([np.gradient(moved, GRID_MS), moved, np.ones(grid.size)])
    sigma = float(np.hypot(jackknife(fit, b), SYSTEMATIC_MS))
    require_certain(middle, sigma)
    return TimeOffset(middle, sigma, round((end - start) / 1000), "motion")


def smooth(series: LevelSeries, at: Floats, width: float) -> Floats:
    """A series at other times: straight lines fitted in a Gaussian window of ``width`` ms, so that where the frames
    fall does not shift it."""
    out = np.empty(at.size)
    times, levels = series.times_ms, series.levels
    first = np.searchsorted(times, at - 4 * width)
    last = np.searchsorted(times, at + 4 * width)
    for n in range(at.size):
        t, y = times[first[n] : last[n]] - at[n], levels[first[n] : last[n]]
        if t.size < 3:
            out[n] = np.interp(at[n], times, levels)
            continue
        w = np.exp(-0.5 * np.square(t / width))
        s0, s1, s2 = w.sum(), (w * t).sum(), (w * t * t).sum()
        out[n] = (s2 * (w * y).sum() - s1 * (w * t * y).sum()) / max(s0 * s2 - s1 * s1, 1e-12)
    return out


def correlation(a: Floats, b: Floats) -> float:
    a, b = a - a.mean(), b - b.mean()
    size = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / size if size > 0 else 0.0


def jackknife(fit: Floats, b: Floats) -> float:
    """Standard deviation of the step that `by_motion` would still make, from leaving parts of the recording out."""
    steps = []
    parts = np.array_split(np.arange(len(b)), BLOCKS)
    for part in parts:
        keep = np.ones(len(b), bool)
        keep[part] = False
        values = np.linalg.lstsq(fit[keep], b[keep], rcond=None)[0]
        steps.append(-values[0] / values[1])
    return float(np.sqrt((BLOCKS - 1) / BLOCKS * np.square(np.array(steps) - np.mean(steps)).sum()))


def by_strobe(first: LevelSeries, lit_ms: Floats) -> TimeOffset:
    """Offset from the infrared camera's own strobe, where the colour camera sees it: one without an infrared filter.

    The strobe is on during the exposure of each lit frame. How bright a colour frame is depends on how much of that
    falls into its exposure, the more the nearer the two are, in the same way before and after. ``lit_ms``: times of the
    second stream's lit frames.

    Raises:
        OffsetUnknown: the colour camera does not see it, or the two cameras run in step, so that every frame says the
            same.
    """
    period = float(np.median(np.diff(lit_ms))) if lit_ms.size > 1 else 0.0
    if lit_ms.size < 100 or not period > 0:
        raise OffsetUnknown(f"{lit_ms.size} lit infrared frames are too few; 100 are needed. Measure for longer.")
    inside = (first.times_ms > lit_ms[0]) & (first.times_ms < lit_ms[-1])
    times, levels = first.times_ms[inside], first.levels[inside]
    after = np.searchsorted(lit_ms, times)
    gap = lit_ms[after] - lit_ms[after - 1]
    steady = np.abs(gap - period) < period / 10
    turns = ((times - lit_ms[after - 1]) / gap)[steady]
    levels, times = levels[steady], times[steady]
    bins = (turns * PHASES).astype(int) % PHASES
    filled = np.unique(bins).size
    if filled < LEAST_PHASES:
        raise OffsetUnknown(
            f"the cameras run in step: colour frames fall into {filled} of {PHASES} parts of the strobe's period. "
            "Give one of them another frame rate, or use a blinking light."
        )
    # Slow changes of the room's light are not the strobe's.
    levels = levels - np.interp(times, *trend(times, levels, 20 * period))
    # Every part of the period counts the same, however long the cameras stayed in it.
    weights = 1 / np.sqrt(np.bincount(bins, minlength=PHASES)[bins])
    angles = 2 * np.pi * turns
    fit = np.column_stack(
        [np.ones(turns.size), *(f(k * angles) for k in range(1, HARMONICS + 1) for f in (np.cos, np.sin))]
    )
    values = np.linalg.lstsq(fit * weights[:, None], levels * weights, rcond=None)[0]
    rest = levels - fit @ values
    strength = float(np.hypot(values[1], values[2]))
    noise = float(rest.std()) / np.sqrt(turns.size / 2)
    if strength < LEAST_CONTRAST * noise:
        raise OffsetUnknown(
            "the colour camera does not see the strobe: most have a filter against infrared. Use a blinking light."
        )
    # Brightest where the exposures meet: times + offset = a lit frame's time.
    brightest = float(np.arctan2(values[2], values[1])) / (2 * np.pi)
    middle = -brightest * period
    sigma = float(np.hypot(noise / strength * period / (2 * np.pi), SYSTEMATIC_MS))
    if sigma > LARGEST_SIGMA_MS:
        require_certain(middle, sigma)
    return TimeOffset(middle, sigma, int(lit_ms.size), "strobe")


def trend(times: Floats, levels: Floats, width: float) -> tuple[Floats, Floats]:
    """Mean level in windows of ``width`` ms: times and levels of a line that follows slow changes only."""
    window = np.floor((times - times[0]) / width).astype(int)
    _, which = np.unique(window, return_inverse=True)
    count = np.bincount(which)
    return np.bincount(which, times) / count, np.bincount(which, levels) / count
