"""Choose the limit at which the magnitudes of a tensor are clipped before INT8 quantisation, from their histogram.

Clipping increases the error of the few values beyond the limit and gives all others finer steps. There are three
criteria for the limit. ``percentile`` keeps a given percentage of the values. ``mse`` minimises the squared error of
rounding and clipping together. ``entropy`` minimises the Kullback-Leibler divergence between the distribution of the
values and of their quantised form, as Migacz described for TensorRT's INT8 inference (GTC 2017, session 7310).
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

BINS = 2048
LEAST = 128
"""Smallest limit that is tried, in bins. No sensible limit lies below a sixteenth of the range."""
STEP = 8


def clip_limit(
    counts: NDArray[np.int64],
    method: Literal["minmax", "percentile", "entropy", "mse"],
    *,
    levels: int,
    percentile: float = 99.99,
) -> float:
    """Return the clipping limit as a fraction, 0 to 1, of the largest magnitude.

    ``counts``: histogram of the magnitudes, int64 [BINS], with equal bins from 0 to the largest magnitude. ``levels``:
    number of quantised steps from 0 to the limit. An all-zero tensor is not clipped.
    """
    total = int(counts.sum())
    if method == "minmax" or not total or not counts[1:].any():
        return 1.0
    if method == "percentile":
        kept = int(np.searchsorted(np.cumsum(counts), total * percentile / 100))
        return float(min(kept + 1, BINS) / BINS)
    candidates = range(LEAST, BINS + 1, STEP)
    cost = _squared_error if method == "mse" else _divergence
    best = min(candidates, key=lambda limit: cost(counts, limit, levels))
    return best / BINS


def _squared_error(counts: NDArray[np.int64], limit: int, levels: int) -> float:
    """Return the sum of squared errors, in bins, of rounding to ``levels`` steps and clipping at bin ``limit``."""
    centres = np.arange(BINS) + 0.5
    step = limit / levels
    rounded = np.minimum(np.rint(centres / step), levels) * step
    return float((counts * np.square(centres - rounded)).sum())


def _divergence(counts: NDArray[np.int64], limit: int, levels: int) -> float:
    """Return the Kullback-Leibler divergence of the clipped distribution from its quantised form with ``levels`` steps.

    The weight of a level is spread evenly over its non-empty bins, so that empty bins stay empty.
    """
    inside = counts[:limit].astype(np.float64)
    # The first bin contains the zeros of a ReLU. Any scale represents them, and their number would dominate the result.
    inside[0] = inside[1]
    reference = inside.copy()
    reference[-1] += counts[limit:].sum()
    level = np.minimum(np.arange(limit) * levels // limit, levels - 1)
    occupied = inside > 0
    weight = np.bincount(level, inside, minlength=levels)
    cells = np.bincount(level, occupied, minlength=levels)
    image = np.where(occupied, (weight / np.maximum(cells, 1))[level], 0.0)
    p, q = reference / reference.sum(), image / max(image.sum(), 1e-12)
    # Values clipped into an empty last bin have no quantised form. A small floor makes that expensive instead of
    # infinite.
    used = p > 0
    return float((p[used] * np.log(p[used] / np.maximum(q[used], 1e-9))).sum())
