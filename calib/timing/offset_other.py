"""Measure the offset without a blinking light: from the strobe of the IR camera, or from any slow change of light."""

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
"""Number of blocks into which the recording is divided for the jackknife. Errors of adjacent frames are correlated;
errors of blocks are not."""
GRID_MS = 10.0
LEAST_CORRELATION = 0.8
RIVAL_MS, RIVAL = 60.0, 0.03
"""The offset is ambiguous if another one, at least `RIVAL_MS` away, has a correlation that is less than `RIVAL` below
the best."""
LEAST_SECONDS = 10.0
PHASES = 12
LEAST_PHASES = 10
HARMONICS = 2


def by_motion(first: LevelSeries, second: LevelSeries) -> TimeOffset:
    """Measure the offset with light that changes smoothly and without rhythm, such as a hand waved in front of a lamp.

    Both streams are smoothed in the same way and compared at every offset. The best offset is then refined with the
    slope of the levels.

    Raises:
        OffsetUnknown: the streams show different changes, a rhythm, or too little change.
    """
    if min(first.times_ms.size, second.times_ms.size) < 2:
        raise OffsetUnknown("a stream has no frames.")
    start = max(first.times_ms[0], second.times_ms[0]) + 2 * RANGE_MS
    end = min(first.times_ms[-1], second.times_ms[-1]) - 2 * RANGE_MS
    if end - start < LEAST_SECONDS * 1000:
        raise OffsetUnknown(f"the streams overlap by less than {LEAST_SECONDS:.0f} s. Measure for longer.")
    width = max(first.period_ms, second.period_ms)
    grid = np.arange(start, end, GRID_MS)
    # Search twice the accepted range, so that a rhythm is recognised by its second match.
    lags = np.arange(-2 * RANGE_MS, 2 * RANGE_MS + 1, GRID_MS)
    wide = np.arange(start - 2 * RANGE_MS, end + 2 * RANGE_MS, GRID_MS)
    a, b = smooth(first, wide, width), smooth(second, grid, width)
    match = np.array([correlation(np.interp(grid - lag, wide, a), b) for lag in lags])
    best = int(np.argmax(match))
    if not match[best] >= LEAST_CORRELATION:
        raise OffsetUnknown(
            f"the streams' correlation is only {max(match[best], 0):.0%}: they do not show the same change of light. "
            "Wave a hand in front of a lamp that both see, and keep everything else still."
        )
    rivals = match[np.abs(lags - lags[best]) >= RIVAL_MS]
    if rivals.size and match[best] - float(rivals.max()) < RIVAL:
        raise OffsetUnknown("the light changes rhythmically or too slowly, so several offsets fit. Wave irregularly.")
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
    """Return a series resampled at the times ``at``, with lines fitted in a Gaussian window of ``width`` ms.

    With lines, unlike with means, the positions of the frames in the window do not shift the result.
    """
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
    """Return the standard deviation of the last step of `by_motion`.

    It is estimated by leaving out each block of the recording in turn.
    """
    steps = []
    parts = np.array_split(np.arange(len(b)), BLOCKS)
    for part in parts:
        keep = np.ones(len(b), bool)
        keep[part] = False
        values = np.linalg.lstsq(fit[keep], b[keep], rcond=None)[0]
        steps.append(-values[0] / values[1])
    return float(np.sqrt((BLOCKS - 1) / BLOCKS * np.square(np.array(steps) - np.mean(steps)).sum()))


def by_strobe(first: LevelSeries, lit_ms: Floats) -> TimeOffset:
    """Measure the offset with the strobe of the IR camera. The RGB camera must see the strobe, so it must have no IR
    filter.

    The strobe is on during the exposure of each lit frame. The more the exposure of an RGB frame overlaps with the
    strobe, the brighter the frame is, and this is symmetrical before and after. ``lit_ms``: times of the lit frames in
    the second stream.

    Raises:
        OffsetUnknown: the RGB camera does not see the strobe, or both cameras run in step, so that every frame carries
            the same information.
    """
    period = float(np.median(np.diff(lit_ms))) if lit_ms.size > 1 else 0.0
    if lit_ms.size < 100 or not period > 0:
        raise OffsetUnknown(f"there are {lit_ms.size} lit infrared frames, but 100 are needed. Measure for longer.")
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
            f"the cameras run in step: colour frames fall into only {filled} of {PHASES} parts of the strobe's period. "
            "Set one camera to another frame rate, or use a blinking light."
        )
    # Remove slow changes of the light in the room.
    levels = levels - np.interp(times, *trend(times, levels, 20 * period))
    # Give every part of the period the same weight, however many frames fall into it.
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
            "the colour camera does not see the strobe; most have an infrared filter. Use a blinking light."
        )
    # Frames are brightest if the exposures coincide, that is, if time + offset is the time of a lit frame.
    brightest = float(np.arctan2(values[2], values[1])) / (2 * np.pi)
    middle = -brightest * period
    sigma = float(np.hypot(noise / strength * period / (2 * np.pi), SYSTEMATIC_MS))
    if sigma > LARGEST_SIGMA_MS:
        require_certain(middle, sigma)
    return TimeOffset(middle, sigma, int(lit_ms.size), "strobe")


def trend(times: Floats, levels: Floats, width: float) -> tuple[Floats, Floats]:
    """Return times and mean levels of windows of ``width`` ms, which follow only slow changes."""
    window = np.floor((times - times[0]) / width).astype(int)
    _, which = np.unique(window, return_inverse=True)
    count = np.bincount(which)
    return np.bincount(which, times) / count, np.bincount(which, levels) / count
