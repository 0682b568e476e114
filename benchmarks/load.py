"""Load test of one hour at 80 % of the service's capacity, with misbehaving callers.

``python -m benchmarks.load --minutes 60`` writes load.md next to this file. It shows that no valid request fails, that
the slowest responses do not get slower, and how memory develops: over the hour, and in a new service that gets only
damaged images at full speed.
"""

from __future__ import annotations

import datetime
import json
import random
import socket
import statistics
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.service import BOUNDARY, Client, body, jpeg, memory, rate, serving
from benchmarks.support.machine import describe
from benchmarks.support.measure import p99
from runtime.capture.simulated.rig import SyntheticRig

FOLDER = Path(__file__).resolve().parent
CALLERS = 4
SHARE = 0.8
FAULTS_PER_S = 5.0
SAMPLE_S = 5.0
DAMAGED, STEPS = 30_000, 10
BROKEN_BYTES = 500
"""Number of damaged bytes in a request, enough to hit headers, sizes and boxes too, and to request images of all
sizes."""


@dataclass(slots=True)
class LoadRecord:
    """Results. ``answers``: for each response, seconds since the start and milliseconds since the request was due.
    ``held``: memory in MiB."""

    answers: list[tuple[float, float]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    late: int = 0
    faults: dict[str, int] = field(default_factory=dict)
    held: list[tuple[float, float]] = field(default_factory=list)


def honest(port: int, payload: bytes, per_s: float, began: float, until: float, record: LoadRecord) -> None:
    """Send pairs at a fixed rate, whatever the latency.

    Real callers do not send less if the service is slow.
    """
    client, number = Client(port, payload), 0
    while True:
        due = began + number / per_s
        number += 1
        now = time.perf_counter()
        if due >= until:
            return
        if due > now:
            time.sleep(due - now)
        elif now - due > 1:
            record.late += 1
        try:
            client.post()
        except (OSError, RuntimeError) as error:
            record.errors.append(str(error)[:200])
            client = Client(port, payload)
            continue
        # Latency counts from the time at which the request was due, because after a stall the waiting requests are sent
        # late.
        record.answers.append((due - began, (time.perf_counter() - due) * 1000))


def head_of(payload: bytes) -> bytes:
    """Return the headers of a request with ``payload``."""
    head = b"POST /liveness HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary=%s\r\n"
    return head % BOUNDARY.encode() + b"Content-Length: %d\r\n\r\n" % len(payload)


def damaged(payload: bytes, places: int, rng: random.Random) -> bytes:
    """Return ``payload`` with bytes replaced at ``places`` positions."""
    broken = bytearray(payload)
    for _ in range(places):
        broken[rng.randrange(len(broken))] = rng.randrange(256)
    return bytes(broken)


def wear(port: int, pid: int, payload: bytes) -> list[float]:
    """Send `DAMAGED` damaged requests. Return the memory of the service in MiB, at the start and after each tenth of
    them."""
    rng, held = random.Random(1), [memory(pid, "VmRSS")]
    for _ in range(STEPS):
        for _ in range(DAMAGED // STEPS):
            with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
                connection.sendall(head_of(payload) + damaged(payload, BROKEN_BYTES, rng))
                connection.recv(65536)
        held.append(memory(pid, "VmRSS"))
    return held


def misbehave(port: int, payload: bytes, until: float, record: LoadRecord) -> None:
    """Drop connections, send damaged images, stop in the middle of a request, and send invalid HTTP. Uses a fixed
    seed."""
    rng = random.Random(0)
    head = head_of(payload)
    slow: list[tuple[float, socket.socket]] = []
    while time.perf_counter() < until:
        kind = rng.choice(("abort", "abort after sending", "damaged", "slow", "no HTTP", "cut picture"))
        record.faults[kind] = record.faults.get(kind, 0) + 1
        try:
            connection = socket.create_connection(("127.0.0.1", port), timeout=5)
            if kind == "abort":
                connection.sendall(head + payload[: rng.randrange(len(payload))])
            elif kind == "abort after sending":
                connection.sendall(head + payload)
            elif kind == "slow":
                connection.sendall(head + payload[:1000])
                slow.append((time.perf_counter() + 30, connection))
                connection = None  # type: ignore[assignment]  # closed later
            elif kind == "no HTTP":
                connection.sendall(rng.randbytes(2000))
            else:
                connection.sendall(head + damaged(payload, 1 if kind == "damaged" else BROKEN_BYTES, rng))
                connection.recv(65536)
            if connection is not None:
                connection.close()
        except OSError:
            pass  # the service may have closed the connection first
        for at, held in list(slow):
            if time.perf_counter() > at:
                held.close()
                slow.remove((at, held))
        time.sleep(rng.expovariate(FAULTS_PER_S))
    for _, held in slow:
        held.close()


def watch(pid: int, began: float, until: float, record: LoadRecord) -> None:
    """Record the memory of the service."""
    while time.perf_counter() < until:
        record.held.append((time.perf_counter() - began, memory(pid, "VmRSS")))
        time.sleep(SAMPLE_S)


def report(record: LoadRecord, minutes: float, capacity: float, per_s: float, worn: list[float]) -> str:
    """Return load.md."""
    whole = minutes * 60
    tenth = [ms for at, ms in record.answers if at < whole / 10], [ms for at, ms in record.answers if at > whole * 0.9]
    settled = [(at, held) for at, held in record.held if at > whole / 10] or record.held
    slope = statistics.linear_regression(*zip(*settled, strict=True)).slope * 3600 if len(settled) > 2 else float("nan")
    every = [ms for _, ms in record.answers]
    lines = [
        "# Load",
        "",
        f"Measured on {datetime.date.today().isoformat()} with `python -m benchmarks.load --minutes {minutes:g}`: "
        f"`adsn-serve` as shipped, {CALLERS} callers on the same machine.",
        "",
        *(f"- {name}: {value}" for name, value in describe().items()),
        "",
        "| what | measured |",
        "| --- | --- |",
        f"| capacity, {CALLERS} connections | {capacity:.0f} pairs/s |",
        f"| offered | {per_s:.0f} pairs/s for {minutes:g} minutes |",
        f"| answered | {len(record.answers)} |",
        f"| honest requests that failed | {len(record.errors)} |",
        f"| callers over a second behind their schedule | {record.late} times |",
        f"| misbehaving requests | {sum(record.faults.values())}: "
        + ", ".join(f"{count} {kind}" for kind, count in sorted(record.faults.items()))
        + " |",
        f"| latency from when a request was due | {statistics.median(every):.1f} ms median, {p99(every):.1f} ms p99 |",
        f"| p99 in the first and the last tenth | {p99(tenth[0]):.1f} ms, {p99(tenth[1]):.1f} ms |",
        f"| resident memory, first and last | {record.held[0][1]:.1f} MiB, {record.held[-1][1]:.1f} MiB |",
        f"| its slope after the first tenth | {slope:+.1f} MiB an hour |",
        f"| a new service, after each {DAMAGED // STEPS} damaged requests | "
        + ", ".join(f"{value:.0f}" for value in worn)
        + " MiB |",
    ]
    return "\n".join([*lines, *(f"\nAn error: {error}" for error in record.errors[:5])]) + "\n"


def main(
    minutes: Annotated[float, typer.Option(help="How long.", min=0.2)] = 60,
    write: Annotated[bool, typer.Option(help="Write load.md.")] = True,
) -> None:
    """Put the service under load."""
    made = SyntheticRig(seed=107, subject=9000).next()
    box = made.face_box
    meta = json.dumps({"face_box": [box.x, box.y, box.w, box.h]}).encode()
    payload = body({"rgb": jpeg(made.pair.image("rgb")), "ir": jpeg(made.pair.image("ir")), "meta": meta})
    record = LoadRecord()
    with serving() as (port, pid, _):
        capacity = rate([Client(port, payload).post for _ in range(CALLERS)])
        per_s = capacity * SHARE
        began = time.perf_counter()
        until = began + minutes * 60
        threads = [
            threading.Thread(target=honest, args=(port, payload, per_s / CALLERS, began, until, record))
            for _ in range(CALLERS)
        ]
        threads += [
            threading.Thread(target=misbehave, args=(port, payload, until, record)),
            threading.Thread(target=watch, args=(pid, began, until, record)),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    with serving() as (port, pid, _):
        rate([Client(port, payload).post for _ in range(CALLERS)])
        worn = wear(port, pid, payload)
    text = report(record, minutes, capacity, per_s, worn)
    print(text)
    if write:
        (FOLDER / "load.md").write_text(text)


if __name__ == "__main__":
    typer.run(main)
