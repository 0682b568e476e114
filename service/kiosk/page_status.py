"""Information about the door on the kiosk's page: its state, its outputs and its last decisions."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from service.monitoring.events import EventHub
from service.monitoring.health import Health
from service.outputs.base import Channel, Event

DECISIONS_KEPT = 5
SHOWN = ("id", "time", "decision", "reasons")
"""Members of a past decision that are sent to the page. Score, attestation and expiry are left out, so that a copy
cannot be mistaken for a permit."""


class PageChannel:
    """Channel that passes events to the viewers of the page.

    It keeps the last decisions for viewers who open the page later. The hub never blocks, so this channel needs no
    thread.
    """

    name = "page"

    def __init__(self, hub: EventHub, clock: Callable[[], int]) -> None:
        self._hub, self._clock, self._sent = hub, clock, 0
        self._decisions: deque[Mapping[str, Any]] = deque(maxlen=DECISIONS_KEPT)

    def offer(self, event: Event) -> None:
        body = event.body(self._clock())
        if event.kind == "decision":
            self._decisions.append({name: body[name] for name in SHOWN})
        self._hub.publish(event.kind, body)
        self._sent += 1

    @property
    def decisions(self) -> list[Mapping[str, Any]]:
        """The last decisions, oldest first."""
        return list(self._decisions)

    def counts(self) -> Mapping[str, int]:
        return {"sent": self._sent}

    def waiting(self) -> int:
        return 0

    def close(self, timeout_s: float) -> None: ...


def page_status(
    place: Mapping[str, str], state: str, channels: Iterable[Channel], health: Health, page: PageChannel
) -> Mapping[str, Any]:
    """Return the event with the status of the door for the page. ``place``: members that identify the door."""
    failures = {c.subject: c.detail for c in health.conditions if c.name == "output_failing"}
    outputs = [
        {
            "name": channel.name,
            "state": "failing" if channel.name in failures else "working",
            "counts": dict(channel.counts()),
            "waiting": channel.waiting(),
            "last_error": failures.get(channel.name, ""),
        }
        for channel in channels
        if channel is not page
    ]
    return {**place, "state": state, "outputs": outputs, "decisions": page.decisions}
