"""Curves of a robustness test: error rates and median scores at each step of each sweep, and the worst step."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from adsn.evaluation.evaluate import rate_json
from adsn.metrics import Rate, Report
from runtime.core.species import BONA_FIDE


@dataclass(frozen=True, slots=True)
class Point:
    """One step of a sweep. ``medians``: species → median score of its presentations, NaN if none has a score."""

    label: str
    value: float
    report: Report
    medians: Mapping[str, float]

    @property
    def error(self) -> float:
        """The larger of the worst species' APCER and BPCER, 0 to 1."""
        found = [rate.value for rate in (self.report.worst[1], self.report.bpcer) if rate.trials]
        return max(found, default=0.0)

    @property
    def worst_species(self) -> str:
        """Species with the highest APCER; empty if no attack was accepted."""
        name, rate = self.report.worst
        return name if rate.errors else ""

    @property
    def medians_hold(self) -> bool:
        """Whether the median bona fide score is accepted and the median score of every attack species is refused."""
        threshold = self.report.threshold
        return all(
            (median >= threshold) == (species == BONA_FIDE)
            for species, median in self.medians.items()
            if not math.isnan(median)
        )


@dataclass(frozen=True, slots=True)
class Curve:
    """The steps of a sweep in order. ``neutral``: index of the step that changes nothing."""

    key: str
    title: str
    neutral: int
    points: tuple[Point, ...]

    @property
    def worst(self) -> Point:
        """The step whose error rate has the highest lower interval limit; on a tie, the one with the lowest bona fide
        median."""
        return max(self.points, key=_severity)

    @property
    def holds(self) -> tuple[Point, Point] | None:
        """First and last step of the range around the neutral step in which `Point.medians_hold` is true.

        None if it is false at the neutral step.
        """
        low = high = self.neutral
        if not self.points[self.neutral].medians_hold:
            return None
        while low > 0 and self.points[low - 1].medians_hold:
            low -= 1
        while high < len(self.points) - 1 and self.points[high + 1].medians_hold:
            high += 1
        return self.points[low], self.points[high]

    @property
    def holds_everywhere(self) -> bool:
        """Whether `Point.medians_hold` is true at every step."""
        return all(point.medians_hold for point in self.points)

    @property
    def holds_words(self) -> str:
        """Return a text with the range in which the medians hold."""
        if self.holds_everywhere:
            return "everywhere"
        found = self.holds
        return "nowhere" if found is None else f"{found[0].label} to {found[1].label}"


@dataclass(frozen=True, slots=True)
class Robustness:
    """Curves of one data set.

    ``presentations``: species → number drawn. ``pairs``: number of pairs. ``with_pictures``: number of pairs that were
    changed before the crop was cut. ``left_out``: titles of sweeps left out because they need full images that do not
    exist.
    """

    name: str
    threshold: float
    pairs: int
    with_pictures: int
    presentations: Mapping[str, int]
    curves: tuple[Curve, ...]
    left_out: tuple[str, ...]

    @property
    def worst(self) -> tuple[Curve, Point]:
        """The worst step of all sweeps, which is the headline."""
        return max(((curve, curve.worst) for curve in self.curves), key=lambda found: _severity(found[1]))

    @property
    def unchanged(self) -> Point:
        """The step that changes nothing, over all pairs."""
        return self.curves[0].points[self.curves[0].neutral]


def _severity(point: Point) -> tuple[float, float, float]:
    """Return a sort key for the severity of a step.

    The first criterion is the lower limit of the interval of the error rate, because one error in one presentation is
    less severe than 90 errors in 100. The others are the error rate itself and a low bona fide median.
    """
    rates = [rate for rate in (point.report.bpcer, *point.report.apcer.values()) if rate.trials]
    sure = max((rate.interval[0] for rate in rates), default=0.0)
    median = point.medians.get(BONA_FIDE, math.nan)
    return sure, point.error, -1.0 if math.isnan(median) else -median


def robustness_json(found: Robustness) -> dict[str, Any]:
    """Return all curves as JSON values."""
    curve, worst = found.worst
    return {
        "pairs": found.pairs,
        "pairs_changed_before_the_crop": found.with_pictures,
        "presentations": dict(found.presentations),
        "threshold": found.threshold,
        "unchanged": _point_json(found.unchanged),
        "worst": {"sweep": curve.key, "step": worst.label, **_point_json(worst)},
        "sweeps": [
            {"sweep": c.key, "title": c.title, "neutral": c.points[c.neutral].label}
            | {"points": [{"step": p.label, **_point_json(p)} for p in c.points]}
            for c in found.curves
        ],
        "left_out": list(found.left_out),
    }


def _point_json(point: Point) -> dict[str, Any]:
    report = point.report
    return {
        "value": point.value,
        "median_score": {name: None if math.isnan(m) else round(m, 6) for name, m in point.medians.items()},
        "apcer": {name: rate_json(rate) for name, rate in report.apcer.items()},
        "worst_species": point.worst_species,
        "bpcer": rate_json(report.bpcer),
        "no_face": no_face(point).errors,
    }


def no_face(point: Point) -> Rate:
    """Return the rate of presentations, of all classes, without a score because no face was found."""
    silent = [point.report.bpnrr, *point.report.apnrr.values()]
    return Rate(sum(rate.errors for rate in silent), sum(rate.trials for rate in silent))
