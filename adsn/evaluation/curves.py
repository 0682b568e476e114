"""Compute curves and histograms of a scored set, with neither a plotting library nor SciPy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from runtime.core.species import BONA_FIDE

FLOOR = 0.0005
"""Rate as which zero is drawn, at the end of the probit axis, because zero itself has no position there."""


@dataclass(frozen=True, slots=True)
class Det:
    """Detection error trade-off of one species: ``apcer`` and ``bpcer``, float64 [K], at increasing ``threshold``."""

    species: str
    threshold: NDArray[np.float64]
    apcer: NDArray[np.float64]
    bpcer: NDArray[np.float64]


def probit(rate: float) -> float:
    """Return the position of a rate on a probit axis, limited to `FLOOR` and 1 − `FLOOR`."""
    return NormalDist().inv_cdf(min(max(rate, FLOOR), 1 - FLOOR))


def det_curves(scores: ArrayLike, species: Sequence[str]) -> list[Det]:
    """Return a curve for each attack species against all bona fide presentations, without non-responses (NaN).

    A curve has one point for each score at which a rate changes, and one above all scores, where everything is refused.
    """
    values, species_array = np.asarray(scores, np.float64), np.array(species)
    answered = ~np.isnan(values)
    live = np.sort(values[answered & (species_array == BONA_FIDE)])
    curves = []
    if not len(live):
        return []
    for species_name in sorted(set(species) - {BONA_FIDE}):
        attacks = np.sort(values[answered & (species_array == species_name)])
        if not len(attacks):
            continue
        threshold = np.unique(np.concatenate([live, attacks]))
        threshold = np.append(threshold, np.nextafter(threshold[-1], np.inf))
        # Live means score >= threshold.
        apcer = 1 - np.searchsorted(attacks, threshold, side="left") / len(attacks)
        bpcer = np.searchsorted(live, threshold, side="left") / len(live)
        curves.append(Det(species_name, threshold, apcer, bpcer))
    return curves


def histogram(scores: ArrayLike, bins: int = 40) -> NDArray[np.int64]:
    """Return the number of scores in each of ``bins`` equal parts of 0 to 1, int64 [bins]. NaN is not counted."""
    values = np.asarray(scores, np.float64)
    counts, _ = np.histogram(np.clip(values[~np.isnan(values)], 0, 1), bins=bins, range=(0, 1))
    return counts.astype(np.int64)
