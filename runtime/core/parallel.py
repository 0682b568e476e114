"""Two independent calls, run in parallel if a core is free."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

FirstResult = TypeVar("FirstResult")
SecondResult = TypeVar("SecondResult")


class ParallelRunner(Protocol):
    """Function that runs two independent calls and returns both results. An exception from either call is raised."""

    def __call__(
        self, first: Callable[[], FirstResult], second: Callable[[], SecondResult], /
    ) -> tuple[FirstResult, SecondResult]: ...


def run_sequentially(
    first: Callable[[], FirstResult], second: Callable[[], SecondResult]
) -> tuple[FirstResult, SecondResult]:
    """Run both calls in this thread; see `ParallelRunner`."""
    return first(), second()
