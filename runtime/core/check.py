"""The result of one quality gate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Check:
    """One gate's finding. ``low``/``high``: the accepted range, None where open. ``reason``: code when it fails.

    ``value`` is None where nothing could be measured: such a check is ``unknown``, which is no pass of what it would
    have measured, and no failure.
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
        # A NaN is inside no range: the comparisons above are False, so it fails.
        return "pass" if inside and self.value == self.value else "fail"
