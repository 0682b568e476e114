"""Cause every fault of a running kiosk that needs no hardware, and report the effect."""

from __future__ import annotations

import datetime
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from benchmarks.support.kiosk_run import KioskProcess

BASE = """
[rig]
rgb = "synthetic:?seed=107{strobe}"
ir = "synthetic:?seed=107{strobe}{script}"
[http]
port = 0
[log]
path = "@folder@/events.jsonl"
[decision]
hold_s = 0.2
cool_down_s = 0.1
again_s = 0.1
"""
STROBE = "&strobe=1:1"
AT_S, FOR_S = 6, 5


class Watching(Protocol):
    """`benchmarks.kiosk.Watcher`."""

    @property
    def pairs(self) -> list[tuple[float, Mapping[str, Any]]]: ...


@dataclass(frozen=True, slots=True)
class Result:
    """Effect of a fault. ``shown_s``: time from the last scored pair, or from the fault, until `/readyz` showed it.
    ``live``: number of ``live`` decisions meanwhile."""

    fault: str
    condition: str
    ready: str
    shown_s: float
    live: int
    after: str


SCRIPTS: tuple[tuple[str, str, str], ...] = (
    ("infrared camera unplugged, and plugged in again", "", f"unplug@{AT_S}s,replug@{AT_S + FOR_S}s"),
    ("infrared camera sends nothing", "", f"stall@{AT_S}s:{FOR_S}s"),
    ("its driver hangs inside a read", "", f"hang@{AT_S}s:{FOR_S}s"),
    ("infrared camera covered", "", f"cover@{AT_S}s:{FOR_S}s"),
    ("illuminator off", STROBE, f"emitter_off@{AT_S}s:{FOR_S}s"),
    ("strobe stuck", STROBE, f"strobe_stuck@{AT_S}s:{FOR_S}s"),
    ("pictures that cannot be read", "", f"corrupt@{AT_S}s:{FOR_S}s"),
    ("the same picture again and again", "", f"freeze@{AT_S}s:{FOR_S}s"),
)


def conditions(kiosk: KioskProcess) -> tuple[int, list[str]]:
    """Return the status of ``/readyz``, and the conditions raised in the event log."""
    now: dict[str, None] = {}
    for event in kiosk.events("health"):
        name = event["name"] + (f" ({event['subject']})" if event["subject"] else "")
        if event["raised"]:
            now[name] = None
        else:
            now.pop(name, None)
    return kiosk.get("/readyz")[0], list(now)


def scripted(fault: str, strobe: str, script: str, watch: Callable[[str], Watching]) -> Result:
    """Run a kiosk with a scripted fault of a simulated camera, which ends by itself."""
    text = BASE.format(strobe=strobe, script=f"&script={script}")
    with tempfile.TemporaryDirectory() as folder, KioskProcess(Path(folder), text) as kiosk:
        kiosk.wait_for(lambda: kiosk.has_notified("READY=1"))
        watcher = watch(kiosk.url)
        kiosk.wait_for(lambda: kiosk.get("/readyz")[0] == 200)
        deadline = time.monotonic() + AT_S + FOR_S
        while kiosk.get("/readyz")[0] == 200 and time.monotonic() < deadline:
            time.sleep(0.02)
        shown = time.monotonic()
        status, names = conditions(kiosk)
        before = [at for at, _ in list(watcher.pairs) if at <= shown]
        late = shown - before[-1] if before else float("nan")
        if status == 200:
            # This fault does not raise a condition. It is a reason of each decision.
            time.sleep(1)
        kiosk.wait_for(lambda: kiosk.get("/readyz")[0] == 200)
        back = len(kiosk.events("decision"))
        kiosk.wait_for(lambda: len(kiosk.events("decision")) > back)
        first = kiosk.events("decision")[-1]
        kiosk.stop()
        live, reasons = _live_while_critical(kiosk)
    named = ", ".join(names) if status != 200 else f"none; reasons {', '.join(reasons) or 'none'}"
    return Result(fault, named, str(status), late, live, f"decides again: {first['decision']}")


def _live_while_critical(kiosk: KioskProcess) -> tuple[int, list[str]]:
    """Return the number of ``live`` decisions while the kiosk was not ready, and the reasons of all other decisions."""
    ready, live, reasons = False, 0, dict[str, None]()
    for event in kiosk.events():
        if event["kind"] == "health":
            ready = event["ready"]
        elif event["kind"] == "decision":
            live += event["decision"] == "live" and not ready
            reasons |= dict.fromkeys(event["reasons"])
    return live, list(reasons)


def full_disk() -> Result:
    """Fill the disk of the event log, then free it again."""
    text = BASE.format(strobe="", script="")
    with tempfile.TemporaryDirectory() as folder, KioskProcess(Path(folder), text) as kiosk:
        kiosk.wait_for(lambda: bool(kiosk.events("decision")) and kiosk.get("/readyz")[0] == 200)
        limit = resource.RLIMIT_FSIZE
        resource.prlimit(kiosk.process.pid, limit, (kiosk.log.stat().st_size + 10, -1))
        deed = time.monotonic()
        shown = kiosk.wait_for(lambda: "output_failing" in kiosk.get("/readyz")[1])
        status = kiosk.get("/readyz")[0]
        time.sleep(2)
        resource.prlimit(kiosk.process.pid, limit, (-1, -1))
        kiosk.wait_for(lambda: "output_failing" not in kiosk.get("/readyz")[1])
        kiosk.wait_for(lambda: bool(kiosk.events("lost")))
        lost = kiosk.events("lost")[0]["count"]
    return Result(
        "disk full for the event log", "output_failing (log)", str(status), shown - deed, 0,
        f"the log goes on, and says that {lost} events are lost",
    )  # fmt: skip


def broker_away() -> Result:
    """Kill mosquitto and start it again."""
    program = shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin")
    fault = "MQTT broker gone for 5 s, and back"
    if program is None:
        return Result(fault, "not measured: no mosquitto here", "", float("nan"), 0, "")
    with tempfile.TemporaryDirectory() as folder:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        config = Path(folder) / "mosquitto.conf"
        config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n")

        def broker() -> subprocess.Popen[bytes]:
            return subprocess.Popen([program, "-c", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

        running = broker()
        text = BASE.format(strobe="", script="") + f'[mqtt]\nhost = "127.0.0.1"\nport = {port}\ntls = false\n'
        try:
            with KioskProcess(Path(folder), text) as kiosk:
                kiosk.wait_for(lambda: kiosk.has_notified("READY=1"))
                kiosk.wait_for(lambda: "output_failing" not in kiosk.get("/readyz")[1])
                running.kill()
                running.wait()
                deed = time.monotonic()
                shown = kiosk.wait_for(lambda: "output_failing" in kiosk.get("/readyz")[1])
                status = kiosk.get("/readyz")[0]
                decided = len(kiosk.events("decision"))
                time.sleep(5)
                meanwhile = len(kiosk.events("decision")) - decided
                running = broker()
                back = kiosk.wait_for(lambda: "output_failing" not in kiosk.get("/readyz")[1])
        finally:
            running.kill()
            running.wait()
    took = back - deed - 5
    return Result(
        fault, "output_failing (mqtt)", str(status), shown - deed, 0,
        f"{meanwhile} decisions meanwhile, none of them sent later; connected again after {took:.1f} s",
    )  # fmt: skip


def killed() -> Result:
    """Kill the kiosk with signal 9, and start it again as systemd would."""
    text = BASE.format(strobe="", script="")
    with tempfile.TemporaryDirectory() as folder:
        with KioskProcess(Path(folder), text) as kiosk:
            kiosk.wait_for(lambda: bool(kiosk.events("decision")))
            kiosk.stop(signal.SIGKILL)
            before = len(kiosk.events("decision"))
        began = time.monotonic()
        with KioskProcess(Path(folder), text.replace("seed=107", "seed=107&presence=100s:1s")) as again:
            ready = again.wait_for(lambda: again.has_notified("READY=1")) - began
            time.sleep(2)
            live = len(again.events("decision")) - before
    return Result("kill -9, and started again", "the process is gone", "", 0.0, live, f"ready after {ready:.1f} s")


def table(watch: Callable[[str], Watching]) -> list[str]:
    """Return the section of the page."""
    results = [scripted(*row, watch) for row in SCRIPTS]
    results += [full_disk(), broker_away(), killed()]
    lines = [
        "## Faults",
        "",
        f"Each in a process of its own on {datetime.date.today().isoformat()}. *Shown after*: from the last pair that "
        "was judged, or from the deed, until `/readyz` and the event log said so. *Live*: decisions for live until it "
        "had passed.",
        "",
        "| fault | condition | `/readyz` | shown after | live | afterwards |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for r in results:
        shown = "" if r.shown_s != r.shown_s else f"{r.shown_s:.2f} s"
        lines.append(f"| {r.fault} | {r.condition} | {r.ready} | {shown} | {r.live} | {r.after} |")
    return lines
