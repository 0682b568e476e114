"""The decision threshold, and the data it was set on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """A decision threshold with the data, target and confidence used to set it.

    Scores of at least ``threshold`` are ``live``, scores below ``band_low`` are ``spoof``, and scores in between are
    ``uncertain``. The uncertainty band lies below the threshold, so a wider band never turns a score into ``live``.
    """

    name: str
    threshold: float
    band_low: float
    target: str
    measured_on: str

    def __post_init__(self) -> None:
        if not 0 <= self.band_low <= self.threshold <= 1 or self.threshold == 0:
            raise ValueError(
                f"operating point {self.name!r} has band_low={self.band_low} and threshold={self.threshold}; "
                "0 <= band_low <= threshold <= 1 and threshold > 0 must hold."
            )
