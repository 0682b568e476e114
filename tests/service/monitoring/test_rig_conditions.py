"""The conditions of a rig: one set of rules for the service, which warns, and the kiosk, which stops deciding."""

from __future__ import annotations

import pytest

from service.config.settings import Settings
from service.monitoring.health import ConditionGroup, Health
from tests.support.fakes import FakeFeed
from tests.support.service.running_service import running
from tests.support.waiting import until


@pytest.mark.parametrize("strobe", ["strobe_lost", "ir_unlit", "ambient_flood"])
def test_the_service_warns_of_an_illuminator_and_stays_ready(strobe: str) -> None:
    feed = FakeFeed()
    feed.camera("rgb", "running")
    feed.camera("ir", "running")
    feed.set(strobe=strobe)
    with running(Settings(), feed=feed) as service:

        def severities() -> dict[str, str]:
            return {c["name"]: c["severity"] for c in service.client.get("/readyz").json()["conditions"]}

        until(lambda: strobe in severities())
        assert severities()[strobe] == "warning"
        assert service.client.get("/readyz").status_code == 200
        feed.set(strobe="on")
        until(lambda: strobe not in severities())


def test_a_camera_that_is_opened_again_is_lost_and_one_that_was_never_there_opens() -> None:
    feed = FakeFeed()
    feed.camera("rgb", "opening", last_error="no such device")
    feed.camera("ir", "opening")
    with running(Settings(), feed=feed) as service:
        found = {(c["name"], c["subject"]) for c in service.client.get("/readyz").json()["conditions"]}
    assert {("camera_lost", "rgb"), ("camera_opening", "ir"), ("no_pairs", "")} == found


def test_a_group_clears_what_it_no_longer_reports_and_nothing_else() -> None:
    health = Health()
    health.raise_("broker_down", "warning", "no answer")
    group = ConditionGroup(health, "critical")
    group.report({("camera_lost", "ir"): "unplugged", ("camera_lost", "rgb"): "unplugged"})
    assert not health.ready
    group.report({("camera_lost", "rgb"): "still unplugged"})
    assert {(c.name, c.subject, c.detail) for c in health.conditions} == {
        ("broker_down", "", "no answer"),
        ("camera_lost", "rgb", "still unplugged"),
    }
    group.report({})
    assert health.ready
    assert [c.name for c in health.conditions] == ["broker_down"]
