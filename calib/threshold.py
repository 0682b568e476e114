"""The operating point: set on a development sample, before any test set is scored.

The rule: the highest threshold that refuses at most a given share of the bona fide presentations. It is the
strictest door that target allows; what gets through is then measured, not assumed. Below it lies a band of
``uncertain``, down to where almost no bona fide presentation scored.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from numpy.typing import ArrayLike

from adsn.metrics import BONA_FIDE, Rate, rates, threshold_for_bpcer
from runtime.bundle import OperatingPointEntry, RateEntry
from runtime.errors import InputError


class SampleTooSmall(InputError):
    """Too few presentations to set a threshold for the target."""

    code = "sample_too_small"


def presentations_needed(rate: float) -> int:
    """How many presentations a target of ``rate`` needs at least: three errors' worth (the rule of three, with the
    error count that a sample of that size is expected to show at the target)."""
    return math.ceil(3 / rate)


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
    band_bpcer: float = 0.002,
    name: str = "default",
) -> OperatingPointEntry:
    """Set the threshold on development scores, one a presentation.

    Raises:
        SampleTooSmall: says how many bona fide presentations the target needs.
    """
    import numpy as np

    values = np.asarray(scores, np.float64)
    bona_fide = values[np.array(species) == BONA_FIDE]
    needed = presentations_needed(max_bpcer)
    if len(bona_fide) < needed:
        raise SampleTooSmall(
            f"a target of BPCER <= {max_bpcer:.1%} needs at least {needed} bona fide presentations; the sample has "
            f"{len(bona_fide)}. Record more, or choose a larger target."
        )
    # float32 scores: the threshold is stored as the value it will be compared with.
    threshold = threshold_for_bpcer(bona_fide, max_bpcer)
    band_low = min(threshold, threshold_for_bpcer(bona_fide, band_bpcer))
    report = rates(values, species, threshold)
    return OperatingPointEntry(
        name=name,
        threshold=threshold,
        band_low=band_low,
        target=f"the strictest threshold with BPCER <= {max_bpcer:.1%}",
        measured_on=measured_on,
        apcer={kind: rate_entry(rate) for kind, rate in report.apcer.items()},
        bpcer=rate_entry(report.bpcer),
    )
