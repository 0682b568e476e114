"""The daemon as a real process on simulated cameras, run as by systemd: signals, watchdog, orderly stop and crash."""

from __future__ import annotations

import http.server
import json
import resource
import signal
import threading
import time
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from benchmarks.support.kiosk_run import KioskProcess
from runtime.bundle.signature import write_key_pair
from service.audit.attestation import verify_attestation
from service.audit.jws import Verifier
from service.audit.verify import check_audit
from service.outputs.webhook import verify

SECRET = "0123456789abcdef"
CONFIG = """
[rig]
rgb = "synthetic:?seed=107"
ir = "synthetic:?seed=107{script}"
[http]
port = 0
[log]
path = "@folder@/events.jsonl"
[decision]
hold_s = 0.2
cool_down_s = 0.1
again_s = {again}
"""
TRUST = """
[audit]
path = "@folder@/audit.jsonl"
[attestation]
key = "@folder@/device.pem"
device = "front-door"
"""
OUTPUTS = f"""
[command]
argv = ["/bin/sh", "-c", "echo $ADSN_SESSION >> @folder@/opened"]
timeout_s = 10
[webhook]
url = "http://127.0.0.1:@port@/hook"
secret = "{SECRET}"
timeout_s = 10
"""


@pytest.fixture
def receiver() -> Iterator[tuple[int, list[Any]]]:
    """Run a webhook receiver. Yield its port and the bodies with valid signatures."""
    got: list[Any] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if verify(SECRET.encode(), self.headers["Adsn-Signature"], body, time.time(), 60):
                got.append(json.loads(body))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server.server_address[1], got
    server.shutdown()
    thread.join(20)
    server.server_close()


def test_one_person_one_opening_and_a_clean_end(tmp_path: Path, receiver: tuple[int, list[Any]]) -> None:
    port, got = receiver
    text = CONFIG.format(script="", again=3000) + OUTPUTS.replace("@port@", str(port))
    with KioskProcess(tmp_path, text) as kiosk:
        kiosk.wait_for(lambda: kiosk.has_notified("READY=1"))
        kiosk.wait_for(lambda: len(got) == 1)
        kiosk.wait_for(lambda: kiosk.has_notified("WATCHDOG=1"))
        kiosk.wait_for(lambda: any("pairs/s, skew" in line for _, line in kiosk.notified))
        kiosk.wait_for(lambda: kiosk.get("/readyz")[0] == 200)
        kiosk.wait_for(lambda: bool(kiosk.events("decision")) and (tmp_path / "opened").exists())
        (decision,) = kiosk.events("decision")
        assert decision["decision"] == got[0]["decision"] == "live"
        assert 'adsn_kiosk_sessions_total{decision="live"} 1.0' in kiosk.get("/metrics")[1]
        time.sleep(1)
        code, seconds = kiosk.stop()
        assert code == 0
        assert seconds < 5
        assert kiosk.has_notified("STOPPING=1")
        # Every output gets it exactly once, with the session's identifier.
        opened = (tmp_path / "opened").read_text().split()
        assert opened == [body["id"] for body in got] == [event["id"] for event in kiosk.events("decision")]
        assert not any("Traceback" in line or " ERROR " in line for line in kiosk.said), kiosk.said
        assert any("ready: the first pair has been assessed" in line for line in kiosk.said)


def test_no_line_in_the_audit_log_no_door(tmp_path: Path, receiver: tuple[int, list[Any]]) -> None:
    port, got = receiver
    verifier = Verifier(write_key_pair(tmp_path / "device.pem"))
    text = CONFIG.format(script="", again=0.1) + TRUST + OUTPUTS.replace("@port@", str(port))
    with KioskProcess(tmp_path, text) as kiosk:
        kiosk.wait_for(lambda: len(got) == 1)
        body = got[0]
        claims = verify_attestation(body["attestation"], verifier, int(time.time()) - 5, device="front-door")
        assert (claims.jti, claims.decision, claims.source) == (body["id"], "live", "camera")
        assert claims.exp - claims.iat <= 2
        # Decisions requested through the page are signed and logged in the same way.
        asked = urllib.request.Request(
            kiosk.url + "/liveness", b'{"source": "camera", "timeout_ms": 5000}', {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(asked, timeout=10) as answer:
            page = json.load(answer)
        assert verify_attestation(page["attestation"], verifier, int(time.time())).jti == page["request_id"]
        # The audit log's file can no longer grow, as on a full disk.
        size = (tmp_path / "audit.jsonl").stat().st_size
        resource.prlimit(kiosk.process.pid, resource.RLIMIT_FSIZE, (size, -1))
        kiosk.wait_for(lambda: any("audit_unavailable" in body["reasons"] for body in got))
        withheld = next(body for body in got if "audit_unavailable" in body["reasons"])
        assert (withheld["decision"], withheld.get("attestation")) == ("uncertain", None)
        kiosk.wait_for(lambda: "audit_failing" in kiosk.get("/readyz")[1])
        assert kiosk.get("/readyz")[0] == 503
        resource.prlimit(kiosk.process.pid, resource.RLIMIT_FSIZE, (-1, -1))
        kiosk.wait_for(lambda: kiosk.get("/readyz")[0] == 200)
        before = len(got)
        kiosk.wait_for(lambda: any(body["decision"] == "live" for body in got[before:]))
        assert "adsn_audit_seq" in kiosk.get("/metrics")[1]
        assert kiosk.stop()[0] == 0
        assert not any("Traceback" in line for line in kiosk.said), kiosk.said
    report = check_audit(tmp_path / "audit.jsonl", verifier)
    assert report.checkpoints >= 1
    assert report.lost >= 1
    lines = [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()]
    written = {line["request_id"]: line for line in lines if line["kind"] == "decision"}
    assert written[page["request_id"]]["caller"] != "site/door"
    opened = (tmp_path / "opened").read_text().split()
    assert len(opened) >= 2
    for session in opened:
        line = written[session]
        assert (line["decision"], line["caller"], line["device"]) == ("live", "site/door", "front-door")
    assert withheld["id"] not in (*written, *opened)


def test_faults_are_seen_pass_and_never_open(tmp_path: Path) -> None:
    script = "&script=unplug@4s,replug@6.5s,hang@10s:2.5s"
    with KioskProcess(tmp_path, CONFIG.format(script=script, again=0.1)) as kiosk:
        kiosk.wait_for(lambda: any(e["decision"] == "live" for e in kiosk.events("decision")))
        kiosk.wait_for(lambda: kiosk.get("/readyz")[0] == 200)
        for name in ("camera_lost", "camera_stalled"):
            shown = f'adsn_condition{{name="{name}",severity="critical",subject="ir"}} 1.0'
            kiosk.wait_for(partial(lambda shown: shown in kiosk.get("/metrics")[1], shown))
            status, body = kiosk.get("/readyz")
            assert (status, name in body) == (503, True)
            kiosk.wait_for(lambda: kiosk.get("/readyz")[0] == 200)
        before = len(kiosk.events("decision"))
        kiosk.wait_for(lambda: len(kiosk.events("decision")) > before)
        # The log can no longer be written: a file size limit acts like a full disk.
        resource.prlimit(kiosk.process.pid, resource.RLIMIT_FSIZE, (kiosk.log.stat().st_size + 10, -1))
        kiosk.wait_for(lambda: "output_failing" in kiosk.get("/readyz")[1])
        assert kiosk.get("/readyz")[0] == 200
        resource.prlimit(kiosk.process.pid, resource.RLIMIT_FSIZE, (-1, -1))
        kiosk.wait_for(lambda: "output_failing" not in kiosk.get("/readyz")[1])
        kiosk.wait_for(lambda: bool(kiosk.events("lost")))
        code, _ = kiosk.stop()
        assert code == 0
        down = 0
        seen = set()
        for event in kiosk.events():
            if event["kind"] == "health" and event["severity"] == "critical" and event["subject"] == "ir":
                down += 1 if event["raised"] else -1
                seen.add(event["name"])
            if event["kind"] == "decision":
                assert not (down and event["decision"] == "live"), event
        assert seen >= {"camera_lost", "camera_stalled"}
        assert not any("Traceback" in line for line in kiosk.said), kiosk.said


def test_a_kiosk_that_was_killed_starts_again_and_opens_for_nobody_who_left(tmp_path: Path) -> None:
    text = CONFIG.format(script="", again=3000) + OUTPUTS.replace("@port@", "9")
    with KioskProcess(tmp_path, text) as kiosk:
        kiosk.wait_for(lambda: (tmp_path / "opened").exists())
        assert kiosk.stop(signal.SIGKILL)[0] == -signal.SIGKILL
    with kiosk.log.open("ab") as log:
        log.write(b'{"kind":"decision","decision":"li')
    nobody = text.replace("seed=107", "seed=107&presence=100s:1s")
    with KioskProcess(tmp_path, nobody) as again:
        again.wait_for(lambda: again.has_notified("READY=1"))
        again.wait_for(lambda: again.has_notified("WATCHDOG=1"))
        # SIGTERM must also work during start-up and during an assessment.
        assert again.stop()[0] == 0
        assert len((tmp_path / "opened").read_text().split()) == 1
        assert again.events("state")[-1]["state"] == "idle"


def test_an_engine_that_cannot_start_is_an_exit_code(tmp_path: Path) -> None:
    config = CONFIG.format(script="", again=1)
    with KioskProcess(tmp_path, f'bundle = "{tmp_path}/absent"\n' + config) as kiosk:
        assert kiosk.process.wait(60) == 78
    assert any("bundle: " in line and "no such model folder" in line for line in kiosk.said)
    # Nothing listens there.
    nowhere = 'engine = "remote"\nrequire_engine = true\n' + config + '[remote]\nurl = "http://127.0.0.1:9"\n'
    with KioskProcess(tmp_path, nowhere) as kiosk:
        assert kiosk.process.wait(60) == 1
    (said,) = [number for number, line in enumerate(kiosk.said) if "the engine cannot start" in line]
    assert " ERROR adsn.kiosk: " in kiosk.said[said]
    # Nothing is logged after it, and no page was announced before.
    assert not any(" INFO " in line for line in kiosk.said[said:])
    assert not any("console: " in line for line in kiosk.said)
    assert not kiosk.has_notified("READY=1")
