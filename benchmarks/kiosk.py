"""What the kiosk costs and how fast it is: ``python -m benchmarks.kiosk [--minutes 20] [--core 1] [--faults]``; writes
kiosk.md.

A separate process, two simulated cameras of 640×480 at 30 frames per second that always see a person, the INT8
model on the processor, and an event log; its page is watched, which is where each pair's latency comes from. What is
measured includes simulating the cameras.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import os
import tempfile
import threading
import time
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.support import kiosk_faults
from benchmarks.support.kiosk_run import KioskProcess
from benchmarks.support.machine import describe
from benchmarks.support.measure import Row, median, p99

PAGE = Path(__file__).resolve().parent / "kiosk.md"
WARM_UP_S = 5.0
FIRST_S = 60.0
LIMITS = {"latency_ms": 25.0, "stop_s": 5.0, "growth": 0.02}
CONFIG = """
precision = "int8"
engine = "onnx-cpu"
[rig]
rgb = "synthetic:?seed=107&size=640x480&fps=30"
ir = "synthetic:?seed=107&size=640x480&fps=30"
[http]
port = 0
[log]
path = "@folder@/events.jsonl"
[decision]
hold_s = 0.2
cool_down_s = 0.1
again_s = 0.1
"""


class Watcher:
    """Thread that reads ``/events`` of a kiosk and keeps the pairs with their arrival times."""

    def __init__(self, url: str) -> None:
        self.pairs: list[tuple[float, Mapping[str, Any]]] = []
        self._answer = urllib.request.urlopen(url + "/events", timeout=60)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        kind = ""
        with contextlib.suppress(OSError, ValueError, AttributeError):
            for line in self._answer:
                name, _, value = line.decode().rstrip("\n").partition(": ")
                if name == "event":
                    kind = value
                elif name == "data" and kind == "pair":
                    self.pairs.append((time.monotonic(), json.loads(value)))


def steady(minutes: float, core: int | None = None) -> list[Row]:
    """Run a kiosk for the given time with a person always present. ``core``: the only CPU core to use; None means
    any."""
    seconds = minutes * 60
    first = min(FIRST_S, seconds / 2)
    with tempfile.TemporaryDirectory() as folder, KioskProcess(Path(folder), CONFIG, core) as kiosk:
        began = time.monotonic()
        ready = kiosk.wait_for(lambda: kiosk.has_notified("READY=1")) - began
        watcher = Watcher(kiosk.url)
        time.sleep(WARM_UP_S)
        watcher.pairs.clear()
        start, cpu, decided = time.monotonic(), kiosk.cpu_seconds(), len(kiosk.events("decision"))
        time.sleep(first)
        resident = [kiosk.resident_bytes()]
        time.sleep(seconds - first)
        resident.append(kiosk.resident_bytes())
        wall, cpu = time.monotonic() - start, kiosk.cpu_seconds() - cpu
        pairs = [pair for _, pair in list(watcher.pairs)]
        sessions = kiosk.events("decision")[decided:]
        code, stop_s = kiosk.stop()
    numbers = [int(pair["number"]) for pair in pairs]
    missed = numbers[-1] - numbers[0] + 1 - len(numbers)
    late = [float(pair["latency_ms"]) for pair in pairs]
    growth = resident[1] / resident[0] - 1
    worst = p99(late)
    return [
        Row("start to READY=1", f"{ready:.2f} s"),
        Row("pairs judged", f"{len(pairs) / wall:.2f} a second", note=f"{len(pairs)} in {wall:.0f} s"),
        Row(
            "pairs dropped",
            f"{missed} ({100 * missed / (missed + len(pairs)):.2f} %)",
            "every pair is judged",
            missed == 0,
        ),
        Row(
            "pair complete to decision out",
            f"{median(late):.2f} ms median, {worst:.2f} ms p99, {max(late):.1f} ms worst",
            f"p99 ≤ {LIMITS['latency_ms']:.0f} ms",
            worst <= LIMITS["latency_ms"],
        ),
        Row("sessions decided", f"{len(sessions) / wall:.2f} a second", note=_kinds(sessions)),
        Row("processor", f"{100 * cpu / wall:.0f} % of one core", note="both cameras are simulated in it"),
        Row("resident memory", f"{resident[0] / 2**20:.0f} MiB after {first:.0f} s"),
        Row(
            "resident memory, later",
            f"{resident[1] / 2**20:.0f} MiB after {seconds:.0f} s",
            f"growth ≤ {100 * LIMITS['growth']:.0f} %",
            growth <= LIMITS["growth"],
            f"{100 * growth:+.2f} %",
        ),
        Row("SIGTERM to exit, judging", f"{stop_s:.2f} s, exit code {code}", "≤ 5 s", stop_s <= LIMITS["stop_s"]),
    ]


def _kinds(sessions: Sequence[Mapping[str, Any]]) -> str:
    count = {kind: sum(event["decision"] == kind for event in sessions) for kind in ("live", "spoof", "uncertain")}
    return ", ".join(f"{number} {kind}" for kind, number in count.items())


def main() -> None:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0, help="how long; at least half a minute")
    parser.add_argument("--core", type=int, help="pin the kiosk to this processor, and what watches it to the others")
    parser.add_argument("--faults", action="store_true", help="break things too, about two minutes")
    asked = parser.parse_args()
    others = os.sched_getaffinity(0) - {asked.core}
    if asked.core is not None and others:
        os.sched_setaffinity(0, others)
    rows = steady(max(0.5, asked.minutes), asked.core)
    verdict = {True: "met", False: "**not met**", None: ""}
    lines = [
        "# The kiosk",
        "",
        f"Measured on {datetime.date.today().isoformat()} with `python -m benchmarks.kiosk --minutes {asked.minutes:g}"
        f"{'' if asked.core is None else f' --core {asked.core}'}{' --faults' if asked.faults else ''}`.",
        "",
        "Two simulated cameras, 640×480 at 30 frames per second, always see a person; INT8 on the processor.",
        *(["The kiosk, with the cameras in it, is pinned to one processor."] if asked.core is not None else []),
        "",
        *(f"- {name}: {value}" for name, value in describe().items()),
        "",
        "| what | measured | limit | | note |",
        "| --- | --- | --- | --- | --- |",
        *(f"| {row.what} | {row.value} | {row.limit} | {verdict[row.met]} | {row.note} |" for row in rows),
    ]
    if asked.faults:
        lines += ["", *kiosk_faults.table(Watcher)]
    elif PAGE.exists():
        # Keep the section of faults from an earlier run.
        _, found, rest = PAGE.read_text(encoding="utf-8").partition("\n## Faults")
        lines += [f"{found}{rest}".rstrip()] if found else []
    PAGE.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
