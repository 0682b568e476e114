"""How things are timed here: alternately and often, on one machine, in one run.

A processor's clock wanders and neighbours come and go. Two things are therefore never timed one after the other but in
turns, so that what disturbs one disturbs the other, and it is the ratio that is compared with a budget.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One measured thing. ``limit``: what it should be, in words; ``met``: whether it is, None where there is none."""

    what: str
    value: str
    limit: str = ""
    met: bool | None = None
    note: str = ""


def in_turns(functions: Mapping[str, Callable[[], object]], rounds: int, rest_s: float = 0.0) -> dict[str, list[float]]:
    """Milliseconds of every call: each function once per round, the order turned round by one each time.

    ``rest_s``: pause before each call, so that a thread pool which still spins from the last does not count.
    """
    names = list(functions)
    times: dict[str, list[float]] = {name: [] for name in names}
    for function in functions.values():
        for _ in range(5):
            function()
    for number in range(rounds):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
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
    """Median and 99th percentile, in words."""
    return f"{median(values):.2f} ms median, {p99(values):.2f} ms p99"
