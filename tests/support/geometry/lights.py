"""Changing light as seen by two cameras, for tests and benchmarks of time offsets."""

from __future__ import annotations

import numpy as np

from calib.timing.offset import Floats

MINUTE_MS = 60_000.0


def frames(rng: np.random.Generator, total_ms: float, fps: float = 30.0, jitter_ms: float = 0.3) -> Floats:
    """Return mid-exposure times of a free-running camera."""
    times = np.arange(rng.uniform(50, 90), total_ms, 1000 / (fps * (1 + rng.normal(0, 1e-4))))
    return np.sort(times + rng.normal(0, jitter_ms, times.size))


def switched(rng: np.random.Generator, total_ms: float, regular_ms: float | None = None) -> Floats:
    """Return the times at which a light is switched, first on."""
    if regular_ms is not None:
        return np.arange(500.0, total_ms, regular_ms)
    return 500 + np.cumsum(rng.uniform(150, 700, int(total_ms / 150)))


def lit_until(switches: Floats, at: Floats) -> Floats:
    """Return the total time, in ms, for which the light was on until ``at``."""
    pairs = switches[: switches.size // 2 * 2].reshape(-1, 2)
    done: Floats = np.clip(at[:, None] - pairs[:, 0], 0, pairs[:, 1] - pairs[:, 0]).sum(axis=1)
    return done


def seen(rng: np.random.Generator, switches: Floats, times: Floats, exposure: float, step: float = 60) -> Floats:
    """Return the mean level of each frame, proportional to the time for which the light was on during the exposure,
    plus noise."""
    share = (lit_until(switches, times + exposure / 2) - lit_until(switches, times - exposure / 2)) / exposure
    level: Floats = 25 + step * share + rng.normal(0, 0.8, times.size)
    return level


def waving(rng: np.random.Generator, total_ms: float) -> tuple[Floats, Floats]:
    """Simulate a hand waved in front of a lamp, smoothly and without rhythm. Return times and levels for every
    millisecond."""
    fine = np.arange(0, total_ms, 1.0)
    steps = np.interp(fine, np.arange(0, total_ms, 180.0), rng.uniform(0, 1, int(np.ceil(total_ms / 180))))
    kernel = np.hanning(160)
    return fine, np.convolve(steps, kernel / kernel.sum(), mode="same")
