"""docs/mqtt.md: its payloads have the members that the kiosk sends, and its id is the kiosk's."""

from __future__ import annotations

import json
import re
from typing import Any
from unittest.mock import Mock

from service.kiosk.loop_events import LoopEvents
from service.kiosk.state_machine import KioskStateMachine, SessionOutcome, StateChange
from service.monitoring.health import Health
from service.outputs.base import boottime_ns
from service.outputs.home_assistant import KioskDevice
from tests.support.docs.pages import ROOT, blocks_of
from tests.support.service.kiosk_readings import read

BODIES = [json.loads(block.text) for block in blocks_of("docs/mqtt.md") if block.language == "json"]
PLACE = {"site": "berlin", "door": "front"}


def shown(**members: Any) -> list[dict[str, Any]]:
    return [body for body in BODIES if all(body.get(name) == value for name, value in members.items())]


def test_a_decision_has_these_members() -> None:
    now = boottime_ns()
    outcome = SessionOutcome("s1", "live", (), now, now - 10, now + 2_000_000_000, 5, 0.9862, 0)
    (page,) = shown(kind="decision")
    assert set(page) == set(LoopEvents(PLACE).decision(outcome, now).body(now))
    assert page["expires_in_ms"] <= 2000


def test_a_change_of_state_and_guidance_have_these_members() -> None:
    events = LoopEvents(PLACE)
    change = events.change(StateChange(1, "face", "deciding", "begun", "s1")).body(2)
    machine = Mock(KioskStateMachine, state="deciding", guidance=("face_too_small",), session="s1")
    changed, guided = shown(kind="state")
    assert set(changed) == set(change)
    assert set(guided) == set(events.guidance(1, machine).body(2))


def test_health_and_readings_have_these_members() -> None:
    health = Health()
    health.raise_("camera_lost", "critical", "unplugged", "ir")
    (said,) = shown(status="online")
    assert set(said) == {"status", "ready", "time", "conditions"}
    assert set(said["conditions"][0]) == set(health.conditions[0].view())
    assert read().body() | {"queue": 0} == shown(queue=0)[0]


def test_the_id_is_the_one_that_the_kiosk_makes() -> None:
    text = (ROOT / "docs" / "mqtt.md").read_text(encoding="utf-8")
    device = KioskDevice("berlin", "front", "site/berlin/door/front/liveness")
    assert re.findall(r"adsn-berlin-front-[0-9a-f]{8}", text) == [device.id]
