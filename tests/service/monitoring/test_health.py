"""Conditions: their listeners and their effect on readiness."""

from __future__ import annotations

import threading

from service.monitoring.health import Condition, Health


def test_only_critical_conditions_end_readiness() -> None:
    now = [5]
    health = Health(lambda: now[0])
    assert health.ready
    health.raise_("broker_down", "warning", "no answer from broker:8883")
    assert health.ready
    now[0] = 9
    health.raise_("camera_lost", "critical", "the device went away", "ir")
    assert not health.ready
    assert [(c.name, c.subject, c.since_ns) for c in health.conditions] == [
        ("camera_lost", "ir", 9),
        ("broker_down", "", 5),
    ]
    assert health.reasons() == ["camera_lost (ir): the device went away"]
    view = health.conditions[0].view()
    assert (view["name"], view["subject"], view["severity"], view["detail"]) == (
        "camera_lost",
        "ir",
        "critical",
        "the device went away",
    )
    health.clear("camera_lost", "rgb")
    assert not health.ready
    health.clear("camera_lost", "ir")
    assert health.ready


def test_a_condition_keeps_its_beginning_and_listeners_hear_of_changes_only() -> None:
    now = [1]
    health = Health(lambda: now[0])
    heard: list[tuple[str, bool, str]] = []
    health.listen(lambda condition, raised: heard.append((condition.name, raised, condition.severity)))
    health.set("skew", "warning", "12 ms")
    now[0] = 2
    health.set("skew", "warning", "13 ms")
    assert health.conditions[0].detail == "13 ms"
    assert health.conditions[0].since_ns == 1
    health.set("skew", "critical", "40 ms")
    health.set("skew", "critical", None)
    health.set("skew", "critical", None)
    assert heard == [("skew", True, "warning"), ("skew", True, "critical"), ("skew", False, "critical")]


def test_many_threads_may_raise_and_clear() -> None:
    health = Health()
    raised: list[bool] = []
    health.listen(lambda condition, up: raised.append(up))

    def work(name: str) -> None:
        for _ in range(200):
            health.raise_(name, "warning", "x")
            health.clear(name)

    threads = [threading.Thread(target=work, args=(f"c{i}",)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert health.conditions == ()
    assert (raised.count(True), raised.count(False)) == (800, 800)


def test_a_condition_says_when_in_utc() -> None:
    health = Health()
    health.raise_("a", "warning", "b")
    found: Condition = health.conditions[0]
    assert found.view()["since"].endswith("+00:00")
