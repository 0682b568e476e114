"""The operating point: set on a development sample, before any test set is scored.

Two rules, one of which is chosen. For a BPCER target, the highest threshold that refuses at most that share of the bona
fide presentations: the strictest door that the target allows. For an APCER target, the lowest threshold at which no
species gets through more often than that. What the other rate then is, is measured, not assumed. Below the threshold
lies a band of ``uncertain``, down to where almost no bona fide presentation scored.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from adsn.metrics import Rate, rates, threshold_for_apcer, threshold_for_bpcer
from runtime.bundle.manifest import OperatingPointEntry, RateEntry
from runtime.core.errors import InputError
from runtime.core.species import BONA_FIDE, require_distinct, require_species


class SampleTooSmall(InputError):
    """Too few presentations to set a threshold for the target."""

    code = "sample_too_small"


def presentations_needed(rate: float) -> int:
    """How many presentations a target of ``rate`` needs at least: three errors' worth (the rule of three, with the
    error count that a sample of that size is expected to show at the target)."""
    return math.ceil(3 / rate)


def require_presentations(counts: Mapping[str, int], target: float, words: str) -> None:
    """Refuse a sample that cannot show ``target``: fewer presentations of something than three errors need."""
    needed = presentations_needed(target)
    short = [f"{count} of {species_name}" for species_name, count in counts.items() if count < needed]
    if short:
        raise SampleTooSmall(
            f"a target of {words} needs at least {needed} presentations of each kind it counts; the sample has "
            f"{', '.join(short)}. Record more, or choose a larger target."
        )


def rate_entry(rate: Rate) -> RateEntry:
    """A rate for the manifest."""
    low, high = rate.interval
    return RateEntry(errors=rate.errors, trials=rate.trials, interval=(round(low, 6), round(high, 6)))


def operating_point(
    scores: ArrayLike,
    species: Sequence[str],
    *,
    measured_on: str,
    max_bpcer: float = 0.01,
    max_apcer: float | None = None,
    band_bpcer: float = 0.002,
    name: str = "default",
    sources: Sequence[str] | None = None,
) -> OperatingPointEntry:
    """Set the threshold on development scores, one a presentation; NaN, a non-response, sets nothing.

    ``max_apcer``: the target for every species; when it is given, ``max_bpcer`` is none. ``sources``: where each
    presentation comes from. A BPCER target then holds for every source, so that a large easy one cannot hide a small
    hard one.

    Raises:
        SampleTooSmall: says how many presentations, and of what, the target needs.
        SpeciesInvalid: a species looks like a misspelt ``bona_fide``.
    """
    for species_name in set(species):
        require_species(species_name)
    require_distinct(species)
    values, species_array = np.asarray(scores, np.float64), np.array(species)
    answered = ~np.isnan(values)
    bona_fide = values[answered & (species_array == BONA_FIDE)]
    if max_apcer is None:
        source_array = np.array(sources if sources is not None else [BONA_FIDE] * len(values))
        parts = {
            str(source): values[answered & (species_array == BONA_FIDE) & (source_array == source)]
            for source in np.unique(source_array)
        }
        words = {source: BONA_FIDE if sources is None else f"{BONA_FIDE} in {source}" for source in parts}
        counts = {words[source]: len(part) for source, part in parts.items()}
        require_presentations(counts, max_bpcer, f"BPCER <= {max_bpcer:.1%}")
        # float32 scores: the threshold is stored as the value it will be compared with.
        threshold = min(threshold_for_bpcer(part, max_bpcer) for part in parts.values())
        target = f"the strictest threshold with BPCER <= {max_bpcer:.1%}"
        target += " on each of them" if len(parts) > 1 else ""
    else:
        counts = {
            species_name: int((answered & (species_array == species_name)).sum())
            for species_name in sorted(set(species) - {BONA_FIDE})
        }
        if not counts:
            raise SampleTooSmall("a target of APCER needs attack presentations; the sample has none.")
        require_presentations(counts, max_apcer, f"APCER <= {max_apcer:.1%}")
        require_presentations({BONA_FIDE: len(bona_fide)}, 1.0, "a threshold and its BPCER")
        threshold = threshold_for_apcer(values[answered], species_array[answered].tolist(), max_apcer)
        target = f"the lowest threshold with APCER <= {max_apcer:.1%} for every species"
    band_low = min(threshold, threshold_for_bpcer(bona_fide, band_bpcer))
    report = rates(values, species, threshold)
    return OperatingPointEntry(
        name=name,
        threshold=threshold,
        band_low=band_low,
        target=target,
        measured_on=measured_on,
        apcer={species_name: rate_entry(rate) for species_name, rate in report.apcer.items()},
        bpcer=rate_entry(report.bpcer),
    )
