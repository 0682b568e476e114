"""Audited outputs: when and in which form the outputs get a decision, with an audit log and a key."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from runtime.bundle.signature import write_key_pair
from runtime.liveness.decision import Decision
from service.audit.attestation import Attester, verify_attestation
from service.audit.jws import Signer, Verifier
from service.audit.log import AuditLog, AuditLogOptions, Policy
from service.audit.trail import DecisionTrail
from service.audit.verify import check_audit
from service.kiosk.audited_outputs import AuditedOutputs, decision_answer
from service.kiosk.state_machine import SessionOutcome
from service.monitoring.health import Health
from service.outputs.base import Event, boottime_ns
from tests.support.fakes import FakeEngine, loaded
from tests.support.service.full_disk import FullDisk
from tests.support.service.output_events import decision, other
from tests.support.service.scripted_kiosk import Recorder
from tests.support.waiting import until


def decided(name: str, made: Decision = "live", **changes: Any) -> Event:
    """Return a decision as the loop creates it."""
    outcome = SessionOutcome(name, made, () if made == "live" else ("fused_spoof",), 9, 1, 10, 5, 0.9, 0)
    answer = decision_answer(outcome, loaded(FakeEngine()), expose_score=True)
    return replace(decision(name, made), answer={**answer, **changes})


class Made:
    """Audited outputs with one output, a log and a key. ``release``: function that unblocks the disk."""

    def __init__(self, folder: Path, policy: Policy = "required") -> None:
        self.path = folder / "audit.jsonl"
        self.verifier = Verifier(write_key_pair(folder / "device.pem"))
        self.health, self.seen = Health(), Recorder()
        signer = Signer(folder / "device.pem")
        self.log = AuditLog(AuditLogOptions(self.path, policy=policy), signer)
        trail = DecisionTrail(Attester(signer, "gate-3"), self.log, "gate-3")
        self.audited_outputs = AuditedOutputs([self.seen], self.health, trail, place="home/front")

    def conditions(self) -> dict[str, str]:
        return {condition.name: condition.severity for condition in self.health.conditions}


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Made]:
    found = Made(tmp_path)
    yield found
    found.audited_outputs.close(20)


class HeldDisk:
    """`os.fsync` that blocks until it is released."""

    def __init__(self) -> None:
        self.gate, self.asked = threading.Event(), threading.Event()
        self._fsync = os.fsync

    def __call__(self, file: int) -> None:
        self.asked.set()
        assert self.gate.wait(30)
        self._fsync(file)


def test_a_decision_is_heard_of_when_its_line_is_on_the_disk(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = HeldDisk()
    monkeypatch.setattr("service.audit.log.os.fsync", disk)
    events = [other(name="before"), decided("s1"), other(name="after")]
    for event in events:
        made.audited_outputs.publish(event)
    assert disk.asked.wait(20)
    until(lambda: made.audited_outputs.stuck_s() > 0.05)
    assert [event.id for event in made.seen.events] == ["before"]
    disk.gate.set()
    until(lambda: len(made.seen.events) == 3)
    assert [event.id for event in made.seen.events] == ["before", "s1", "after"]
    assert made.audited_outputs.stuck_s() == 0
    live = made.seen.events[1]
    assert live.permits
    token = live.body(boottime_ns())["attestation"]
    claims = verify_attestation(token, made.verifier, int(time.time()) - 1, device="gate-3")
    assert (claims.jti, claims.decision, claims.source, claims.score) == ("s1", "live", "camera", 0.9)
    # Rounded down to whole seconds, so that the attestation never outlives the decision.
    assert live.expires_ns is not None
    assert claims.exp <= time.time() + (live.expires_ns - boottime_ns()) / 1e9


def test_what_a_slow_disk_lets_through_late_opens_nothing(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = HeldDisk()
    monkeypatch.setattr("service.audit.log.os.fsync", disk)
    event = replace(decided("s1"), expires_ns=boottime_ns() + 100_000_000)
    made.audited_outputs.publish(event)
    assert disk.asked.wait(20)
    until(lambda: not event.fresh(boottime_ns()))
    disk.gate.set()
    until(lambda: len(made.seen.events) == 1)
    (late,) = made.seen.events
    assert not late.fresh(boottime_ns())
    assert late.attestation is None
    assert late.body(boottime_ns())["decision"] == "uncertain"


def test_a_full_disk_opens_nothing_and_the_kiosk_is_not_ready_until_there_is_room(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = FullDisk(100)
    monkeypatch.setattr("service.audit.log.os.write", disk)
    change = {"state": "decided", "before": "deciding", "cause": "live", "session": "s1"}
    made.audited_outputs.publish(decided("s1"))
    made.audited_outputs.publish(replace(other(), data=change))
    made.audited_outputs.publish(replace(other(), data={**change, "state": "cool_down", "cause": "shown"}))
    made.audited_outputs.publish(decided("s2", "spoof"))
    until(lambda: len(made.seen.events) == 4)
    # The state change contains the decision that the outputs got.
    assert [event.data["cause"] for event in made.seen.events[1:3]] == ["uncertain", "shown"]
    for event in (made.seen.events[0], made.seen.events[3]):
        assert not event.permits
        body = event.body(boottime_ns())
        assert (body["decision"], body["reasons"]) == ("uncertain", ["audit_unavailable"])
        assert "attestation" not in body
    assert made.conditions() == {"audit_failing": "critical"}
    disk.room = 10**6
    # The kiosk becomes ready again even if nobody comes.
    until(lambda: made.conditions() == {})
    made.audited_outputs.publish(decided("s3"))
    until(lambda: made.seen.decisions == ["uncertain", "uncertain", "live"])
    made.audited_outputs.close(20)
    report = check_audit(made.path, made.verifier)
    assert report.decisions == 1
    assert report.lost >= 2


def test_where_the_log_is_not_required_a_full_disk_costs_a_stated_gap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Made(tmp_path, "best-effort")
    disk = FullDisk(0)
    monkeypatch.setattr("service.audit.log.os.write", disk)
    made.audited_outputs.publish(decided("s1"))
    until(lambda: made.seen.decisions == ["live"])
    assert made.conditions() == {"audit_failing": "warning"}
    assert made.health.ready
    disk.room = 10**6
    until(lambda: made.conditions() == {})
    made.audited_outputs.close(20)
    assert check_audit(made.path).lost >= 1


def test_what_cannot_be_signed_opens_nothing(made: Made, caplog: pytest.LogCaptureFixture) -> None:
    made.audited_outputs.publish(decided("s1", score=7.0))
    until(lambda: made.seen.decisions == ["uncertain"])
    assert made.conditions() == {"audit_failing": "critical"}
    assert "7.0" not in caplog.text


def test_it_ends_in_time_on_a_disk_that_hangs(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = HeldDisk()
    monkeypatch.setattr("service.audit.log.os.fsync", disk)
    made.audited_outputs.publish(decided("s1"))
    assert disk.asked.wait(20)
    began = time.monotonic()
    made.audited_outputs.close(0.5)
    assert time.monotonic() - began < 10
    assert made.seen.decisions == []
    disk.gate.set()


def test_the_form_that_is_written_down_hides_scores_where_they_are_hidden() -> None:
    outcome = SessionOutcome("s1", "live", (), 9, 1, 10, 5, 0.9, 0)
    answer = decision_answer(outcome, loaded(FakeEngine()), expose_score=False)
    assert (answer["score"], answer["threshold"]) == (None, None)
    assert answer["request_id"] == answer["session_id"] == "s1"
