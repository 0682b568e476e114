"""The systemd unit and the code agree on timeouts and permissions."""

from __future__ import annotations

import shutil
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest

from runtime.core.units import SECOND
from service.kiosk import cli, daemon, loop, monitor
from service.kiosk.state_machine import EXPIRY_LIMIT_NS
from service.monitoring import rig_conditions

ROOT = Path(__file__).resolve().parents[3]
UNIT = ROOT / "deploy/systemd/adsn-kiosk.service"


def unit() -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for line in UNIT.read_text().splitlines():
        name, sign, value = line.partition("=")
        if sign and not line.startswith("#"):
            found[name].append(value)
    return found


def test_times_fit_the_code() -> None:
    says = unit()
    watchdog, stop, start = (float(says[name][0]) for name in ("WatchdogSec", "TimeoutStopSec", "TimeoutStartSec"))
    # A rig can report its fault and be reopened several times before systemd intervenes.
    assert watchdog * SECOND >= 10 * max(rig_conditions.SILENT_NS, monitor.STUCK_NS)
    assert watchdog > loop.WAIT_S * 10
    # An orderly stop fits into the time limit of the guard timer, and that fits into systemd's limit.
    assert daemon.STOP_S + 0.5 + 1 < cli.END_S < 5
    # The limit also applies to ExecStopPost, which must start Python and reach the relay line on a slow board.
    assert stop >= 20
    # systemd must not wait that long for a daemon that hangs, perhaps with the door open.
    assert float(says["TimeoutAbortSec"][0]) == 5
    assert says["RuntimeDirectory"] == ["adsn-kiosk"]
    assert daemon.EXTEND_EVERY_S * 2 < daemon.EXTEND_S <= start
    assert says["Type"] == ["notify"]
    assert says["Restart"] == ["always"]
    assert says["StartLimitIntervalSec"] == ["0"]
    # A restart must not open the door again for an earlier decision.
    assert EXPIRY_LIMIT_NS <= 2 * SECOND <= float(says["RestartSec"][0]) * SECOND


def test_trouble_shows_within_two_seconds() -> None:
    assert rig_conditions.SILENT_NS + monitor.PERIOD_S * SECOND < 2 * SECOND
    assert monitor.STUCK_NS + monitor.PERIOD_S * SECOND < 2 * SECOND


def test_it_is_confined() -> None:
    says = unit()
    assert says["LimitCORE"] == ["0"]
    assert says["CapabilityBoundingSet"] == [""]
    for name in (
        "NoNewPrivileges",
        "DynamicUser",
        "ProtectHome",
        "PrivateTmp",
        "RestrictNamespaces",
        "LockPersonality",
    ):
        assert says[name] == ["yes"], name
    assert says["ProtectSystem"] == ["strict"]
    assert says["DevicePolicy"] == ["closed"]
    assert all(device.startswith("char-") for device in says["DeviceAllow"])


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze: apt-get install systemd")
def test_systemd_finds_nothing_wrong_with_it(tmp_path: Path) -> None:
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace("/opt/adsn/bin/adsn-kiosk", "/bin/true"))
    done = subprocess.run(["systemd-analyze", "verify", copy], capture_output=True, text=True, timeout=60)
    complaints = [line for line in (done.stdout + done.stderr).splitlines() if UNIT.name in line]
    assert done.returncode == 0, done.stderr
    assert not complaints
