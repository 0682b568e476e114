"""Measure times: in alternation, repeatedly, on one machine, in one run.

The clock rate of a CPU varies, and so does other load. Two things are therefore timed in alternation and not one after
the other, so that a disturbance affects both. Their ratio is compared with a budget.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One measured value. ``limit``: target as text. ``met``: whether the target is reached, None without a target."""

    what: str
    value: str
    limit: str = ""
    met: bool | None = None
    note: str = ""


def in_turns(functions: Mapping[str, Callable[[], object]], rounds: int, rest_s: float = 0.0) -> dict[str, list[float]]:
    """Return the milliseconds of every call. Each function is called once per round, in random order.

    In a fixed order, each function would always find the caches as the same other function left them.

    ``rest_s``: pause in seconds before each call, so that threads still spinning after the last call do not affect it.
    """
    names, draw = list(functions), random.Random(0)
    times: dict[str, list[float]] = {name: [] for name in names}
    for function in functions.values():
        for _ in range(5):
            function()
    for _ in range(rounds):
        for name in draw.sample(names, len(names)):
            if rest_s:
                time.sleep(rest_s)
            began = time.perf_counter_ns()
            functions[name]()
            times[name].append((time.perf_counter_ns() - began) / 1e6)
    return times


def median(values: list[float]) -> float:
    return statistics.median(values)


def p99(values: list[float]) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[98]


def spread(values: list[float]) -> str:
    """Return median and 99th percentile as text."""
    return f"{median(values):.2f} ms median, {p99(values):.2f} ms p99"
