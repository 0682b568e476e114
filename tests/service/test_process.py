"""`adsn-serve` as a separate process with the shipped model: reload, drain, settings, logs."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path

import httpx
import pytest

from runtime.capture.simulated.rig import SyntheticRig
from runtime.engines.golden import read_golden
from runtime.liveness.open import default_bundle
from service.config.settings import Settings
from tests.support.images import encode
from tests.support.models.bundles import redigest
from tests.support.service.certificates import Authority, encrypted
from tests.support.service.liveness_requests import check_problem, pair
from tests.support.service.running_service import running
from tests.support.service.serving_process import COMMAND, ENVIRONMENT, serving


def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *words], capture_output=True, text=True, timeout=60, env={**ENVIRONMENT, **environment}
    )


def person() -> dict[str, bytes]:
    made = SyntheticRig(seed=107, subject=9000).next()
    box = made.face_box
    meta = json.dumps({"face_box": [box.x, box.y, box.w, box.h]}).encode()
    rgb = made.pair.image("rgb")[:, :, ::-1]
    return {"rgb": encode(rgb), "ir": encode(made.pair.image("ir"), ".png"), "meta": meta}


def wait_for(log: Path, words: str) -> None:
    deadline = time.monotonic() + 60
    while words not in log.read_text():
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)


def test_a_model_is_replaced_without_a_failed_request_and_a_bad_one_is_not_taken(tmp_path: Path) -> None:
    bundle, log, files = tmp_path / "bundle", tmp_path / "log", person()
    shutil.copytree(default_bundle(), bundle)
    with serving(log, "--bundle", str(bundle)) as (process, address):
        statuses: list[int] = []
        stop = threading.Event()

        def ask() -> None:
            with httpx.Client() as client:
                while not stop.is_set():
                    statuses.append(client.post(f"{address}/liveness", files=files, timeout=30).status_code)

        asking = threading.Thread(target=ask)
        asking.start()
        try:
            manifest = json.loads((bundle / "manifest.json").read_text())
            (bundle / "manifest.json").write_text(json.dumps({**manifest, "version": "9.9.9-reloaded"}))
            process.send_signal(signal.SIGHUP)
            wait_for(log, "9.9.9-reloaded")
            answer = httpx.post(f"{address}/liveness", files=files, timeout=30).json()
            assert answer["model"]["version"] == "9.9.9-reloaded"

            (bundle / "golden.npz").write_bytes(b"damaged")
            process.send_signal(signal.SIGHUP)
            wait_for(log, "the model was not replaced; the old one stays in use")
            again = httpx.post(f"{address}/liveness", files=files, timeout=30).json()
            assert (again["decision"], again["score"]) == (answer["decision"], answer["score"])
        finally:
            stop.set()
            asking.join(30)
        assert len(statuses) > 3
        assert set(statuses) == {200}


def with_wrong_scores(bundle: Path) -> None:
    """Change a bundle so that it is valid, but no machine can reproduce its golden vectors."""
    shutil.copytree(default_bundle(), bundle)
    golden = read_golden((bundle / "golden.npz").read_bytes())
    for scores in golden.scores.values():
        scores += 0.3
    redigest(bundle, "golden", golden.to_bytes())


def test_a_start_that_fails_prints_no_address_and_says_why_last(tmp_path: Path) -> None:
    with_wrong_scores(tmp_path / "bundle")
    done = run("--port", "0", "--bundle", str(tmp_path / "bundle"), ADSN_ENGINE="onnx-cpu", ADSN_REQUIRE_ENGINE="true")
    assert done.returncode == 1
    assert done.stdout == ""
    assert "http://" not in done.stderr
    *before, last = done.stderr.splitlines()
    assert "ERROR adsn.service: the engine cannot start: " in last
    assert not any("ERROR" in line for line in before)


def test_a_start_that_succeeds_logs_no_error_and_prints_one_line_when_it_is_ready(tmp_path: Path) -> None:
    with serving(tmp_path / "log", "--rig", "synthetic") as (process, address):
        assert httpx.get(f"{address}/livez").status_code == 200
        httpx.post(f"{address}/liveness", files=person(), timeout=30)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) in (0, -signal.SIGTERM)
        assert process.stdout is not None
        assert process.stdout.read() == ""
    log = (tmp_path / "log").read_text()
    assert "model loaded: adsn-rgb-ir" in log
    assert "ERROR" not in log


def test_a_model_that_lets_attacks_through_is_named_at_every_start_and_in_info(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(default_bundle(), bundle)
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["operating_points"][0]["apcer"] = {"mask_paper": {"errors": 45, "trials": 50, "interval": [0.78, 0.97]}}
    manifest["parity"] = []
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    with serving(tmp_path / "log", "--bundle", str(bundle)) as (_, address):
        (found,) = httpx.get(f"{address}/info").json()["model"]["apcer_over_limit"]
    assert (found["species"], found["errors"], found["trials"]) == ("mask_paper", 45, 50)
    log = (tmp_path / "log").read_text()
    assert "WARNING adsn.service: the model adsn-rgb-ir" in log
    assert "lets attacks through: APCER above 20% for mask_paper 90.0% (45 of 50" in log


def test_a_signal_ends_it_within_its_time(tmp_path: Path) -> None:
    with serving(tmp_path / "log") as (process, address):
        assert httpx.post(f"{address}/liveness", files=person(), timeout=30).status_code == 200
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) in (0, -signal.SIGTERM)
        # 5 seconds are promised; the rest is a margin for a busy machine.
        assert time.monotonic() - began < 15


def test_a_stop_finishes_what_is_being_judged() -> None:
    with running(Settings(workers=1)) as stopping:
        stopping.engine.gate = threading.Event()
        answers: list[httpx.Response] = []
        asking = threading.Thread(target=lambda: answers.append(stopping.judge(pair())))
        asking.start()
        assert stopping.engine.entered.acquire(timeout=20)
        stopping.server.should_exit = True
        asking.join(0.3)
        assert answers == []
        stopping.engine.gate.set()
        asking.join(20)
        assert answers[0].status_code == 200
        assert answers[0].json()["decision"] == "live"


def test_the_rig_of_the_settings_is_attached(tmp_path: Path) -> None:
    with serving(tmp_path / "log", "--rig", "synthetic") as (_, address):
        answer = httpx.post(f"{address}/liveness", json={"source": "camera", "timeout_ms": 20000}, timeout=40)
        body = answer.json()
        assert answer.status_code == 200 or body["code"] == "no_face", body
        if answer.status_code == 200:
            assert body["pair"]["source"] == "camera"
            assert body["pair"]["skew_ms"] is not None
        ready = httpx.get(f"{address}/readyz").json()
        assert {camera["modality"] for camera in ready["rig"]["cameras"]} == {"rgb", "ir"}
        assert "camera" in httpx.get(f"{address}/info").json()["capabilities"]


def test_the_log_as_json_tells_of_each_answer_and_has_no_picture(tmp_path: Path) -> None:
    config, log = tmp_path / "adsn.toml", tmp_path / "log"
    config.write_text('[log]\nformat = "json"\n')
    with serving(log, "--config", str(config)) as (_, address):
        done = httpx.post(f"{address}/liveness", files=person(), headers={"X-Request-ID": "mine-1"}, timeout=30)
        check_problem(httpx.post(f"{address}/liveness", files={"rgb": b"x"}), 422, "missing_part")
        wait_for(log, "missing_part")
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    mine = next(entry for entry in entries if entry.get("request_id") == "mine-1")
    assert mine["decision"] == done.json()["decision"]
    assert mine["status"] == 200
    assert {"time", "level", "logger", "message", "ms"} <= set(mine)


def test_settings_are_checked_and_shown(tmp_path: Path) -> None:
    printed = run("--print-config")
    assert printed.returncode == 0, printed.stderr
    config = tmp_path / "adsn.toml"
    assert {"[limits]", "[log]", "[tls]", "[rig]"} <= set(re.findall(r"(?m)^#?(\[\w+\])$", printed.stdout))
    config.write_text(printed.stdout)
    assert run("--config", str(config), "--check-config").returncode == 0


@pytest.mark.parametrize(
    ("text", "environment", "says"),
    [
        ("[limits]\nbody_byte = 5\n", {}, ["adsn.toml:2", "body_byte", "body_bytes"]),
        ("port = 70000\n", {}, ["adsn.toml:1", "port"]),
        ("", {"ADSN_PROT": "80"}, ["ADSN_PROT", "ADSN_PORT"]),
        ("", {"ADSN_LIMITS__PIXELS": "few"}, ["ADSN_LIMITS__PIXELS"]),
        ('host = "0.0.0.0"\n', {}, ["0.0.0.0", "key"]),
        ('[tls]\ncertificate = "/x.pem"\n', {}, ["certificate", "key"]),
        ('host = "http://127.0.0.1:8000"\n', {}, ["adsn.toml:1", "host", "without scheme", "127.0.0.1"]),
        ("[limits]\nwrite_s = inf\n", {}, ["adsn.toml:2", "limits.write_s", "finite"]),
        ("[limits]\nwrite_s = 1e12\n", {}, ["adsn.toml:2", "limits.write_s", "3600"]),
        ('[auth]\nhosts = ["https://kiosk.local"]\n', {}, ["adsn.toml:2", "auth.hosts[0]", "kiosk.local"]),
        ('[rig]\nrgb = "v4l2:9"\nir = "v4l2:/dev/video9"\n', {}, ["rig.rgb and rig.ir name the same camera"]),
    ],
)
def test_wrong_settings_are_named(tmp_path: Path, text: str, environment: dict[str, str], says: list[str]) -> None:
    config = tmp_path / "adsn.toml"
    config.write_text(text)
    done = run("--config", str(config), "--check-config", **environment)
    assert done.returncode == 78, done.stdout
    for word in says:
        assert word in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("words", [(), ("--check-config",)])
def test_tls_files_that_cannot_be_used_end_it_before_it_serves(tmp_path: Path, words: tuple[str, ...]) -> None:
    certificate, key = Authority(tmp_path).issue("server")
    for setting, path, says in (
        ("ADSN_TLS__KEY", encrypted(key), f"tls.key: {tmp_path}/server.encrypted.key is encrypted"),
        ("ADSN_TLS__CLIENT_CA", tmp_path / "absent.pem", f"tls.client_ca: {tmp_path}/absent.pem cannot be read"),
    ):
        good = {"ADSN_TLS__CERTIFICATE": str(certificate), "ADSN_TLS__KEY": str(key)}
        done = run("--port", "0", *words, **{**good, setting: str(path)})
        assert done.returncode == 78, done.stderr
        assert says in done.stderr
        assert done.stderr.count("\n") == 1


def test_a_port_in_use_is_one_line(tmp_path: Path) -> None:
    with serving(tmp_path / "log") as (_, address):
        done = run("--port", address.rpartition(":")[2])
    assert done.returncode == 78
    assert "cannot listen" in done.stderr


def test_secrets_and_variables(tmp_path: Path) -> None:
    (tmp_path / "api_key").write_text("0123456789abcdef0123\n")
    good = run("--host", "0.0.0.0", "--secrets", str(tmp_path), "--check-config")
    assert good.returncode == 0, good.stderr
    assert "0123456789" not in good.stdout + good.stderr
