"""The threshold that decides, with the data it was set by."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """A threshold with the data, target and confidence it was set by.

    ``threshold``: a pair is live when its score is at or above it. ``band_low``: below it a pair is a spoof;
    from there up to the threshold the answer is ``uncertain``. The band lies below the threshold only, so
    widening it never turns anything into ``live``.
    """

    name: str
    threshold: float
    band_low: float
    target: str
    measured_on: str

    def __post_init__(self) -> None:
        if not 0 <= self.band_low <= self.threshold <= 1 or self.threshold == 0:
            raise ValueError(
                f"operating point {self.name!r}: 0 <= band_low <= threshold <= 1 and threshold > 0 must hold, "
                f"not band_low={self.band_low} threshold={self.threshold}."
            )
