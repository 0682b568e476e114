"""Events for tests, and a clock that tests advance."""

from __future__ import annotations

from runtime.core.units import SECOND
from runtime.liveness.decision import Decision
from service.outputs.base import Event, EventKind, boottime_ns, utc_now


class Clock:
    """A clock that stands still until a test advances it."""

    def __init__(self) -> None:
        self.now = 1000 * SECOND

    def __call__(self) -> int:
        return self.now


def decision(name: str = "s1", made: Decision = "live", *, left_s: float = 2.0, now: int | None = None) -> Event:
    """Return a decision that stays valid for another ``left_s`` seconds after ``now``."""
    at = boottime_ns() if now is None else now
    reasons = () if made == "live" else ("fused_spoof",)
    return Event("decision", name, 7, utc_now(), {"door": "d1"}, made, reasons, at + int(left_s * SECOND))


def other(kind: EventKind = "state", name: str = "e1") -> Event:
    return Event(kind, name, 7, utc_now(), {"state": "face"})
