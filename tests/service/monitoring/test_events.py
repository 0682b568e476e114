"""Events: every subscriber gets them, a slow subscriber loses the oldest and does not delay others, and streams end
with the service."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator

import httpx
import pytest

from runtime.core.errors import Overloaded
from service.config.settings import Settings
from service.monitoring.events import KEPT, WATCHERS, EventHub
from tests.support.service.running_service import RunningService, running
from tests.support.waiting import until


def test_without_a_watcher_an_event_costs_nothing() -> None:
    hub = EventHub()
    assert not hub.watched
    hub.publish("pair", {"impossible": object()})


def test_a_slow_watcher_loses_the_oldest() -> None:
    async def run() -> tuple[list[bytes], int]:
        hub = EventHub()
        watcher = hub.subscribe()
        for number in range(KEPT + 5):
            hub.publish("pair", {"number": number})
        await asyncio.sleep(0)
        hub.close()
        await asyncio.sleep(0)
        return [event async for event in watcher.stream()], watcher.lost

    events, lost = asyncio.run(run())
    numbers = [json.loads(event.split(b"data: ")[1])["number"] for event in events[1:]]
    assert numbers == list(range(5, KEPT + 5))
    assert lost == 5


def test_too_many_watchers_and_none_after_the_end() -> None:
    async def run() -> None:
        hub = EventHub()
        watchers = [hub.subscribe() for _ in range(WATCHERS)]
        with pytest.raises(Overloaded):
            hub.subscribe()
        hub.unsubscribe(watchers[0])
        hub.subscribe()
        hub.close()
        with pytest.raises(Overloaded):
            hub.subscribe()

    asyncio.run(run())


def test_a_watcher_whose_loop_has_ended_holds_nobody_up() -> None:
    hub = EventHub()

    async def run() -> None:
        hub.subscribe()

    asyncio.run(run())
    hub.publish("pair", {"number": 1})
    hub.close()


def test_a_quiet_line_is_kept_alive() -> None:
    async def run() -> list[bytes]:
        watcher = EventHub().subscribe()
        found = []
        async for event in watcher.stream(heartbeat_s=0.01):
            found.append(event)
            if len(found) == 3:
                break
        return found

    assert asyncio.run(run())[1:] == [b": still here\n\n"] * 2


@pytest.fixture
def watched() -> Iterator[tuple[RunningService, EventHub]]:
    hub = EventHub()
    with running(Settings(), hub=hub) as found:
        yield found, hub


def test_events_reach_a_client_in_order(watched: tuple[RunningService, EventHub]) -> None:
    service, hub = watched
    with service.client.stream("GET", "/events") as response:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        lines = response.iter_lines()
        assert next(lines) == ": adsn events"
        hub.publish("pair", {"number": 1, "text": "a\nb"})
        hub.publish("decision", {"decision": "uncertain"})
        found = [line for _, line in zip(range(8), lines, strict=False) if line]
    assert found == [
        "id: 1", "event: pair", 'data: {"number":1,"text":"a\\nb"}',
        "id: 2", "event: decision", 'data: {"decision":"uncertain"}',
    ]  # fmt: skip

    def left() -> bool:
        # A lost subscriber is noticed only when there is an event to send.
        hub.publish("pair", {"number": 2})
        return not hub.watched

    until(left)


def test_the_service_ends_though_somebody_watches() -> None:
    hub = EventHub()
    ended = threading.Event()
    with running(Settings(), hub=hub) as service:

        def watch() -> None:
            try:
                with httpx.stream("GET", f"http://127.0.0.1:{service.port}/events", timeout=30) as response:
                    for _ in response.iter_lines():
                        pass
            except httpx.HTTPError:
                pass
            ended.set()

        thread = threading.Thread(target=watch)
        thread.start()
        until(lambda: hub.watched)
    thread.join(20)
    assert ended.is_set()


def test_without_a_hub_there_are_none(service: RunningService) -> None:
    found = service.client.get("/events")
    assert (found.status_code, found.json()["code"]) == (503, "no_rig")
