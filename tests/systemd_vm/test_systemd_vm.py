"""The units under a running systemd: ``make test-systemd``. The machine is booted once for all tests; `guest` runs in
it.

Needs root, debootstrap, QEMU and a package index. The machine has Debian 12 with its kernel and systemd, adsn installed
by ``deploy/install.sh``, and the kernel's simulated cameras. An emulated CPU is slow, so no test measures speed.
"""

from __future__ import annotations

import json
import shutil
from typing import Any

import pytest

from tests.support.machines.vm_kernel import cache_folder, missing_programs
from tests.systemd_vm import machine

pytestmark = [pytest.mark.systemd_vm, pytest.mark.timeout(1800)]
Results = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    missing = missing_programs() + [name for name in ("debootstrap", "mke2fs") if shutil.which(name) is None]
    # Skip with a message that names the missing programs, as in the tests of the V4L2 machine.
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    disk = machine.make_disk(tmp_path_factory.mktemp("disk"))
    found = {r["check"]: r for r in machine.run(disk, cache_folder(), 1200)}
    disk.unlink()
    for name, result in found.items():
        assert "failed" not in result, f"{name}: {result['failed']}"
    return found


def test_it_boots_without_a_unit_that_fails(results: Results) -> None:
    assert results["boot"]["failed_units"] == []


@pytest.mark.parametrize("name", ["serve", "kiosk"])
def test_a_start_returns_when_it_can_judge(results: Results, name: str) -> None:
    found = results[f"{name}_starts"]
    assert found["started"]["code"] == 0, found
    assert (found["state"]["ActiveState"], found["state"]["NRestarts"]) == ("active", "0")
    assert found["ready"] in (True, 200)


@pytest.mark.parametrize("name", ["serve", "kiosk"])
def test_who_runs_may_nothing(results: Results, name: str) -> None:
    process = results[f"{name}_starts"]["process"]
    assert len(set(process["Uid"].split())) == 1
    assert process["Uid"].split()[0] != "0"
    assert {int(process[kind], 16) for kind in ("CapEff", "CapBnd")} == {0}
    assert (process["NoNewPrivs"], process["Seccomp"], process["core"]) == ("1", "2", "0")


def test_the_service_judges(results: Results) -> None:
    found = results["serve_starts"]
    assert found["state"]["StatusText"] == "serving adsn-rgb-ir 0.1.0"
    assert (found["live"], found["screen"]) == ("live", "spoof")


def test_the_service_is_shut_in(results: Results) -> None:
    found = results["serve_is_shut_in"]
    for place in ("etc", "opt"):
        assert "Read-only file system" in found[place]["said"]
    assert (found["home"]["said"], found["tmp"]["said"]) == ("", "")
    assert found["own"]["code"] == 0
    assert "No such file" in found["cameras"]["said"]
    assert "Operation not permitted" in found["camera_device"]["said"]


def test_a_reload_keeps_the_process(results: Results) -> None:
    found = results["serve_reloads"]
    assert found["reloaded"]["code"] == 0
    assert (found["again"], found["same"], found["live"]) == (True, True, "live")


def test_what_is_killed_comes_back(results: Results) -> None:
    found = results["serve_comes_back"]
    assert (found["back"], found["restarts"], found["live"]) == (True, "1", "live")


def test_a_stop_is_no_failure(results: Results) -> None:
    found = results["serve_stops"]
    assert found["stopped"]["code"] == 0
    assert (found["state"]["ActiveState"], found["state"]["Result"]) == ("inactive", "success")


def test_wrong_settings_are_not_tried_again(results: Results) -> None:
    found = results["serve_with_wrong_settings"]
    assert found["started"]["code"] == 1
    state = found["state"]
    assert (state["ActiveState"], state["ExecMainStatus"], state["NRestarts"]) == ("failed", "78", "0")
    assert found["named"]


def test_secrets_reach_the_service_and_nobody_else(results: Results) -> None:
    """Check responses signed with root's key, which is passed as a credential, and the audit log signed with it."""
    found = results["serve_with_secrets"]
    assert found["started"]["code"] == 0
    assert found["key_seen_by_adsn"] is False
    assert found["token"][0] == 0
    assert json.loads(found["token"][1].rpartition("}")[0] + "}")["iss"] == "gate-3"
    assert found["audit"][0] == 0
    assert json.loads(found["audit"][1])["decisions"] == 1
    assert found["mode"] == "0o640"


def test_the_kiosk_reads_its_cameras_and_nothing_else(results: Results) -> None:
    found, shut = results["kiosk_starts"], results["kiosk_is_shut_in"]
    assert found["opened"] == ["/dev/video0", "/dev/video4"]
    assert found["video"] in found["process"]["Groups"].split()
    assert 61184 <= int(found["process"]["Uid"].split()[0]) <= 65519, "a dynamic user's"
    assert {camera["state"] for camera in json.loads(found["rig"])["rig"]["cameras"]} == {"running"}
    assert shut["camera_device"]["code"] == 0
    for device in ("disk", "memory"):
        assert "Operation not permitted" in shut[device]["said"]
    assert "Read-only file system" in shut["etc"]["said"]
    assert shut["own"]["code"] == 0
    assert {"audit.jsonl", "events.jsonl"} <= set(shut["log"])


def test_a_kiosk_that_hangs_is_restarted_by_the_watchdog(results: Results) -> None:
    found = results["kiosk_hangs"]
    assert (found["back"], found["active"], found["watchdog"], found["ready"]) == (True, True, True, True)
    assert 20 < found["seconds"] < 60


def test_the_door_is_locked_after_every_end(results: Results) -> None:
    found = results["kiosk_stops"]
    assert found["lock_door"][0] == 0
    assert found["stopped"]["code"] == 0
    # The daemon and ExecStopPost both ended cleanly and in time; otherwise this would say "Failed with result".
    assert "adsn-kiosk.service: Deactivated successfully." in found["journal"], found["journal"]
    assert "Failed with result" not in found["journal"]


def test_a_door_opens_for_the_live_and_no_end_of_the_daemon_keeps_it_open(results: Results) -> None:
    """Check that a decision drives a kernel line, and that the board keeps its level when the daemon is killed."""
    found = results["a_door"]
    assert found["started"]["code"] == 0
    assert found["opened"]
    assert found["decisions"]
    assert set(found["decisions"]) == {"live"}
    assert found["kept_by_the_board"], "nothing was left to lock"
    assert found["locked"]
    assert found["locked_after_s"] < 30
    assert (found["opened_again"], found["stopped"]["code"], found["locked_by_stop"]) == (True, 0, True)


def test_uninstalling_ends_what_runs_and_leaves_nothing(results: Results) -> None:
    found = results["uninstalled_while_it_runs"]
    assert (found["code"], found["ended"], found["answers"], found["wanted"]) == (0, True, 0, 0), found["said"]
    assert found["left"] == []
