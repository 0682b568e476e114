"""``GET /events``: server-sent events for subscribers.

A slow subscriber loses the oldest events, never the newest, and does not delay others. Events contain scores, reasons
and states, never images.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections import deque
from collections.abc import AsyncIterator, Mapping
from typing import Any

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from runtime.core.errors import Overloaded
from service.auth.guard import Guard
from service.http.openapi import problems
from service.http.problems import RequestError

KEPT = 64
"""Maximum number of events queued per subscriber."""
WATCHERS = 16
HEARTBEAT_S = 10.0
"""Idle time after which a comment is sent, so that proxies and clients know that the connection is alive."""


class EventSubscriber:
    """Queue of one subscriber. `EventHub.subscribe` creates it; use it on its event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: deque[bytes] = deque(maxlen=KEPT)
        self._ready = asyncio.Event()
        self.lost = 0
        self.closed = False

    def put(self, data: bytes) -> None:
        """Queue an event. Thread-safe."""
        with contextlib.suppress(RuntimeError):  # the event loop of the subscriber has ended
            self._loop.call_soon_threadsafe(self._put, data)

    def _put(self, data: bytes) -> None:
        self.lost += len(self._waiting) == KEPT
        self._waiting.append(data)
        self._ready.set()

    def close(self) -> None:
        """End the stream after the queued events. Thread-safe."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._close)

    def _close(self) -> None:
        self.closed = True
        self._ready.set()

    async def stream(self, heartbeat_s: float = HEARTBEAT_S) -> AsyncIterator[bytes]:
        """Yield events as they arrive, in the format of server-sent events."""
        yield b": adsn events\n\n"
        while True:
            try:
                await asyncio.wait_for(self._ready.wait(), heartbeat_s)
            except asyncio.TimeoutError:
                yield b": still here\n\n"
                continue
            while self._waiting:
                yield self._waiting.popleft()
            if self.closed:
                return
            self._ready.clear()


class EventHub:
    """Hub that passes events to all subscribers. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._watchers: set[EventSubscriber] = set()
        self._number = 0
        self._closed = False

    @property
    def watched(self) -> bool:
        """Whether there is a subscriber. If not, work that is only for display can be skipped."""
        return bool(self._watchers)

    def publish(self, name: str, data: Mapping[str, Any]) -> None:
        """Publish an event to all subscribers and return at once. ``name``: name of the event, with only letters and
        underscores.

        Raises:
            ValueError: ``data`` contains a number that JSON cannot represent.
        """
        with self._lock:
            if not self._watchers:
                return
            self._number += 1
            # The JSON must be one line, because a line feed would end the event.
            text = json.dumps(data, allow_nan=False, separators=(",", ":"))
            event = f"id: {self._number}\nevent: {name}\ndata: {text}\n\n".encode()
            for watcher in self._watchers:
                watcher.put(event)

    def subscribe(self) -> EventSubscriber:
        """Return a new subscriber on the running event loop.

        Raises:
            Overloaded: there are too many subscribers, or the service is stopping.
        """
        watcher = EventSubscriber(asyncio.get_running_loop())
        with self._lock:
            if self._closed or len(self._watchers) >= WATCHERS:
                raise Overloaded(f"too many clients are subscribed; the limit is {WATCHERS}. Close another console.")
            self._watchers.add(watcher)
        return watcher

    def unsubscribe(self, watcher: EventSubscriber) -> None:
        with self._lock:
            self._watchers.discard(watcher)

    def close(self) -> None:
        """End all streams. Otherwise a server that is shutting down would wait for them forever."""
        with self._lock:
            self._closed = True
            watchers = list(self._watchers)
        for watcher in watchers:
            watcher.close()


def add_events_routes(app: FastAPI, guard: Guard, hub: EventHub | None) -> None:
    """Add the route ``GET /events``. ``hub``: None without a rig."""

    @app.get(
        "/events",
        summary="Stream of events",
        response_class=StreamingResponse,
        responses={
            200: {
                "description": "Server-sent events",
                "content": {"text/event-stream": {"schema": {"type": "string"}}},
            },
            **problems(401, 403, 503),
        },
    )
    async def events(request: Request) -> Response:
        """Sends server-sent events: `pair` (each assessed pair of the rig), `decision` (from the kiosk) and `cameras`
        (their status, every second). Events carry no images. Needs the role `camera`."""
        await guard.authorize(request, "camera")
        if hub is None:
            raise RequestError(503, "no_rig", "no cameras are attached, so there are no events.")
        watcher = hub.subscribe()

        async def body() -> AsyncIterator[bytes]:
            try:
                async for event in watcher.stream():
                    yield event
            finally:
                hub.unsubscribe(watcher)

        return StreamingResponse(body(), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})
