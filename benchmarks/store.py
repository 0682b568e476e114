"""Measure the cost of a nonce if replicas share a store: ``python -m benchmarks.store``.

Two services on this machine get the same pair with a new nonce in alternation. One keeps nonces in memory, the other
uses a Redis on loopback. Needs redis-server and the package redis. Writes store.md next to this file.
"""

from __future__ import annotations

import datetime
import json
import os
import re
import secrets
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import httpx
import typer

from benchmarks.service import Client, body, jpeg
from benchmarks.support.machine import describe
from benchmarks.support.measure import p99
from runtime.capture.simulated.rig import SyntheticRig

FOLDER = Path(__file__).resolve().parent
NONCE = b"n" * 24
WARM = 50
SETTLE_S = 60.0
SERVE = [sys.executable, "-c", "from service.cli.serve import main; main()", "--port", "0"]


def free_port() -> int:
    """Return a free port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def processor_s(pid: int) -> float:
    """Return the CPU time of a process in seconds. Unlike wall time, it hardly depends on other load."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@dataclass(slots=True)
class Measured:
    """Measured times.

    ``own`` and ``shared``: milliseconds of each request, without and with a store. ``refused``: number of requests that
    timed out. ``processor``: milliseconds of CPU time per request, by process.
    """

    own: list[float] = field(default_factory=list)
    shared: list[float] = field(default_factory=list)
    refused: int = 0
    processor: dict[str, float] = field(default_factory=dict)


@contextmanager
def redis() -> Iterator[tuple[str, int]]:
    """Start a Redis on loopback with an append-only file, as in a deployment. Yield its address and process id."""
    if shutil.which("redis-server") is None:
        raise SystemExit("redis-server is not installed: apt-get install redis-server")
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        words = ["--port", str(port), "--bind", "127.0.0.1", "--dir", folder, "--save", "", "--appendonly", "yes"]
        process = subprocess.Popen(["redis-server", *words], stdout=subprocess.DEVNULL)
        try:
            yield f"redis://127.0.0.1:{port}/0", process.pid
        finally:
            process.kill()
            process.wait()


@contextmanager
def serving(**environment: str) -> Iterator[tuple[int, int]]:
    """Start a service that accepts nonces. Yield its port and process id."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("ADSN_")}
    process = subprocess.Popen(
        SERVE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env={**own, **environment}
    )
    try:
        assert process.stdout is not None
        found = re.search(r":(\d+)/console", process.stdout.readline())
        if found is None:
            raise SystemExit("adsn-serve did not start; run it by hand to see why.")
        port, deadline = int(found[1]), time.monotonic() + SETTLE_S
        url = f"http://127.0.0.1:{port}/readyz"
        while (answer := httpx.get(url)).status_code != 200 or answer.json()["conditions"]:
            if time.monotonic() > deadline:
                raise SystemExit(f"the service does not take nonces: {answer.text}")
            time.sleep(0.1)
        yield port, process.pid
    finally:
        process.terminate()
        process.wait()


class NonceClient(Client):
    """Client that sends a prepared request with a new nonce each time."""

    def post(self) -> bytes:
        """Send the request with a new nonce."""
        prepared = self._request
        self._request = prepared.replace(NONCE, secrets.token_hex(len(NONCE) // 2).encode())
        try:
            return super().post()
        finally:
            self._request = prepared


def measure(rounds: int) -> Measured:
    """Send requests to both services in alternation. Each service is first in half of the rounds."""
    made, found = SyntheticRig(seed=107, subject=9000).next(), Measured()
    box = [made.face_box.x, made.face_box.y, made.face_box.w, made.face_box.h]
    meta = json.dumps({"face_box": box, "nonce": NONCE.decode()}).encode()
    payload = body({"rgb": jpeg(made.pair.image("rgb")), "ir": jpeg(made.pair.image("ir")), "meta": meta})
    assert payload.count(NONCE) == 1
    with ExitStack() as stack:
        url, store = stack.enter_context(redis())
        limits = {"ADSN_LIMITS__REPLAYS": "1000000"}
        services = [stack.enter_context(serving(**more, **limits)) for more in ({}, {"ADSN_STORE__URL": url})]
        exchange(services, payload, WARM)
        pids = {"service without a store": services[0][1], "service with one": services[1][1], "Redis": store}
        before = {name: processor_s(pid) for name, pid in pids.items()}
        found.own, found.shared, found.refused = exchange(services, payload, rounds)
        found.processor = {name: (processor_s(pid) - before[name]) / rounds * 1000 for name, pid in pids.items()}
    return found


def exchange(services: list[tuple[int, int]], payload: bytes, rounds: int) -> tuple[list[float], list[float], int]:
    """Return the milliseconds of each request to the first and the second service, and the number of refusals."""
    clients = [NonceClient(port, payload) for port, _ in services]
    taken: tuple[list[float], list[float]] = ([], [])
    refused = 0
    while len(taken[0]) < rounds:
        ms = [0.0, 0.0]
        try:
            for which in (0, 1) if len(taken[0]) % 2 else (1, 0):
                began = time.perf_counter()
                clients[which].post()
                ms[which] = (time.perf_counter() - began) * 1000
        except RuntimeError:
            # Status 503: on an overloaded machine the store may take more than 50 ms. This pair of requests is only
            # counted.
            refused += 1
            if refused > rounds:
                raise
            clients = [NonceClient(port, payload) for port, _ in services]
            time.sleep(0.3)
            continue
        for times, value in zip(taken, ms, strict=True):
            times.append(value)
    return *taken, refused


def page(found: Measured) -> str:
    """Return store.md."""
    more = statistics.median(found.shared) - statistics.median(found.own)
    # Consecutive requests are sent under the same load, so their differences are more precise than the difference of
    # two medians.
    paired = statistics.median(b - a for a, b in zip(found.own, found.shared, strict=True))
    load, cores = os.getloadavg()[0], len(os.sched_getaffinity(0))
    busy = " The machine had other work meanwhile: times below include waiting for it." if load > cores else ""
    rows = [
        f"| {name} | {statistics.median(ms):.2f} | {p99(ms):.2f} |"
        for name, ms in (("in one process", found.own), ("Redis on loopback, append-only file", found.shared))
    ]
    used = ", ".join(f"{name} {ms:.2f} ms" for name, ms in found.processor.items())
    return "\n".join(
        [
            "# Time for a nonce with a shared store",
            "",
            f"Measured on {datetime.date.today().isoformat()} with `python -m benchmarks.store --rounds "
            f"{len(found.own)}`. `POST /liveness` with a face box and a nonce is sent in turns to two services: one "
            "keeps nonces in its own memory, the other in a shared store.",
            "",
            *(f"- {name}: {value}" for name, value in describe().items()),
            f"- load average at the end: {load:.1f}.{busy}",
            "",
            "| nonces | median, ms | p99, ms |",
            "| --- | --- | --- |",
            *rows,
            "",
            f"The medians differ by {more:.2f} ms. The median difference between two successive requests is "
            f"{paired:.2f} ms. The limit is 0.5 ms. Requests that were refused because the store took longer than "
            f"50 ms are left out: {found.refused}.",
            "",
            f"Processor time per request: {used}.",
            "",
        ]
    )


def run(rounds: Annotated[int, typer.Option(help="Requests to each service.")] = 1000) -> None:
    """Measure what a nonce costs with a store, and write store.md."""
    text = page(measure(rounds))
    (FOLDER / "store.md").write_text(text)
    typer.echo(text)


if __name__ == "__main__":
    typer.run(run)
