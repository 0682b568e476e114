"""ISO/IEC 30107-3 metrics, on presentations, with confidence. No torch: calibration uses them too.

Formulae: ISO/IEC 30107-3:2023 clauses on attack presentation and bona fide presentation classification.
Interval: Clopper and Pearson, Biometrika 26 (1934).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

BONA_FIDE = "bona_fide"


@dataclass(frozen=True, slots=True)
class Rate:
    """Errors among trials, with the two-sided 95 % Clopper-Pearson interval."""

    errors: int
    trials: int

    @property
    def value(self) -> float:
        """Fraction of errors; NaN without trials, which compares as neither good nor bad."""
        return self.errors / self.trials if self.trials else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        return clopper_pearson(self.errors, self.trials)

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.value:.2%} ({self.errors}/{self.trials}, 95 %: {low:.2%} to {high:.2%})"


@dataclass(frozen=True, slots=True)
class Report:
    """Error rates at one threshold. `worst` is the headline: the species that gets through most often."""

    threshold: float
    apcer: dict[str, Rate]
    bpcer: Rate

    @property
    def worst(self) -> tuple[str, Rate]:
        return max(self.apcer.items(), key=lambda item: (item[1].value, item[0]))


def presentation_scores(
    scores: ArrayLike, species: Sequence[str], presentations: Sequence[str]
) -> tuple[NDArray[np.float64], list[str]]:
    """Mean score of each presentation, in order of first appearance, with its species."""
    sums: dict[tuple[str, str], list[float]] = {}
    for score, kind, presentation in zip(np.asarray(scores, np.float64).tolist(), species, presentations, strict=True):
        sums.setdefault((kind, presentation), []).append(score)
    return np.array([sum(v) / len(v) for v in sums.values()]), [kind for kind, _ in sums]


def rates(scores: ArrayLike, species: Sequence[str], threshold: float) -> Report:
    """APCER of each species and BPCER at ``threshold``; one score a presentation. Live means score >= threshold."""
    values = np.asarray(scores, np.float64)
    if values.shape != (len(species),):
        raise ValueError(f"one species for each score: {values.shape} scores, {len(species)} species.")
    if not np.isfinite(values).all():
        raise ValueError("scores hold values that are not finite; count them as non-responses before.")
    kinds = np.array(species)
    accepted = values >= threshold
    apcer = {
        kind: Rate(int(accepted[kinds == kind].sum()), int((kinds == kind).sum()))
        for kind in sorted(set(species) - {BONA_FIDE})
    }
    bona_fide = kinds == BONA_FIDE
    return Report(threshold, apcer, Rate(int((~accepted[bona_fide]).sum()), int(bona_fide.sum())))


def auc(scores: ArrayLike, labels: ArrayLike) -> float:
    """Area under the ROC curve: the chance that a bona fide score beats an attack's, ties counting half."""
    values, live = np.asarray(scores, np.float64), np.asarray(labels) == 1
    positives, negatives = int(live.sum()), int((~live).sum())
    if not positives or not negatives:
        return math.nan
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    # Mean rank of each group of equal scores (1-based).
    ranks = np.cumsum(counts) - (counts - 1) / 2
    return float((ranks[inverse][live].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def clopper_pearson(errors: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Two-sided exact interval of a binomial proportion; (0, 1) without trials.

    Each end is where the binomial tail equals half the error level, found by bisection on the exact tail, so
    that serving and calibrating need no SciPy.
    """
    if not 0 <= errors <= trials:
        raise ValueError(f"0 <= errors <= trials must hold, not {errors} of {trials}.")
    if trials == 0:
        return 0.0, 1.0
    alpha = (1 - confidence) / 2
    low = 0.0 if errors == 0 else _solve(lambda p: 1 - _binomial_cdf(errors - 1, trials, p), alpha)
    high = 1.0 if errors == trials else _solve(lambda p: -_binomial_cdf(errors, trials, p), -alpha)
    return low, high


def _binomial_cdf(k: int, n: int, p: float) -> float:
    """P(X <= k) for X ~ Binomial(n, p), 0 < p < 1, summed in logarithms."""
    i = np.arange(k + 1, dtype=np.float64)
    log_factorials = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n + 1)))])
    logs = log_factorials[n] - log_factorials[: k + 1] - log_factorials[n - np.arange(k + 1)]
    logs += i * math.log(p) + (n - i) * math.log1p(-p)
    peak = float(logs.max())
    return min(1.0, math.exp(peak) * float(np.exp(logs - peak).sum()))


def _solve(increasing: object, target: float) -> float:
    """Where a function that grows on (0, 1) takes ``target``."""
    assert callable(increasing)
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if increasing(middle) < target:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def threshold_for_bpcer(bona_fide_scores: ArrayLike, bpcer: float) -> float:
    """The highest threshold at which at most ``bpcer`` of these bona fide presentations are refused."""
    values = np.sort(np.asarray(bona_fide_scores, np.float64))
    if not len(values):
        raise ValueError("no bona fide scores: a threshold cannot be set.")
    return float(values[min(math.floor(bpcer * len(values) + 1e-9), len(values) - 1)])


def threshold_for_apcer(scores: ArrayLike, species: Sequence[str], apcer: float) -> float:
    """The lowest threshold at which no species is accepted more often than ``apcer`` in this sample."""
    values, kinds = np.asarray(scores, np.float64), np.array(species)
    thresholds = []
    for kind in set(species) - {BONA_FIDE}:
        ordered = np.sort(values[kinds == kind])[::-1]
        allowed = math.floor(apcer * len(ordered) + 1e-9)
        # Just above the first score that must not pass.
        thresholds.append(
            float(np.nextafter(ordered[min(allowed, len(ordered) - 1)], 2.0)) if allowed < len(ordered) else 0.0
        )
    if not thresholds:
        raise ValueError("no attack scores: a threshold cannot be set.")
    return max(thresholds)
