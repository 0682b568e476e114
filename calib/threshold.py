"""The operating point, set on development scores only.

There are two rules. For a BPCER target, choose the highest (strictest) threshold that rejects at most that fraction of
the bona fide presentations. For an APCER target, choose the lowest threshold at which no species is accepted more often
than the target. The other rate is then measured. The ``uncertain`` band extends from the threshold down to a score
below which there is almost no bona fide presentation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from adsn.metrics import Rate, rates, threshold_for_apcer, threshold_for_bpcer
from runtime.bundle.manifest import OperatingPointEntry, RateEntry
from runtime.core.errors import InputError
from runtime.core.species import BONA_FIDE, require_distinct, require_species


class SampleTooSmall(InputError):
    """There are too few presentations to set a threshold for the target."""

    code = "sample_too_small"


def presentations_needed(rate: float) -> int:
    """Return the smallest number of presentations for a target of ``rate``: 3 / ``rate``, the rule of three.

    In a sample of that size, three errors are expected at the target rate.
    """
    return math.ceil(3 / rate)


def require_presentations(counts: Mapping[str, int], target: float, words: str) -> None:
    """Check that there are enough presentations of each species to measure an error rate of ``target``. ``words``: the
    target as text.

    Raises:
        SampleTooSmall: a species has fewer than `presentations_needed`.
    """
    needed = presentations_needed(target)
    short = [f"{count} of {species_name}" for species_name, count in counts.items() if count < needed]
    if short:
        raise SampleTooSmall(
            f"{words} needs at least {needed} presentations of each species, but the sample has "
            f"{', '.join(short)}. Record more, or choose a larger target."
        )


def rate_entry(rate: Rate) -> RateEntry:
    """Return a rate as a manifest entry."""
    low, high = rate.interval
    return RateEntry(errors=rate.errors, trials=rate.trials, interval=(round(low, 6), round(high, 6)))


def _by_source(
    values: NDArray[np.float64], chosen: NDArray[np.bool_], sources: Sequence[str] | None
) -> dict[str, NDArray[np.float64]]:
    """Return the ``chosen`` scores of each source. Without ``sources``, return all of them as one entry.

    The keys are texts for messages.
    """
    if sources is None:
        return {BONA_FIDE: values[chosen]}
    where = np.array(sources)
    return {f"{BONA_FIDE} in {source}": values[chosen & (where == source)] for source in np.unique(where)}


def operating_point(
    scores: ArrayLike,
    species: Sequence[str],
    *,
    measured_on: str,
    max_bpcer: float = 0.01,
    max_apcer: float | None = None,
    band_bpcer: float = 0.002,
    sources: Sequence[str] | None = None,
) -> OperatingPointEntry:
    """Set the operating point on development scores, one per presentation. NaN, which means a non-response, is ignored.

    ``max_apcer``: target for every species; replaces ``max_bpcer``. ``sources``: source of each presentation. If given,
    a BPCER target must hold for every source, so that a large easy source cannot hide a small difficult one.

    Raises:
        SampleTooSmall: there are too few presentations. The message says how many, and of which species, the target
            needs.
        SpeciesInvalid: a species looks like a misspelt ``bona_fide``.
    """
    for species_name in set(species):
        require_species(species_name)
    require_distinct(species)
    values, species_array = np.asarray(scores, np.float64), np.array(species)
    answered = ~np.isnan(values)
    bona_fide = values[answered & (species_array == BONA_FIDE)]
    if max_apcer is None:
        parts = _by_source(values, answered & (species_array == BONA_FIDE), sources)
        counts = {source: len(part) for source, part in parts.items()}
        require_presentations(counts, max_bpcer, f"the target BPCER <= {max_bpcer:.1%}")
        # The lowest threshold of all sources meets the target on every source. It is not rounded, because scores are
        # compared with exactly this value.
        threshold = min(threshold_for_bpcer(part, max_bpcer) for part in parts.values())
        target = f"the strictest threshold with BPCER <= {max_bpcer:.1%}"
        target += " on each development set" if len(parts) > 1 else ""
    else:
        counts = {
            species_name: int((answered & (species_array == species_name)).sum())
            for species_name in sorted(set(species) - {BONA_FIDE})
        }
        if not counts:
            raise SampleTooSmall("an APCER target needs attack presentations, but the sample has none.")
        require_presentations(counts, max_apcer, f"the target APCER <= {max_apcer:.1%}")
        require_presentations({BONA_FIDE: len(bona_fide)}, 1.0, "a threshold and its BPCER")
        threshold = threshold_for_apcer(values[answered], species_array[answered].tolist(), max_apcer)
        target = f"the lowest threshold with APCER <= {max_apcer:.1%} for every species"
    band_low = min(threshold, threshold_for_bpcer(bona_fide, band_bpcer))
    report = rates(values, species, threshold)
    return OperatingPointEntry(
        name="default",
        threshold=threshold,
        band_low=band_low,
        target=target,
        measured_on=measured_on,
        apcer={species_name: rate_entry(rate) for species_name, rate in report.apcer.items()},
        bpcer=rate_entry(report.bpcer),
    )
