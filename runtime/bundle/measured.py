"""Find the attack species that, according to the manifest of a bundle, were accepted too often."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from runtime.bundle.manifest import Manifest, RateEntry

APCER_LIMIT = 0.20
"""APCER of a species above which an export is refused unless it is accepted explicitly, and above which a service
warns.

Android's compatibility definition (7.3.10) uses the same limit: a biometric with a spoof acceptance rate above 20 %
belongs to class 1, on which applications may not rely.
"""

PREFIX = "apcer."
"""Prefix of the names of APCER entries among the rates of a parity entry."""


@dataclass(frozen=True, slots=True)
class MeasuredApcer:
    """Measured APCER of one attack species on one data set, as accepted and all presentations."""

    species: str
    errors: int
    trials: int
    data: str

    @property
    def rate(self) -> float:
        """Fraction of presentations that were accepted; 0 without presentations."""
        return self.errors / self.trials if self.trials else 0.0

    def __str__(self) -> str:
        return f"{self.species} {self.rate:.1%} ({self.errors} of {self.trials}, {self.data})"


def apcer_over_limit(manifest: Manifest, precision: Literal["fp32", "int8"]) -> list[MeasuredApcer]:
    """Return the species that got through more often than `APCER_LIMIT`, each with its highest rate, worst first.

    The rates are those on the development set at the default operating point, and those on the test sets of the export,
    measured as served.
    """
    worst: dict[str, MeasuredApcer] = {}
    for found in _measured(manifest, precision):
        if found.rate > APCER_LIMIT and (found.species not in worst or found.rate > worst[found.species].rate):
            worst[found.species] = found
    return sorted(worst.values(), key=lambda found: (-found.rate, found.species))


def apcer_warning(found: Iterable[MeasuredApcer]) -> str:
    """Return a one-sentence warning about the species from `apcer_over_limit`, or an empty string."""
    named = ", ".join(map(str, found))
    return f"lets attacks through: APCER above {APCER_LIMIT:.0%} for {named}." if named else ""


def _measured(manifest: Manifest, precision: Literal["fp32", "int8"]) -> Iterable[MeasuredApcer]:
    for point in manifest.operating_points:
        if point.name == "default":
            yield from _species(point.apcer, point.measured_on)
    for parity in manifest.parity:
        if parity.execution == "served":
            rates = parity.fp32 if precision == "fp32" else parity.int8
            species = {name.removeprefix(PREFIX): rate for name, rate in rates.items() if name.startswith(PREFIX)}
            yield from _species(species, parity.data)


def _species(rates: Mapping[str, RateEntry], data: str) -> Iterable[MeasuredApcer]:
    return (MeasuredApcer(species, rate.errors, rate.trials, data) for species, rate in rates.items())
