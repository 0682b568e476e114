"""Clipping limit of a tensor's magnitudes before INT8 quantisation, from a histogram, as a share of the largest.

Clipping increases the error of the few values beyond the limit and gives all others finer steps. There are three
criteria. ``percentile`` keeps a share of the values. ``mse`` minimises the squared error of rounding and clipping
together. ``entropy`` minimises the Kullback-Leibler divergence between the distribution of the values and of their
quantised form, as Migacz described for TensorRT's INT8 inference (GTC 2017, session 7310).
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

BINS = 2048
LEAST = 128
"""Smallest limit tried, in bins; no sensible limit lies below a sixteenth of the range."""
STEP = 8


def clip_limit(
    counts: NDArray[np.int64],
    method: Literal["minmax", "percentile", "entropy", "mse"],
    *,
    levels: int,
    percentile: float = 99.99,
) -> float:
    """Return the clipping limit as a share, 0 to 1, of the magnitude at the upper end of ``counts``.

    ``counts`` int64 [BINS]: number of magnitudes in each of the equal cells from 0 to the largest magnitude.
    ``levels``: quantised steps from 0 to the limit. An all-zero tensor is not clipped.
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
    """Return the sum of squared errors, in cells, of rounding magnitudes to ``levels`` steps up to ``limit`` cells."""
    centres = np.arange(BINS) + 0.5
    step = limit / levels
    rounded = np.minimum(np.rint(centres / step), levels) * step
    return float((counts * np.square(centres - rounded)).sum())


def _divergence(counts: NDArray[np.int64], limit: int, levels: int) -> float:
    """Return the Kullback-Leibler divergence of the clipped distribution from its quantised form on ``levels`` steps.

    A level's weight is spread evenly over its non-empty cells, so that empty cells stay empty.
    """
    inside = counts[:limit].astype(np.float64)
    # The first cell holds the zeros of every ReLU. Any scale represents them, and their count would dominate.
    inside[0] = inside[1]
    reference = inside.copy()
    reference[-1] += counts[limit:].sum()
    level = np.minimum(np.arange(limit) * levels // limit, levels - 1)
    occupied = inside > 0
    weight = np.bincount(level, inside, minlength=levels)
    cells = np.bincount(level, occupied, minlength=levels)
    image = np.where(occupied, (weight / np.maximum(cells, 1))[level], 0.0)
    p, q = reference / reference.sum(), image / max(image.sum(), 1e-12)
    # Values clipped onto an empty last cell have no quantised form; a small floor makes that expensive, not infinite.
    used = p > 0
    return float((p[used] * np.log(p[used] / np.maximum(q[used], 1e-9))).sum())
