"""Registry of current problems, as named conditions. They determine whether pairs can be scored.

The code that detects a problem raises a condition, and clears it when the problem is solved. ``/readyz``, the metrics
and the log use the same registry, so they always agree.
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
"""``critical``: nothing can be decided, so the service is not ready. ``warning``: the service still decides, but needs
attention."""

Listener = Callable[["Condition", bool], None]
"""Called with a condition, and with True if it was raised or False if it was cleared."""


class ConditionView(TypedDict):
    """One current problem."""

    name: Annotated[str, Field(examples=["camera_lost"])]
    subject: Annotated[str, Field(examples=["ir"])]
    severity: Annotated[str, Field(description="`critical`: nothing can be decided.", examples=["warning"])]
    since: str
    detail: str


@dataclass(frozen=True, slots=True)
class Condition:
    """One current problem.

    ``name``: stable identifier for programs, e.g. ``camera_lost``. ``subject``: affected component, e.g. ``ir``; empty
    if there is only one. ``since_ns``: start of the problem, CLOCK_MONOTONIC. ``since``: the same time on the wall
    clock, for display.
    """

    name: str
    severity: Severity
    detail: str
    since_ns: int
    since: datetime
    subject: str = ""

    def view(self) -> ConditionView:
        """Return the condition as a JSON object."""
        return {
            "name": self.name,
            "subject": self.subject,
            "severity": self.severity,
            "since": self.since.isoformat(timespec="milliseconds"),
            "detail": self.detail,
        }


class Health:
    """Registry of the conditions of a process. All methods are thread-safe."""

    def __init__(self, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._conditions: dict[tuple[str, str], Condition] = {}
        self._listeners: list[Listener] = []

    def listen(self, listener: Listener) -> None:
        """Call ``listener`` on each change, in the thread that made the change. It must be quick and must not raise."""
        self._listeners.append(listener)

    def raise_(self, name: str, severity: Severity, detail: str, subject: str = "") -> None:
        """Raise a condition.

        If it is already raised, it keeps its start time, and listeners are called only if the severity has changed.
        """
        with self._lock:
            old = self._conditions.get((name, subject))
            began = (old.since_ns, old.since) if old is not None else (self._clock(), datetime.now(timezone.utc))
            condition = Condition(name, severity, detail, *began, subject)
            self._conditions[name, subject] = condition
        if old is None or old.severity != severity:
            for listener in self._listeners:
                listener(condition, True)

    def clear(self, name: str, subject: str = "") -> None:
        """Clear a condition, if it is raised."""
        with self._lock:
            condition = self._conditions.pop((name, subject), None)
        if condition is not None:
            for listener in self._listeners:
                listener(condition, False)

    def set(self, name: str, severity: Severity, detail: str | None) -> None:
        """Raise the condition with ``detail``, or clear it if ``detail`` is None."""
        if detail is None:
            self.clear(name)
        else:
            self.raise_(name, severity, detail)

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """Current conditions, sorted by severity and then by age: the worst and oldest first."""
        with self._lock:
            conditions = list(self._conditions.values())
        return tuple(sorted(conditions, key=lambda c: (c.severity != "critical", c.since_ns, c.name, c.subject)))

    def reasons(self) -> list[str]:
        """Return the reasons why pairs cannot be scored, as sentences; empty if they can."""
        return [
            f"{condition.name}{f' ({condition.subject})' if condition.subject else ''}: {condition.detail}"
            for condition in self.conditions
            if condition.severity == "critical"
        ]

    @property
    def ready(self) -> bool:
        """Whether pairs can be scored: no condition is critical."""
        return not any(condition.severity == "critical" for condition in self.conditions)


class ConditionGroup:
    """Group of conditions that one observer reports to ``health``. Not thread-safe."""

    def __init__(self, health: Health, severity: Severity) -> None:
        self._health, self._severity = health, severity
        self.raised: tuple[tuple[str, str], ...] = ()

    def report(self, conditions: Mapping[tuple[str, str], str]) -> None:
        """Raise ``conditions``, and clear those of the previous call that are not among them.

        ``conditions``: (name, subject) → detail.
        """
        for (name, subject), detail in conditions.items():
            self._health.raise_(name, self._severity, detail, subject)
        for name, subject in self.raised:
            if (name, subject) not in conditions:
                self._health.clear(name, subject)
        self.raised = tuple(conditions)
