"""The result of one quality gate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Check:
    """Result of one gate. ``low``/``high``: accepted range, None where open. ``reason``: the code if the gate fails.

    ``value`` is None when nothing could be measured. The status is then ``unknown``: neither a pass nor a failure.
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
        # NaN must fail: with an open range the comparisons alone would let it pass.
        return "pass" if inside and self.value == self.value else "fail"
