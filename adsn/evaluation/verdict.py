"""Compare rates with limits, as text and in the colours of the report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from adsn.metrics import Rate, Report

State = Literal["over", "unsure", "within"]


@dataclass(frozen=True, slots=True)
class Limits:
    """Largest acceptable APCER of any species, and largest acceptable BPCER."""

    apcer: float = 0.05
    bpcer: float = 0.05

    def rates_of(self, report: Report) -> list[tuple[str, Rate, float]]:
        """Return name, rate and limit of each figure that has a limit. Classes without presentations are left out."""
        rates = [(f"APCER {name}", rate, self.apcer) for name, rate in report.apcer.items()]
        return [entry for entry in (("BPCER", report.bpcer, self.bpcer), *rates) if entry[1].trials]


@dataclass(frozen=True, slots=True)
class LimitCheck:
    """Result of the comparison. ``state``: ``over`` a limit; ``within`` all limits, including the upper end of each
    interval; ``unsure`` if only the rates themselves are within. ``words``: the same as text."""

    state: State
    words: tuple[str, ...]


def check_limits(report: Report, limits: Limits) -> LimitCheck:
    """Compare the rates of one set with the limits."""
    rates = limits.rates_of(report)
    over = [(name, rate, limit) for name, rate, limit in rates if rate.value > limit]
    if over:
        over.sort(key=lambda entry: -entry[1].value)
        return LimitCheck("over", tuple(f"{name} {rate.value:.2%} > {limit:.1%}" for name, rate, limit in over))
    open_ends = [(name, rate.interval[1], limit) for name, rate, limit in rates if rate.interval[1] > limit]
    if open_ends:
        name, high, _ = max(open_ends, key=lambda entry: entry[1])
        few = f"the upper limit of {len(open_ends)} of {len(rates)} rates is over its limit, up to {high:.2%} ({name})"
        return LimitCheck("unsure", (f"every rate is within its limit, but presentations are few: {few}",))
    return LimitCheck("within", ("every rate is within its limit, and so is the upper limit of its interval",))


HEADS: dict[State, str] = {
    "over": "Over the limits",
    "unsure": "Within the limits, but too few presentations to be sure",
    "within": "Within the limits",
}


def overall(verdicts: list[LimitCheck]) -> State:
    """Return the worst state in several verdicts."""
    order: tuple[State, ...] = ("over", "unsure", "within")
    return next(state for state in order if any(v.state == state for v in verdicts))
