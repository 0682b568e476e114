"""What is wrong at the moment, as named conditions; whether pairs can be judged follows from them.

Whoever notices something raises a condition and clears it when it has passed. The page at ``/readyz``, the metrics and
the log read the same registry, so they cannot disagree.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Annotated, Literal

from pydantic import Field
from typing_extensions import TypedDict

Severity = Literal["warning", "critical"]
"""``critical``: nothing can be decided, so the service is not ready. ``warning``: it decides; someone should look."""

Listener = Callable[["Condition", bool], None]
"""Called with a condition and whether it was raised (True) or has passed (False)."""


class ConditionView(TypedDict):
    """One thing that is wrong."""

    name: Annotated[str, Field(examples=["camera_lost"])]
    subject: Annotated[str, Field(examples=["ir"])]
    severity: Annotated[str, Field(description="`critical`: nothing can be judged.", examples=["warning"])]
    since: str
    detail: str


@dataclass(frozen=True, slots=True)
class Condition:
    """One thing that is wrong.

    ``name``: stable, for programs, e.g. ``camera_lost``. ``subject``: which one, e.g. ``ir``, empty where there is but
    one. ``since_ns``: CLOCK_MONOTONIC; ``since``: the same moment as the wall clock had it, for people.
    """

    name: str
    severity: Severity
    detail: str
    since_ns: int
    since: datetime
    subject: str = ""

    def view(self) -> ConditionView:
        """Return the condition as JSON has it."""
        return {
            "name": self.name,
            "subject": self.subject,
            "severity": self.severity,
            "since": self.since.isoformat(timespec="milliseconds"),
            "detail": self.detail,
        }


class Health:
    """The conditions of a process. Every method may be called from any thread and never waits for a listener's work."""

    def __init__(self, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._conditions: dict[tuple[str, str], Condition] = {}
        self._listeners: list[Listener] = []

    def listen(self, listener: Listener) -> None:
        """Have ``listener`` called on each change, in the thread that made it; it must be quick and must not raise."""
        self._listeners.append(listener)

    def raise_(self, name: str, severity: Severity, detail: str, subject: str = "") -> None:
        """Something is wrong. Raised again, it keeps its beginning; listeners hear of a new severity only."""
        with self._lock:
            old = self._conditions.get((name, subject))
            began = (old.since_ns, old.since) if old is not None else (self._clock(), datetime.now(timezone.utc))
            condition = Condition(name, severity, detail, *began, subject)
            self._conditions[name, subject] = condition
        if old is None or old.severity != severity:
            for listener in self._listeners:
                listener(condition, True)

    def clear(self, name: str, subject: str = "") -> None:
        """It has passed, or was not there."""
        with self._lock:
            condition = self._conditions.pop((name, subject), None)
        if condition is not None:
            for listener in self._listeners:
                listener(condition, False)

    def set(self, name: str, severity: Severity, detail: str | None, subject: str = "") -> None:
        """Raise with ``detail``, or clear where it is None."""
        if detail is None:
            self.clear(name, subject)
        else:
            self.raise_(name, severity, detail, subject)

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """What is wrong now, the worst and oldest first."""
        with self._lock:
            conditions = list(self._conditions.values())
        return tuple(sorted(conditions, key=lambda c: (c.severity != "critical", c.since_ns, c.name, c.subject)))

    def reasons(self) -> list[str]:
        """Why pairs cannot be judged, as sentences; empty when they can."""
        return [
            f"{condition.name}{f' ({condition.subject})' if condition.subject else ''}: {condition.detail}"
            for condition in self.conditions
            if condition.severity == "critical"
        ]

    @property
    def ready(self) -> bool:
        """Whether pairs can be judged: no condition is critical."""
        return not any(condition.severity == "critical" for condition in self.conditions)


class ConditionGroup:
    """The conditions that one observer reports to ``health`` together. Not for several threads."""

    def __init__(self, health: Health, severity: Severity) -> None:
        self._health, self._severity = health, severity
        self.raised: tuple[tuple[str, str], ...] = ()

    def report(self, conditions: Mapping[tuple[str, str], str]) -> None:
        """Raise what was found, (condition, subject) → detail, and clear what was found before and is gone."""
        for (name, subject), detail in conditions.items():
            self._health.raise_(name, self._severity, detail, subject)
        for name, subject in self.raised:
            if (name, subject) not in conditions:
                self._health.clear(name, subject)
        self.raised = tuple(conditions)
