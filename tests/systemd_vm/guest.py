"""Program that runs as root in the booted machine: it starts, uses, breaks and stops the units.

It prints one line of JSON for each check, which `test_systemd_vm` evaluates. It uses only the standard library, because
Debian's own Python runs it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import traceback
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.systemd_vm.gpioboard import Board

SERVE, KIOSK = "http://127.0.0.1:8000", "http://127.0.0.1:8001"
PAIRS = Path("/checks/pairs")
PROPERTIES = "ActiveState SubState Result ExecMainStatus MainPID NRestarts StatusText ControlGroup"
KIOSK_SETTINGS = """
[rig]
rgb = "v4l2:/dev/video0?fourcc=YUYV&size=640x480"
ir = "v4l2:/dev/video4?fourcc=GREY&size=640x480"
strobe = "none"
max_skew_ms = 16

[log]
path = "/var/log/adsn-kiosk/events.jsonl"

[audit]
path = "/var/log/adsn-kiosk/audit.jsonl"
"""
# Small images, a low frame rate and long timeouts, because an emulated CPU takes a second per pair.
DOOR_SETTINGS = """
[rig]
rgb = "synthetic:?moments=4&fps=5&wait=1&size=320x240"
ir = "synthetic:?moments=4&fps=5&wait=1&size=320x240"
strobe = "steady"

[decision]
deadline_s = 60
max_age_s = 1.9
absent_s = 30
min_pairs = 2

[log]
path = "/var/log/adsn-kiosk/door.jsonl"

[gpio]
chip = "{chip}"
line = 0
pulse_s = 5
"""
# The group that the comments in the unit recommend for a GPIO relay.
DOOR_GROUP = """[Service]
SupplementaryGroups=gpio
"""
SERVE_SETTINGS = """
[attestation]
device = "gate-3"

[audit]
path = "/var/log/adsn-serve/audit.jsonl"
"""
# As in the comments in the unit.
SERVE_CREDENTIAL = """[Service]
LoadCredential=device.pem:/etc/adsn/device.pem
Environment=ADSN_ATTESTATION__KEY=%d/device.pem
"""
Check = Callable[[], dict[str, Any]]
CHECKS: list[Check] = []


def check(function: Check) -> Check:
    CHECKS.append(function)
    return function


def call(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)


def systemctl(verb: str, unit: str) -> dict[str, Any]:
    """Call systemctl, and report the result and the duration."""
    began = time.monotonic()
    done = call("systemctl", verb, unit)
    return {"code": done.returncode, "said": done.stderr[-500:], "seconds": round(time.monotonic() - began, 2)}


def show(unit: str) -> dict[str, str]:
    done = call("systemctl", "show", unit, *(f"--property={name}" for name in PROPERTIES.split()))
    return dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)


def journal(unit: str) -> str:
    return call("journalctl", "--no-pager", "-q", "-o", "cat", "-u", unit).stdout


def wait(true: Callable[[], object], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if true():
            return True
        time.sleep(0.25)
    return False


def get(url: str) -> tuple[int, str]:
    """Return status and body of a page, or status 0 without a response."""
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError as error:
        return 0, str(error)


def judge(species: str) -> dict[str, Any]:
    """Return the response of ``POST /liveness`` to a pair."""
    body = b""
    for name, file in (("rgb", f"{species}-0-rgb.jpg"), ("ir", f"{species}-0-ir.png")):
        head = f'--edge\r\nContent-Disposition: form-data; name="{name}"; filename="{file}"\r\n\r\n'
        body += head.encode() + (PAIRS / file).read_bytes() + b"\r\n"
    headers = {"Content-Type": "multipart/form-data; boundary=edge"}
    request = urllib.request.Request(f"{SERVE}/liveness", body + b"--edge--\r\n", headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


def process(pid: str) -> dict[str, str]:
    """Return the accounts, capabilities and core dump limit of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    status = {line.split(":", 1)[0]: line.split(":", 1)[1].strip() for line in lines if ":" in line}
    limits = Path(f"/proc/{pid}/limits").read_text().splitlines()
    found = {name: status[name] for name in ("Uid", "Groups", "CapEff", "CapBnd", "NoNewPrivs", "Seccomp")}
    found["core"] = next(line.split()[4] for line in limits if line.startswith("Max core file size"))
    return found


def beside(pid: str, command: str) -> dict[str, Any]:
    """Run a shell command as root, with the view of the file system that a process has."""
    done = call("nsenter", "--target", pid, "--mount", "--", "/bin/sh", "-c", command)
    return {"code": done.returncode, "said": (done.stdout + done.stderr).strip()[-300:]}


def among(unit: str, command: str) -> dict[str, Any]:
    """Run a shell command as root in the control group of a unit, which determines the access to devices."""
    group = Path("/sys/fs/cgroup" + show(unit)["ControlGroup"])
    done = call("/bin/sh", "-c", f"echo $$ > {group}/cgroup.procs; {command}")
    return {"code": done.returncode, "said": (done.stdout + done.stderr).strip()[-300:]}


@check
def boot() -> dict[str, Any]:
    wait(lambda: call("systemctl", "is-system-running").stdout.strip() != "starting", 120)
    return {"failed_units": call("systemctl", "--failed", "--plain", "--no-legend").stdout.split()}


@check
def serve_starts() -> dict[str, Any]:
    started = systemctl("start", "adsn-serve")
    state = show("adsn-serve")
    return {
        "started": started,
        "state": state,
        # There is no need to wait, because the start returns only when the service is ready.
        "ready": get(f"{SERVE}/readyz")[0],
        "process": process(state["MainPID"]),
        "live": judge("bona_fide")["decision"],
        "screen": judge("replay_screen")["decision"],
    }


@check
def serve_is_shut_in() -> dict[str, Any]:
    pid = show("adsn-serve")["MainPID"]
    Path("/home/secret").write_text("of a user")
    Path("/tmp/secret").write_text("of another program")
    return {
        "etc": beside(pid, "touch /etc/there"),
        "opt": beside(pid, "touch /opt/adsn/there"),
        "home": beside(pid, "ls -A /home"),
        "tmp": beside(pid, "ls -A /tmp"),
        "cameras": beside(pid, "ls /dev/video0"),
        "own": beside(pid, "touch /var/lib/adsn-serve/there /var/cache/adsn-serve/there /var/log/adsn-serve/there"),
        "camera_device": among("adsn-serve", "head -c 1 /dev/video0"),
    }


@check
def serve_reloads() -> dict[str, Any]:
    before = show("adsn-serve")["MainPID"]
    reloaded = systemctl("reload", "adsn-serve")
    again = wait(lambda: journal("adsn-serve").count("model loaded: adsn-rgb-ir") == 2, 60)
    return {
        "reloaded": reloaded,
        "again": again,
        "same": before == show("adsn-serve")["MainPID"],
        "live": judge("bona_fide")["decision"],
    }


@check
def serve_comes_back() -> dict[str, Any]:
    before = show("adsn-serve")["MainPID"]
    os.kill(int(before), signal.SIGKILL)
    back = wait(lambda: show("adsn-serve")["MainPID"] not in ("0", before) and get(f"{SERVE}/readyz")[0] == 200, 120)
    return {"back": back, "restarts": show("adsn-serve")["NRestarts"], "live": judge("bona_fide")["decision"]}


@check
def serve_stops() -> dict[str, Any]:
    return {"stopped": systemctl("stop", "adsn-serve"), "state": show("adsn-serve")}


@check
def serve_with_wrong_settings() -> dict[str, Any]:
    settings = Path("/etc/adsn/serve.toml")
    kept = settings.read_text()
    settings.write_text("prot = 8000\n")
    systemctl("reset-failed", "adsn-serve")
    started = systemctl("start", "adsn-serve")
    time.sleep(5)
    state = show("adsn-serve")
    settings.write_text(kept)
    return {"started": started, "state": state, "named": "prot" in journal("adsn-serve")}


@check
def serve_with_secrets() -> dict[str, Any]:
    settings, drop_in = Path("/etc/adsn/serve.toml"), Path("/etc/systemd/system/adsn-serve.service.d/secrets.conf")
    kept = settings.read_text()
    settings.write_text(SERVE_SETTINGS)
    drop_in.parent.mkdir()
    drop_in.write_text(SERVE_CREDENTIAL)
    call("systemctl", "daemon-reload")
    systemctl("reset-failed", "adsn-serve")
    started = systemctl("start", "adsn-serve")
    token = judge("bona_fide")["attestation"]
    log = Path("/var/log/adsn-serve/audit.jsonl")
    verified = call("/opt/adsn/bin/adsn-serve", "audit", "verify", str(log), "--public-key", "/etc/adsn/device.pub.pem")
    checked = call("/opt/adsn/bin/adsn-serve", "verify", token, "--public-key", "/etc/adsn/device.pub.pem")
    found = {
        "started": started,
        "lines": len(log.read_text().splitlines()),
        "mode": oct(log.stat().st_mode & 0o777),
        "audit": [verified.returncode, verified.stdout + verified.stderr],
        "token": [checked.returncode, checked.stdout + checked.stderr],
        "key_seen_by_adsn": call("su", "-s", "/bin/sh", "adsn", "-c", "cat /etc/adsn/device.pem").returncode == 0,
    }
    systemctl("stop", "adsn-serve")
    settings.write_text(kept)
    drop_in.unlink()
    call("systemctl", "daemon-reload")
    return found


@check
def kiosk_starts() -> dict[str, Any]:
    Path("/etc/adsn/kiosk.toml").write_text(KIOSK_SETTINGS)
    started = systemctl("start", "adsn-kiosk")
    state = show("adsn-kiosk")
    if state["MainPID"] == "0":
        return {"started": started, "state": state, "journal": journal("adsn-kiosk")[-3000:]}
    opened = call("ls", "-l", f"/proc/{state['MainPID']}/fd").stdout
    return {
        "started": started,
        "state": state,
        "process": process(state["MainPID"]),
        "video": call("getent", "group", "video").stdout.split(":")[2],
        "opened": sorted({word for word in opened.split() if word.startswith("/dev/video")}),
        "ready": wait(lambda: get(f"{KIOSK}/readyz")[0] == 200, 60),
        "rig": get(f"{KIOSK}/readyz")[1],
    }


@check
def kiosk_is_shut_in() -> dict[str, Any]:
    pid = show("adsn-kiosk")["MainPID"]
    return {
        "etc": beside(pid, "touch /etc/there"),
        "own": beside(pid, "touch /var/lib/adsn-kiosk/there /var/log/adsn-kiosk/there"),
        "camera_device": among("adsn-kiosk", ": < /dev/video0"),
        "disk": among("adsn-kiosk", "head -c 1 /dev/vda"),
        "memory": among("adsn-kiosk", "head -c 1 /dev/mem"),
        "log": sorted(path.name for path in Path("/var/log/adsn-kiosk").iterdir()),
    }


@check
def kiosk_hangs() -> dict[str, Any]:
    before, began = show("adsn-kiosk"), time.monotonic()
    os.kill(int(before["MainPID"]), signal.SIGSTOP)
    back = wait(lambda: show("adsn-kiosk")["NRestarts"] != before["NRestarts"], 90)
    after = round(time.monotonic() - began, 1)
    active = wait(lambda: show("adsn-kiosk")["ActiveState"] == "active", 120)
    return {
        "back": back,
        "seconds": after,
        "active": active,
        "watchdog": "Watchdog timeout" in journal("adsn-kiosk"),
        "ready": wait(lambda: get(f"{KIOSK}/readyz")[0] == 200, 60),
    }


@check
def kiosk_stops() -> dict[str, Any]:
    began = time.monotonic()
    locked = call("/opt/adsn/bin/adsn-kiosk", "--config", "/etc/adsn/kiosk.toml", "--lock-door").returncode
    return {
        "lock_door": [locked, round(time.monotonic() - began, 1)],
        "stopped": systemctl("stop", "adsn-kiosk"),
        # systemd forgets a unit that exited cleanly, with the details that `show` would print.
        "journal": journal("adsn-kiosk").rpartition("Stopping adsn-kiosk")[2],
    }


@check
def a_door() -> dict[str, Any]:
    """Open the line of the relay with a live person and kill the daemon. The line must be locked again."""
    board = Board()
    # This kernel's driver ignores the board's replies while it probes, and waits four seconds for each.
    if not wait(lambda: [*Path("/dev").glob("gpiochip*")], 90):
        return {"failed": "no GPIO chip: " + call("dmesg").stdout[-1500:]}
    (chip,) = Path("/dev").glob("gpiochip*")
    call("groupadd", "gpio")
    call("chgrp", "gpio", str(chip))
    chip.chmod(0o660)
    drop_in = Path("/etc/systemd/system/adsn-kiosk.service.d/relay.conf")
    drop_in.parent.mkdir()
    drop_in.write_text(DOOR_GROUP)
    Path("/etc/adsn/kiosk.toml").write_text(DOOR_SETTINGS.format(chip=chip))
    call("systemctl", "daemon-reload")
    started = systemctl("start", "adsn-kiosk")
    opened = wait(lambda: board.levels[0] == 1, 120)
    if not opened:
        return {"failed": f"the door never opened: {journal('adsn-kiosk')[-2500:]} {get(f'{KIOSK}/readyz')}"}
    pid, settings = show("adsn-kiosk")["MainPID"], Path("/etc/adsn/kiosk.toml").read_text()
    # The settings are no longer TOML: only the daemon's note names the line to lock.
    Path("/etc/adsn/kiosk.toml").write_text("[[" + settings)
    os.kill(int(pid), signal.SIGKILL)
    killed = time.monotonic()
    kept = wait(lambda: not Path(f"/proc/{pid}").exists(), 5) and board.levels[0] == 1
    locked = wait(lambda: board.levels[0] == 0, 60)
    down = next((at for at, line, level in board.changes if at > killed and (line, level) == (0, 0)), killed)
    Path("/etc/adsn/kiosk.toml").write_text(settings)
    again = wait(lambda: board.levels[0] == 1, 180)
    before = time.monotonic()
    stopped = systemctl("stop", "adsn-kiosk")
    events = map(json.loads, Path("/var/log/adsn-kiosk/door.jsonl").read_text().splitlines())
    return {
        "started": started,
        "opened": opened,
        "kept_by_the_board": kept,
        "locked": locked,
        "locked_after_s": round(down - killed, 1),
        "opened_again": again,
        "stopped": stopped,
        "locked_by_stop": board.levels[0] == 0,
        "locked_by_stop_after_s": round(board.changes[-1][0] - before, 2),
        "decisions": [event["decision"] for event in events if event["kind"] == "decision"],
    }


@check
def uninstalled_while_it_runs() -> dict[str, Any]:
    systemctl("start", "adsn-serve")
    call("systemctl", "enable", "adsn-serve")
    pid = show("adsn-serve")["MainPID"]
    done = call("sh", "/src/deploy/install.sh", "--uninstall", "--purge")
    return {
        "code": done.returncode,
        "said": (done.stdout + done.stderr)[-1000:],
        "ended": not Path(f"/proc/{pid}").exists(),
        "answers": get(f"{SERVE}/livez")[0],
        "left": [str(p) for base in ("/opt", "/etc/adsn", "/var/lib", "/var/log") for p in Path(base).glob("adsn*")],
        "wanted": call("sh", "-c", "ls /etc/systemd/system/*.wants").stdout.count("adsn"),
    }


def main() -> None:
    mark = sys.argv[1]
    for function in CHECKS:
        began = time.monotonic()
        try:
            found = function()
        except Exception:
            found = {"failed": traceback.format_exc()[-1500:]}
        found |= {"check": function.__name__, "took": round(time.monotonic() - began, 1)}
        print("\n" + mark + json.dumps(found))
    print(f"{mark}exit 0")
    call("systemctl", "poweroff", "--force", "--force")


if __name__ == "__main__":
    main()
