"""Faults during a session: readiness, metrics and log show them within two seconds, and no door opens."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timezone
from functools import partial
from typing import Any

import pytest

from service.kiosk import loop_events
from service.kiosk.monitor import log_condition
from service.outputs.base import Event
from tests.support.service.scripted_kiosk import ScriptedKiosk, a_pair
from tests.support.waiting import until

LIMIT_S = 2.0


@pytest.fixture
def rig() -> Iterator[ScriptedKiosk]:
    """Yield a kiosk in the middle of a session that would end with ``live`` without the fault."""
    with ScriptedKiosk() as running:
        running.assessor.score = None
        until(lambda: running.health.ready)
        running.health.listen(log_condition)
        yield running


def begin_session(rig: ScriptedKiosk) -> None:
    """Wait until a session is running and not yet decided."""
    rig.assessor.score = 0.45
    until(lambda: rig.kiosk.state == "deciding")
    assert rig.seen.decisions == []


def hang(rig: ScriptedKiosk) -> None:
    """Stop the frames, as if the driver blocked in a read, before the rig's status shows it."""
    rig.playing.clear()
    rig.feed.camera("rgb", "running", last_frame_ns=time.monotonic_ns())


def resume(rig: ScriptedKiosk) -> None:
    rig.feed.camera("rgb", "running", last_frame_ns=None)
    rig.playing.set()


def freeze(rig: ScriptedKiosk) -> None:
    """Make the IR camera repeat a frame with new timestamps."""
    stuck = a_pair().ir
    rig.make = lambda: replace(a_pair(), ir=stuck)


def thaw(rig: ScriptedKiosk) -> None:
    rig.make = a_pair


Break = Callable[[ScriptedKiosk], Any]
FAULTS: dict[str, tuple[str, Break, Break]] = {
    "unplugged": (
        "camera_lost",
        lambda rig: rig.feed.camera("ir", "lost", last_error="/dev/video2: no such device."),
        lambda rig: rig.feed.camera("ir", "running"),
    ),
    "reopening": (
        "camera_lost",
        lambda rig: rig.feed.camera("ir", "opening", last_error="/dev/video2: no such device."),
        lambda rig: rig.feed.camera("ir", "running"),
    ),
    "stalled": (
        "camera_stalled",
        lambda rig: rig.feed.camera("rgb", "stalled"),
        lambda rig: rig.feed.camera("rgb", "running"),
    ),
    "hanging in a read": ("camera_stalled", hang, resume),
    "infrared covered": (
        "ir_unlit",
        lambda rig: rig.feed.set(strobe="ir_unlit"),
        lambda rig: rig.feed.set(strobe="1:1"),
    ),
    "strobe stuck": (
        "strobe_lost",
        lambda rig: rig.feed.set(strobe="strobe_lost"),
        lambda rig: rig.feed.set(strobe="1:1"),
    ),
    "flooded": (
        "ambient_flood",
        lambda rig: rig.feed.set(strobe="ambient_flood"),
        lambda rig: rig.feed.set(strobe="1:1"),
    ),
    "infrared frozen": ("camera_frozen", freeze, thaw),
    "no pairs": ("no_pairs", lambda rig: rig.playing.clear(), lambda rig: rig.playing.set()),
}


@pytest.mark.parametrize("name", FAULTS)
def test_the_rig_fails_and_comes_back(rig: ScriptedKiosk, name: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "adsn.kiosk")
    condition, break_it, mend = FAULTS[name]
    begin_session(rig)
    began = time.monotonic()
    break_it(rig)
    # From here on every pair is live, which is what an attacker wants.
    rig.assessor.score = 0.99
    until(lambda: condition in rig.conditions())
    shown = time.monotonic()
    assert shown - began < LIMIT_S
    assert not rig.health.ready
    until(lambda: any(condition in record.message for record in caplog.records))
    until(lambda: rig.kiosk.state == "idle")
    rig.go_on()
    assert rig.seen.decisions == []
    mend(rig)
    until(lambda: rig.health.ready)
    until(lambda: rig.seen.decisions == ["live"])
    until(lambda: any(r.message.startswith(f"recovered: {condition}") for r in caplog.records))


def test_pairs_that_were_ready_before_the_fault_are_not_decided_on_after_it(rig: ScriptedKiosk) -> None:
    begin_session(rig)
    rig.playing.clear()
    rig.assessor.score = 0.99
    old = time.monotonic_ns() - 3_000_000_000
    for _ in range(20):
        pair = replace(a_pair(), rgb_time_ns=old)
        judged = rig.loop.counters.pairs
        rig.feed.put(pair)
        until(partial(lambda judged: rig.loop.counters.pairs > judged, judged))
    until(lambda: rig.kiosk.state == "idle")
    assert "live" not in rig.seen.decisions


def test_the_wall_clock_may_say_what_it_likes(rig: ScriptedKiosk, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = iter([1970, 2100, 1999, 2038] * 1000)
    monkeypatch.setattr(loop_events, "utc_now", lambda: datetime(next(steps), 1, 1, tzinfo=timezone.utc))
    monkeypatch.setattr(time, "time", lambda: 0.0)
    for _ in range(3):
        decided = len(rig.seen.decisions)
        rig.assessor.score = 0.99
        until(partial(lambda decided: len(rig.seen.decisions) > decided, decided))
        event: Event = next(event for event in reversed(rig.seen.events) if event.kind == "decision")
        left = event.body(time.clock_gettime_ns(time.CLOCK_BOOTTIME))["expires_in_ms"]
        assert left <= 2000
        rig.assessor.score = None
        until(lambda: rig.kiosk.state == "idle")
    assert rig.health.ready


def test_a_stop_in_the_middle_of_a_session_decides_nothing() -> None:
    with ScriptedKiosk() as rig:
        until(lambda: rig.health.ready)
        rig.assessor.score = None
        until(lambda: rig.kiosk.state == "idle")
        rig.seen.events.clear()
        begin_session(rig)
    assert rig.seen.decisions == []
    assert rig.seen.states[-1] == "idle"
    assert threading.active_count() < 50
