"""Information on the kiosk's page about the door, its outputs and its last decisions."""

from __future__ import annotations

import json
from dataclasses import replace

from service.kiosk.page_status import DECISIONS_KEPT, PageChannel, page_status
from service.monitoring.events import EventHub
from service.monitoring.health import Health
from service.outputs.base import boottime_ns
from tests.support.service.output_events import decision, other
from tests.support.service.scripted_kiosk import Recorder

PLACE = {"site": "home", "door": "front"}


def test_an_output_that_fails_says_why() -> None:
    health, page, seen = Health(), PageChannel(EventHub(), boottime_ns), Recorder()
    seen.offer(other())
    told = page_status(PLACE, "idle", [seen, page], health, page)
    working = {"name": "recorder", "state": "working", "counts": {"sent": 1}, "waiting": 0, "last_error": ""}
    assert told == {**PLACE, "state": "idle", "outputs": [working], "decisions": []}
    health.raise_("output_failing", "warning", "no route to host", "recorder")
    health.raise_("camera_lost", "critical", "unplugged", "ir")
    (output,) = page_status(PLACE, "idle", [seen, page], health, page)["outputs"]
    assert (output["state"], output["last_error"]) == ("failing", "no route to host")


def test_the_last_decisions_are_kept_without_what_makes_them_permits() -> None:
    page = PageChannel(EventHub(), boottime_ns)
    for number in range(DECISIONS_KEPT + 2):
        page.offer(other())
        page.offer(replace(decision(f"s{number}"), attestation="signed", data={"door": "front", "score": 0.9}))
    told = page_status(PLACE, "decided", [page], Health(), page)["decisions"]
    assert [one["id"] for one in told] == [f"s{number}" for number in range(2, DECISIONS_KEPT + 2)]
    assert all(set(one) == {"id", "time", "decision", "reasons"} for one in told)
    json.dumps(told)
