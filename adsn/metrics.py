"""ISO/IEC 30107-3 metrics over presentations, with confidence intervals. Does not need torch, because calibration uses
it too.

SciPy is imported only when intervals and AUC are computed, so that ``--help`` of a command needs no extra.

Formulae: ISO/IEC 30107-3:2023 clauses on attack presentation and bona fide presentation classification. Interval:
Clopper and Pearson, Biometrika 26 (1934).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from runtime.core.species import BONA_FIDE


@dataclass(frozen=True, slots=True)
class Rate:
    """Errors among trials, with the two-sided 95 % Clopper-Pearson interval."""

    errors: int
    trials: int

    @property
    def value(self) -> float:
        """Fraction of errors. NaN without trials, so that it is neither above nor below any limit."""
        return self.errors / self.trials if self.trials else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        return clopper_pearson(self.errors, self.trials)

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.value:.2%} ({self.errors}/{self.trials}, 95 %: {low:.2%} to {high:.2%})"


@dataclass(frozen=True, slots=True)
class Report:
    """Error rates at one threshold. `worst` is the headline: the species that is accepted most often.

    A presentation without a score is a non-response. It counts in ``apnrr`` or ``bpnrr``, but not as a classification
    error, because nothing was classified. A non-response never opens anything.
    """

    threshold: float
    apcer: dict[str, Rate]
    bpcer: Rate
    apnrr: dict[str, Rate]
    bpnrr: Rate

    @property
    def worst(self) -> tuple[str, Rate]:
        """The species with the highest APCER, among those with at least one score, and its APCER."""
        scored = [item for item in self.apcer.items() if item[1].trials]
        return max(scored, key=lambda item: (item[1].value, item[0]), default=("", Rate(0, 0)))

    @property
    def acer(self) -> float:
        """Mean of BPCER and the APCER of the worst species. Not a measure of ISO/IEC 30107-3; for comparison with
        papers."""
        return (self.worst[1].value + self.bpcer.value) / 2


def presentation_scores(
    scores: ArrayLike, species: Sequence[str], presentations: Sequence[str]
) -> tuple[NDArray[np.float64], list[str]]:
    """Return the mean score of each presentation, in order of first appearance, with its species.

    Frames without a score (NaN) do not count. A presentation without any score gets NaN, a non-response.
    """
    sums: dict[tuple[str, str], list[float]] = {}
    for score, species_name, presentation in zip(
        np.asarray(scores, np.float64).tolist(), species, presentations, strict=True
    ):
        sums.setdefault((species_name, presentation), []).append(score)
    means = []
    for frames in sums.values():
        answered = [score for score in frames if not math.isnan(score)]
        means.append(sum(answered) / len(answered) if answered else math.nan)
    return np.array(means), [species_name for species_name, _ in sums]


def rates(scores: ArrayLike, species: Sequence[str], threshold: float) -> Report:
    """Return the APCER of each species and the BPCER at ``threshold``.

    ``scores``: one per presentation, NaN for a non-response. Live means score >= threshold.

    Raises:
        ValueError: the number of species differs from the number of scores, or a score is infinite.
    """
    values = np.asarray(scores, np.float64)
    if values.shape != (len(species),):
        raise ValueError(f"one species for each score: {values.shape} scores, {len(species)} species.")
    if np.isinf(values).any():
        raise ValueError("scores hold infinite values; a non-response is NaN.")
    species_array, silent = np.array(species), np.isnan(values)
    accepted = values >= threshold
    apcer, nrr = {}, {}
    for species_name in sorted(set(species) | {BONA_FIDE}):
        own = species_array == species_name
        answered = own & ~silent
        wrong = answered & (~accepted if species_name == BONA_FIDE else accepted)
        apcer[species_name] = Rate(int(wrong.sum()), int(answered.sum()))
        nrr[species_name] = Rate(int((own & silent).sum()), int(own.sum()))
    bpcer, bpnrr = apcer.pop(BONA_FIDE), nrr.pop(BONA_FIDE)
    return Report(threshold, apcer, bpcer, nrr, bpnrr)


def auc(scores: ArrayLike, labels: ArrayLike) -> float:
    """Return the area under the ROC curve.

    This is the probability that a bona fide score is higher than an attack score; ties count half. NaN without bona
    fide or without attack scores.
    """
    from scipy.stats import rankdata

    values, live = np.asarray(scores, np.float64), np.asarray(labels) == 1
    positives, negatives = int(live.sum()), int((~live).sum())
    if not positives or not negatives:
        return math.nan
    # This is the Mann-Whitney U divided by its maximum.
    return float((rankdata(values)[live].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def clopper_pearson(errors: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the two-sided exact interval of a binomial proportion, or (0, 1) without trials."""
    from scipy.special import betaincinv  # quantile of a beta distribution, like scipy.stats.beta.ppf

    if not 0 <= errors <= trials:
        raise ValueError(f"0 <= errors <= trials must hold, not {errors} of {trials}.")
    alpha = (1 - confidence) / 2
    low = float(betaincinv(errors, trials - errors + 1, alpha)) if errors else 0.0
    high = float(betaincinv(errors + 1, trials - errors, 1 - alpha)) if errors < trials else 1.0
    return low, high


def threshold_for_bpcer(bona_fide_scores: ArrayLike, bpcer: float) -> float:
    """Return the highest threshold at which at most ``bpcer`` of these bona fide presentations are refused."""
    values = np.sort(np.asarray(bona_fide_scores, np.float64))
    if not len(values):
        raise ValueError("no bona fide scores: a threshold cannot be set.")
    return float(values[min(math.floor(bpcer * len(values) + 1e-9), len(values) - 1)])


def threshold_for_apcer(scores: ArrayLike, species: Sequence[str], apcer: float) -> float:
    """Return the lowest threshold at which no species is accepted more often than ``apcer`` in this sample."""
    values, species_array = np.asarray(scores, np.float64), np.array(species)
    thresholds = []
    for species_name in set(species) - {BONA_FIDE}:
        ordered = np.sort(values[species_array == species_name])[::-1]
        allowed = math.floor(apcer * len(ordered) + 1e-9)
        # Just above the highest score that must be refused.
        thresholds.append(
            float(np.nextafter(ordered[min(allowed, len(ordered) - 1)], 2.0)) if allowed < len(ordered) else 0.0
        )
    if not thresholds:
        raise ValueError("no attack scores: a threshold cannot be set.")
    return max(thresholds)


def bpcer_at_apcer(scores: ArrayLike, species: Sequence[str], apcer: float) -> tuple[float, Rate]:
    """Return the threshold at which the APCER of every species is at most ``apcer``, and the BPCER at that threshold.

    For 0.10, 0.05 and 0.01 this BPCER is called BPCER10, BPCER20 and BPCER100.
    """
    values, species_array = _answered(scores, species)
    threshold = threshold_for_apcer(values, species_array, apcer)
    return threshold, rates(values, species_array, threshold).bpcer


def apcer_at_bpcer(scores: ArrayLike, species: Sequence[str], bpcer: float) -> tuple[float, str, Rate]:
    """Return the strictest threshold with at most this BPCER, and the name and APCER of the worst species there."""
    values, species_array = _answered(scores, species)
    threshold = threshold_for_bpcer(values[np.array(species_array) == BONA_FIDE], bpcer)
    return threshold, *rates(values, species_array, threshold).worst


def detection_eer(scores: ArrayLike, species: Sequence[str]) -> float:
    """Return the D-EER: the mean of BPCER and worst APCER at the threshold where they differ least."""
    values, species_array = _answered(scores, species)
    best = (math.inf, math.nan)
    for threshold in np.append(np.unique(values), np.nextafter(values.max(), 2.0)):
        report = rates(values, species_array, float(threshold))
        a, b = report.worst[1].value, report.bpcer.value
        best = min(best, (abs(a - b), (a + b) / 2))
    return best[1]


def _answered(scores: ArrayLike, species: Sequence[str]) -> tuple[NDArray[np.float64], list[str]]:
    """Return scores and species without non-responses, to which no threshold applies."""
    values = np.asarray(scores, np.float64)
    kept = ~np.isnan(values)
    return values[kept], [species_name for species_name, keep in zip(species, kept.tolist(), strict=True) if keep]


Statistic = Callable[[NDArray[np.float64], list[str]], float]


def subject_bootstrap(
    scores: ArrayLike,
    species: Sequence[str],
    subjects: Sequence[str],
    statistic: Statistic,
    *,
    rounds: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
) -> tuple[float, float]:
    """Return the percentile interval of ``statistic(scores, species)`` over resampled subjects.

    Source: Efron, Ann. Statist. 7, 1979.

    Presentations of one subject are correlated, which Clopper-Pearson intervals ignore. Resampling whole subjects keeps
    their presentations together. Rounds in which the statistic is undefined (NaN) do not count.

    Raises:
        ValueError: there are fewer than two subjects, or the statistic is never defined.
    """
    values, species_array, owners = np.asarray(scores, np.float64), np.array(species), np.array(subjects)
    names = np.unique(owners)
    if len(names) < 2:
        raise ValueError("a bootstrap over subjects needs two subjects or more.")
    members = [np.flatnonzero(owners == name) for name in names]
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(rounds):
        drawn = np.concatenate([members[i] for i in rng.integers(0, len(names), len(names))])
        found.append(statistic(values[drawn], species_array[drawn].tolist()))
    defined = np.array(found)[~np.isnan(found)]
    if not len(defined):
        raise ValueError("the statistic is not defined on any resample.")
    low, high = np.quantile(defined, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)
