"""Queues and workers: bounded, the newest events win, expired events are not sent, callers never block."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.core.units import SECOND
from service.monitoring.health import Health
from service.outputs.base import Event, EventExpired, EventQueue, OutputError, Outputs, OutputWorker
from tests.support.service.output_events import Clock, decision, other
from tests.support.waiting import until


def test_an_expired_live_is_never_written_as_live() -> None:
    event = decision(now=0)
    assert event.permits
    body = event.body(SECOND // 2)
    assert (body["decision"], body["expires_in_ms"], body["id"], body["door"]) == ("live", 1500, "s1", "d1")
    late = event.body(2 * SECOND)
    assert (late["decision"], late["reasons"], late["expires_in_ms"]) == ("uncertain", ["expired"], 0)
    with pytest.raises(EventExpired):
        event.require_fresh(2 * SECOND)
    assert not decision(made="spoof").permits
    assert not decision(made="uncertain").permits
    assert not other().permits
    assert decision(made="spoof", now=0).body(9 * SECOND)["decision"] == "spoof"


def test_an_attestation_goes_with_what_it_attests_and_the_audit_logs_part_stays_here() -> None:
    event = replace(decision(now=0), attestation="a.b.c", answer={"score": 0.9})
    body = event.body(SECOND)
    assert body["attestation"] == "a.b.c"
    assert "answer" not in body
    # A late body says ``uncertain``. Together with it, a signed ``live`` could be misused.
    assert "attestation" not in event.body(2 * SECOND)
    assert "attestation" not in decision(now=0).body(SECOND)


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["put", "take"]), st.integers(0, SECOND)), max_size=40), st.integers(1, 4))
def test_a_mailbox_is_bounded_and_hands_out_nothing_expired(steps: list[tuple[str, int]], capacity: int) -> None:
    clock = Clock()
    mail = EventQueue(capacity, clock)
    put: list[Event] = []
    taken: list[Event] = []
    for number, (what, dt) in enumerate(steps):
        clock.now += dt
        if what == "put":
            put.append(decision(str(number), now=clock.now))
            mail.put(put[-1])
            continue
        event = mail.get(0)
        if event is not None:
            assert event.fresh(clock.now)
            taken.append(event)
    order = [put.index(event) for event in taken]
    assert order == sorted(set(order))
    waiting = len(put) - len(taken) - mail.counts["overflow"] - mail.counts["expired"]
    assert 0 <= waiting <= capacity
    # The newest events win: a fresh newest event is always kept.
    if put and put[-1] not in taken and put[-1].fresh(clock.now):
        rest = []
        while (event := mail.get(0)) is not None:
            rest.append(event)
        assert rest[-1] is put[-1]


class Slow:
    """An output that blocks until the test releases it, and fails on request."""

    name = "slow"

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.entered = threading.Event()
        self.sent: list[str] = []
        self.error: Exception | None = None
        self.well = False
        self.closed = False

    def wants(self, event: Event) -> bool:
        return event.kind == "decision"

    def send(self, event: Event) -> None:
        self.entered.set()
        assert self.gate.wait(20)
        if self.error is not None:
            raise self.error
        self.sent.append(event.id)

    def probe(self) -> bool:
        return self.well

    def close(self) -> None:
        self.closed = True


def test_an_output_that_hangs_delays_nobody_and_sends_nothing_late() -> None:
    clock, output, health = Clock(), Slow(), Health()
    worker = OutputWorker(output, health, clock=clock)
    outputs = Outputs([worker])
    outputs.publish(decision("first", now=clock.now))
    assert output.entered.wait(20)
    for number in range(100):
        outputs.publish(decision(f"n{number}", now=clock.now))
    outputs.publish(other())
    clock.now += 3 * SECOND
    outputs.publish(decision("last", now=clock.now))
    output.gate.set()
    until(lambda: len(output.sent) == 2)
    outputs.close(20)
    assert output.sent == ["first", "last"]
    assert output.closed
    counts = worker.counts()
    assert counts["sent"] == 2
    assert counts["overflow"] + counts["expired"] == 100


def test_failures_are_counted_and_seen_and_pass() -> None:
    output, health = Slow(), Health()
    output.gate.set()
    worker = OutputWorker(output, health)
    output.error = OutputError("nobody answers.")
    worker.offer(decision())
    until(lambda: worker.counts().get("failed") == 1)
    until(lambda: len(health.conditions) == 1)
    (condition,) = health.conditions
    assert (condition.name, condition.subject, condition.detail) == ("output_failing", "slow", "nobody answers.")
    assert health.ready
    output.error = None
    worker.offer(decision())
    until(lambda: health.conditions == ())
    output.error = OSError(28, "No space left on device")
    worker.offer(decision())
    until(lambda: len(health.conditions) == 1)
    output.well = True
    until(lambda: health.conditions == ())
    worker.close(20)


def test_a_channel_that_breaks_costs_the_others_nothing(caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        name = "broken"

        def offer(self, event: Event) -> None:
            raise RuntimeError("a mistake")

        def close(self, timeout_s: float) -> None: ...

        def counts(self) -> dict[str, int]:
            return {}

        def waiting(self) -> int:
            return 0

    output = Slow()
    output.gate.set()
    outputs = Outputs([Broken(), OutputWorker(output, Health())])
    outputs.publish(decision("s9"))
    until(lambda: output.sent == ["s9"])
    outputs.close(20)
    assert "the output broken did not accept an event" in caplog.text
