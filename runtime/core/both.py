"""Two independent calls, at the same time where a core is free for the second."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

Aside = TypeVar("Aside")
Here = TypeVar("Here")


class Both(Protocol):
    """Run two independent calls and return both results; raise what either raised."""

    def __call__(self, aside: Callable[[], Aside], here: Callable[[], Here], /) -> tuple[Aside, Here]: ...


def one_by_one(aside: Callable[[], Aside], here: Callable[[], Here]) -> tuple[Aside, Here]:
    """`Both` in one thread."""
    return aside(), here()
