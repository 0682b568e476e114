"""The result of one quality gate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Check:
    """Result of one quality gate.

    ``value``: measured value; None if it could not be measured, and then the status is ``unknown``, which is neither a
    pass nor a failure. ``low``, ``high``: accepted range, None for no limit. ``reason``: reason code of a failure.
    """

    name: str
    value: float | None
    low: float | None
    high: float | None
    reason: str

    @property
    def status(self) -> Literal["pass", "fail", "unknown"]:
        if self.value is None:
            return "unknown"
        inside = (self.low is None or self.value >= self.low) and (self.high is None or self.value <= self.high)
        # NaN must fail; without a limit the comparisons alone would accept it.
        return "pass" if inside and self.value == self.value else "fail"
