"""Over HTTP: decisions are signed, logged and counted. A decision that cannot be logged is not returned."""

from __future__ import annotations

import errno
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from runtime.bundle.signature import write_key_pair
from runtime.core.errors import ConfigError, InferenceFailed
from service.app import create_app
from service.audit.attestation import verify_attestation
from service.audit.jws import Verifier
from service.audit.verify import check_audit
from service.config.settings import Settings
from service.config.trust import AttestationSettings, AuditSettings
from tests.support.fakes import FakeEngine, FakeFeed, loaded
from tests.support.images import ir_file, rgb_file
from tests.support.service.answers import checked
from tests.support.service.running_service import RunningService, running

BOX = [200.0, 120.0, 200.0, 200.0]


def files(ir_level: int = 180, **meta: Any) -> dict[str, bytes]:
    return {"rgb": rgb_file(), "ir": ir_file(ir_level), "meta": json.dumps({"face_box": BOX, **meta}).encode()}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    write_key_pair(tmp_path / "device.pem")
    return Settings(
        attestation=AttestationSettings(key=tmp_path / "device.pem", device="gate-3"),
        audit=AuditSettings(path=tmp_path / "audit.jsonl", checkpoint_every=2),
    )


@pytest.fixture
def signed(settings: Settings) -> Iterator[RunningService]:
    with running(settings) as service:
        yield service


def verifier(tmp_path: Path) -> Verifier:
    return Verifier(tmp_path / "device.pub.pem")


@pytest.mark.parametrize(("level", "decision"), [(180, "live"), (60, "spoof"), (2, "uncertain")])
def test_an_answer_is_signed(signed: RunningService, tmp_path: Path, level: int, decision: str) -> None:
    body = signed.judge(files(level, nonce="nonce-0001", session_id="s-1")).json()
    checked(body)
    claims = verify_attestation(
        body["attestation"], verifier(tmp_path), int(time.time()), nonce="nonce-0001", device="gate-3"
    )
    assert claims.decision == body["decision"] == decision
    assert claims.live == (decision == "live")
    assert (claims.jti, claims.session_id, claims.source) == (body["request_id"], "s-1", "upload")
    assert (claims.score, claims.reasons) == (body["score"], body["reasons"])


def test_without_a_key_nothing_is_signed(service: RunningService) -> None:
    assert service.judge(files()).json().get("attestation") is None


def test_hidden_scores_are_neither_signed_nor_written_down(settings: Settings, tmp_path: Path) -> None:
    with running(settings.model_copy(update={"expose_score": False})) as service:
        body = service.judge(files()).json()
    claims = verify_attestation(body["attestation"], verifier(tmp_path), int(time.time()))
    assert claims.score is None
    assert '"score":null' in (tmp_path / "audit.jsonl").read_text()


def test_each_decision_has_its_line_and_an_error_has_none(signed: RunningService, tmp_path: Path) -> None:
    answers = [signed.judge(files(level)).json() for level in (180, 60, 2)]
    signed.engine.error = InferenceFailed("it burnt.")
    assert signed.judge(files()).status_code == 503
    path = tmp_path / "audit.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    decided = [line for line in lines if line["kind"] == "decision"]
    assert [line["request_id"] for line in decided] == [answer["request_id"] for answer in answers]
    assert [line["decision"] for line in decided] == ["live", "spoof", "uncertain"]
    assert {line["caller"] for line in decided} == {"local"}
    assert {line["device"] for line in decided} == {"gate-3"}
    text = path.read_text()
    assert "bbox" not in text
    assert "attestation" not in text
    report = check_audit(path, verifier(tmp_path))
    assert (report.decisions, report.checkpoints) == (3, 1)


def full(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    """Make writes to the audit log fail, as on a full disk."""
    write = os.write

    def refuse(file: int, data: bytes) -> int:
        if os.path.realpath(f"/proc/self/fd/{file}") == str(path):
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(file, data)

    monkeypatch.setattr("service.audit.log.os.write", refuse)


def test_a_full_disk_gives_no_decision(signed: RunningService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        full(patch, tmp_path / "audit.jsonl")
        response = signed.judge(files(nonce="nonce-0001"))
        assert response.status_code == 503
        problem = response.json()
        assert (problem["code"], problem["retryable"]) == ("audit_unavailable", True)
        assert "decision" not in problem
        assert "attestation" not in problem
    # The nonce is still unused, because the request returned no decision.
    assert signed.judge(files(nonce="nonce-0001")).json()["decision"] == "live"
    assert check_audit(tmp_path / "audit.jsonl").lost == 1


def test_best_effort_answers_all_the_same(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    audit = settings.audit.model_copy(update={"policy": "best-effort"})
    with running(settings.model_copy(update={"audit": audit})) as service, monkeypatch.context() as patch:
        full(patch, tmp_path / "audit.jsonl")
        assert service.judge(files()).json()["decision"] == "live"
        assert sample(service, "adsn_audit_failures_total") == 1


def test_what_cannot_be_used_ends_the_start(tmp_path: Path) -> None:
    for wrong in (
        Settings(attestation=AttestationSettings(key=tmp_path / "none.pem")),
        Settings(audit=AuditSettings(path=tmp_path / "none" / "audit.jsonl")),
    ):
        with pytest.raises(ConfigError, match="none"):
            create_app(wrong, lambda: loaded(FakeEngine()))


# Counters.


def samples(service: RunningService) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    response = service.client.get("/metrics")
    assert response.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return {
        (s.name, tuple(sorted(s.labels.items()))): s.value
        for family in text_string_to_metric_families(response.text)
        for s in family.samples
    }


def sample(service: RunningService, name: str, **labels: str) -> float:
    return samples(service)[name, tuple(sorted(labels.items()))]


def test_decisions_are_counted() -> None:
    with running(Settings()) as service:
        before = samples(service)
        assert before["adsn_requests_total", (("decision", "live"),)] == 0
        for level in (180, 180, 60, 2):
            service.judge(files(level, rgb_timestamp_ns=10**9, ir_timestamp_ns=10**9 + 4_000_000))
        service.judge({"rgb": b"", "ir": b""})
        assert sample(service, "adsn_requests_total", decision="live") == 2
        assert sample(service, "adsn_requests_total", decision="spoof") == 1
        assert sample(service, "adsn_requests_total", decision="uncertain") == 1
        assert sample(service, "adsn_requests_total", decision="error") == 1
        assert sample(service, "adsn_problems_total", code="missing_part") == 1
        assert sample(service, "adsn_reasons_total", reason="ir_unlit") >= 1
        assert sample(service, "adsn_request_seconds_count") == 5
        assert sample(service, "adsn_inference_seconds_count") == 4
        assert sample(service, "adsn_pair_skew_seconds_bucket", le="0.005") == 4
        assert sample(service, "adsn_queue_depth") == 0
        assert sample(service, "adsn_queue_limit") == 16 + Settings().worker_count
        assert sample(service, "adsn_ready") == 1
        assert sample(service, "adsn_engine_degraded") == 0
        engine = next(dict(labels) for (name, labels) in samples(service) if name == "adsn_engine_info")
        assert (engine["backend"], engine["precision"], engine["model"]) == ("fake", "int8", "fake")


def test_repeated_answers_are_counted_once() -> None:
    with running(Settings()) as service:
        for _ in range(3):
            service.judge(files(), headers={"Idempotency-Key": "k"})
        assert sample(service, "adsn_requests_total", decision="live") == 1


def test_a_rigs_cameras_are_counted() -> None:
    feed = FakeFeed()
    feed.camera("rgb", "running", frames=100, drops={"late": 3}, reconnects=2, fps=30.0)
    feed.camera("ir", "lost", frames=50, drops={}, reconnects=0, fps=0.0)
    feed.set(rejected={"pair_skew": 4})
    with running(Settings(), feed=feed) as service:
        assert sample(service, "adsn_camera_up", camera="rgb") == 1
        assert sample(service, "adsn_camera_up", camera="ir") == 0
        assert sample(service, "adsn_frames_total", camera="rgb") == 100
        assert sample(service, "adsn_frames_dropped_total", camera="rgb", cause="late") == 3
        assert sample(service, "adsn_camera_reconnects_total", camera="rgb") == 2
        assert sample(service, "adsn_pairs_rejected_total", reason="pair_skew") == 4


def test_no_caller_can_make_labels(service: RunningService) -> None:
    before = {key for key in samples(service)}
    for number in range(20):
        service.client.get(f"/nowhere/{number}")
        service.client.get("/info", headers={"X-API-Key": f"wrong-{number}", "X-Request-ID": f"r-{number}"})
        service.judge(files(session_id=f"person-{number}", nonce=f"nonce-{number:04d}"))
    new = {name for name, _ in {key for key in samples(service)} - before}
    assert new <= {"adsn_reasons_total", "adsn_problems_total", "adsn_condition"}
