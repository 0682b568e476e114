"""Shared parts of all outputs: events, a bounded queue that drops expired events, and a sending thread.

A decision expires at most two seconds after the last frame that it used. The queue does not return expired events
(unless asked to), and an output that needs time before it sends checks the expiry again right before sending.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Literal, Protocol

from runtime.core.errors import AdsnError
from runtime.liveness.decision import Decision
from service.monitoring.health import Health

log = logging.getLogger("adsn.outputs")

EventKind = Literal["decision", "state", "health"]
Clock = Callable[[], int]
CAPACITY = 16
PROBE_S = 1.0


def boottime_ns() -> int:
    """Return CLOCK_BOOTTIME in nanoseconds. This clock also runs during suspend, so events expire during a suspend
    too."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class OutputError(AdsnError):
    """An output could not deliver an event."""

    code = "output_failed"
    retryable = True


class EventExpired(OutputError):
    """The event expired before it was sent."""

    code = "output_expired"


@dataclass(frozen=True, slots=True)
class Event:
    """An event at the kiosk.

    ``id``: unique id; for a decision, that of its session. ``data``: further JSON members, depending on ``kind``.
    ``expires_ns``: time of expiry, CLOCK_BOOTTIME; only for decisions. ``wall``: UTC time for display; never used in
    calculations. ``answer``: the decision in the form of a ``POST /liveness`` response, for the audit log; never sent.
    ``attestation``: attestation of the decision.
    """

    kind: EventKind
    id: str
    t_ns: int
    wall: datetime
    data: Mapping[str, Any] = field(default_factory=dict)
    decision: Decision | None = None
    reasons: tuple[str, ...] = ()
    expires_ns: int | None = None
    answer: Mapping[str, Any] | None = None
    attestation: str | None = None

    @property
    def permits(self) -> bool:
        """Whether the event may open a door, provided that it has not expired."""
        return self.kind == "decision" and self.decision == "live" and self.expires_ns is not None

    def fresh(self, now_ns: int) -> bool:
        return self.expires_ns is None or now_ns < self.expires_ns

    def require_fresh(self, now_ns: int) -> None:
        """Check that the event has not expired; otherwise raise `EventExpired`."""
        if not self.fresh(now_ns):
            raise EventExpired(f"the decision {self.id} expired before it could be sent.")

    def body(self, now_ns: int) -> dict[str, Any]:
        """Return the JSON body that all outputs send.

        Its ``expires_in_ms`` counts from ``now_ns``, so receivers need no synchronised clocks. An expired ``live`` is
        sent as ``uncertain`` and without its attestation.
        """
        body: dict[str, Any] = {
            "kind": self.kind,
            "id": self.id,
            "time": self.wall.isoformat(timespec="milliseconds"),
            "monotonic_ns": self.t_ns,
        }
        if self.decision is not None:
            late = self.decision == "live" and not self.fresh(now_ns)
            body["decision"] = "uncertain" if late else self.decision
            body["reasons"] = ["expired"] if late else list(self.reasons)
            body["expires_in_ms"] = max(0, (self.expires_ns or now_ns) - now_ns) // 1_000_000
            if self.attestation is not None and not late:
                body["attestation"] = self.attestation
        # Members of ``data`` never replace those of the event itself.
        return {**body, **{name: value for name, value in self.data.items() if name not in body}}


def utc_now() -> datetime:
    return datetime.now(timezone.utc)


class Channel(Protocol):
    """An output, as the kiosk sees it."""

    @property
    def name(self) -> str: ...

    def offer(self, event: Event) -> None:
        """Accept an event. Never blocks, whatever the state of the receiver."""
        ...

    def close(self, timeout_s: float) -> None: ...

    def counts(self) -> Mapping[str, int]:
        """Return the number of events by outcome: ``sent``, ``failed``, ``expired``, ``overflow``."""
        ...

    def waiting(self) -> int:
        """Return the number of events waiting to be sent."""
        ...


class EventQueue:
    """Bounded queue of events. When it is full, the oldest event is dropped. Thread-safe."""

    def __init__(self, capacity: int = CAPACITY, clock: Clock = boottime_ns) -> None:
        self.counts: Counter[str] = Counter()
        self._capacity, self._clock = capacity, clock
        self._events: deque[Event] = deque()
        self._changed = threading.Condition()
        self._closed = False

    def put(self, event: Event) -> None:
        with self._changed:
            if len(self._events) >= self._capacity:
                self._events.popleft()
                self.counts["overflow"] += 1
            self._events.append(event)
            self._changed.notify()

    def get(self, timeout_s: float, keep_expired: bool = False) -> Event | None:
        """Return the oldest event that has not expired, or None after ``timeout_s`` or if the queue was closed.

        With ``keep_expired``, expired events are returned too.
        """
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while True:
                while self._events:
                    event = self._events.popleft()
                    if keep_expired or event.fresh(self._clock()):
                        return event
                    self.counts["expired"] += 1
                left = deadline - time.monotonic()
                if self._closed or left <= 0:
                    return None
                self._changed.wait(left)

    @property
    def waiting(self) -> int:
        """Number of waiting events."""
        return len(self._events)

    def count(self, what: str) -> None:
        with self._changed:
            self.counts[what] += 1

    def close(self) -> None:
        """Close the queue. `get` still returns queued events, but no longer waits for new ones."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @property
    def closed(self) -> bool:
        return self._closed and not self._events


class Output(Protocol):
    """A blocking output, used by one thread."""

    @property
    def name(self) -> str: ...

    def wants(self, event: Event) -> bool: ...

    def send(self, event: Event) -> None:
        """Deliver the event.

        Raises:
            EventExpired: the event expired and was not sent. OutputError, OSError: it could not be sent.
        """
        ...

    def probe(self) -> bool:
        """Return whether the output works again. Called every second after a failure."""
        ...

    def close(self) -> None: ...


class OutputWorker:
    """`Channel` that runs an `Output` in a separate thread."""

    def __init__(
        self, output: Output, health: Health, *, keep_expired: bool = False, capacity: int = CAPACITY,
        clock: Clock = boottime_ns,
    ) -> None:  # fmt: skip
        self._output, self._health, self._keep = output, health, keep_expired
        self._queue = EventQueue(capacity, clock)
        self._failing = False
        self._thread = threading.Thread(target=self._run, name=f"adsn-output-{output.name}", daemon=True)
        self._thread.start()

    @property
    def name(self) -> str:
        return self._output.name

    def offer(self, event: Event) -> None:
        if self._output.wants(event):
            self._queue.put(event)

    def counts(self) -> Mapping[str, int]:
        return dict(self._queue.counts)

    def waiting(self) -> int:
        return self._queue.waiting

    def close(self, timeout_s: float) -> None:
        self._queue.close()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            while not self._queue.closed:
                event = self._queue.get(PROBE_S, self._keep)
                if event is not None:
                    self._send(event)
                elif self._failing:
                    self._note(None if self._probe() else "")
        finally:
            self._output.close()

    def _send(self, event: Event) -> None:
        try:
            self._output.send(event)
        except EventExpired:
            self._queue.count("expired")
        except Exception as error:
            self._queue.count("failed")
            self._note(error_text(error))
        else:
            self._queue.count("sent")
            self._note(None)

    def _probe(self) -> bool:
        try:
            return self._output.probe()
        except Exception:
            return False

    def _note(self, failure: str | None) -> None:
        """Update the health condition: None clears it, an empty string keeps it, any other text raises it."""
        if failure is None:
            self._failing = False
            self._health.clear("output_failing", self.name)
        elif failure:
            self._failing = True
            self._health.raise_("output_failing", "warning", failure, self.name)


def error_text(error: Exception) -> str:
    """Return the message of an error for people, without a traceback."""
    if isinstance(error, AdsnError):
        return error.message
    return str(error) or type(error).__name__


class Outputs:
    """All channels of a kiosk."""

    def __init__(self, channels: list[Channel]) -> None:
        self.channels = tuple(channels)

    def publish(self, event: Event) -> None:
        """Offer the event to all channels. A channel that raises is logged and does not affect the others."""
        for channel in self.channels:
            try:
                channel.offer(event)
            except Exception:
                log.exception("the output %s did not accept an event", channel.name)

    def waiting(self) -> int:
        """Return the number of events waiting to be sent, over all outputs."""
        return sum(channel.waiting() for channel in self.channels)

    def close(self, timeout_s: float) -> None:
        """Close all channels at the same time, within ``timeout_s``, so that they can send their queued events."""
        deadline = time.monotonic() + timeout_s
        closers = [threading.Thread(target=channel.close, args=(timeout_s,), daemon=True) for channel in self.channels]
        for closer in closers:
            closer.start()
        for closer in closers:
            closer.join(max(0.0, deadline - time.monotonic()))
