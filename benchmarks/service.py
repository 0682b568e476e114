"""Measure the service: overhead of HTTP over decoding and scoring, start-up time, and memory."""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import cv2

from benchmarks.support.measure import Row, in_turns, median, spread
from runtime.capture.simulated.rig import SyntheticRig
from runtime.core.processors import usable_cores
from runtime.core.values import Image, Pair
from runtime.engines.base import ThreadProfile
from runtime.imaging.decode import decode
from runtime.liveness.open import default_bundle, open_pipeline
from runtime.liveness.pair_pipeline import LivenessPipeline

ROUNDS, STARTS, LOAD_S = 400, 5, 10.0
PROFILES: tuple[ThreadProfile, ...] = ("throughput", "latency")
TARGET_BYTES = 60_000
READY_S, MEMORY_MIB = 1.0, 220
BOUNDARY = "adsn-benchmark"
LENGTH = re.compile(rb"(?i)\r\ncontent-length: (\d+)")


def jpeg(image: Image) -> bytes:
    """Return ``image`` as a JPEG of about 60 KB, as sent by a 640×480 camera."""
    pixels = image[:, :, ::-1] if image.shape[2] == 3 else image
    found = b""
    for quality in range(40, 101):
        good, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
        assert good
        found = data.tobytes()
        if len(found) >= TARGET_BYTES:
            break
    return found


def body(parts: dict[str, bytes]) -> bytes:
    """Return a multipart form."""
    out = b""
    for name, data in parts.items():
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"; filename="{name}"\r\n\r\n'
        out += head.encode() + data + b"\r\n"
    return out + f"--{BOUNDARY}--\r\n".encode()


class Client:
    """Client with one keep-alive connection and one prepared request, which avoids the cost of Python's HTTP client."""

    def __init__(self, port: int, payload: bytes) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        head = (
            f"POST /liveness HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary={BOUNDARY}\r\n"
            f"Content-Length: {len(payload)}\r\n\r\n"
        )
        self._request = head.encode() + payload

    def post(self) -> bytes:
        """Send the request and return the whole response, which must have status 200."""
        self._socket.sendall(self._request)
        answer, whole = b"", 1 << 30
        while len(answer) < whole:
            got = self._socket.recv(65536)
            if not got:
                raise RuntimeError("the service closed the connection.")
            answer += got
            if whole == 1 << 30 and (end := answer.find(b"\r\n\r\n")) >= 0:
                found = LENGTH.search(answer, 0, end)
                if found is None or not answer.startswith(b"HTTP/1.1 200"):
                    raise RuntimeError(f"the service answered {answer[:400]!r}")
                whole = end + 4 + int(found[1])
        return answer[end + 4 :]


@contextmanager
def serving() -> Iterator[tuple[int, int, float]]:
    """Start a service in a separate process. Yield port, process id, and seconds until it was ready."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [Path(sys.executable).parent / "adsn-serve", "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={k: v for k, v in os.environ.items() if not k.startswith("ADSN_")},
    )
    try:
        assert process.stdout is not None
        found = re.search(r":(\d+)/console", process.stdout.readline())
        if found is None:
            raise RuntimeError("adsn-serve did not start; run it by hand to see why.")
        port = int(found[1])
        while True:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/readyz")
            ready = connection.getresponse().status == 200
            connection.close()
            if ready:
                break
            time.sleep(0.005)
        yield port, process.pid, time.perf_counter() - began
    finally:
        process.terminate()
        process.wait(10)
        if process.stdout is not None:
            process.stdout.close()


def memory(pid: int, field: str) -> float:
    """Return the memory of a process in MiB, as counted by the kernel. ``field``: field in /proc."""
    text = Path(f"/proc/{pid}/status").read_text()
    found = re.search(rf"^{field}:\s+(\d+) kB", text, re.MULTILINE)
    if found is None:
        raise RuntimeError(f"/proc/{pid}/status has no {field}.")
    return int(found[1]) / 1024


def rate(functions: Sequence[Callable[[], object]]) -> float:
    """Return the total calls per second of all ``functions``, each running in its own thread."""
    counts = [0] * len(functions)
    until = time.perf_counter() + LOAD_S

    def work(index: int) -> None:
        while time.perf_counter() < until:
            functions[index]()
            counts[index] += 1

    running = [threading.Thread(target=work, args=(i,)) for i in range(len(functions))]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    return sum(counts) / LOAD_S


def start_seconds() -> float:
    """Return how long a service takes from the start of its process until it is ready."""
    with serving() as (_port, _pid, seconds):
        return seconds


def run() -> list[Row]:
    """Measure latency and throughput compared with the same work in this process, cold start, and memory."""
    made = SyntheticRig(seed=107, subject=9000).next()
    rgb, ir = jpeg(made.pair.image("rgb")), jpeg(made.pair.image("ir"))
    box = made.face_box
    meta = json.dumps({"face_box": [box.x, box.y, box.w, box.h]}).encode()
    pipelines = {profile: open_pipeline(default_bundle(), profile=profile).pipeline for profile in PROFILES}

    def in_process(pipeline: LivenessPipeline) -> object:
        pair = Pair(decode(rgb, "rgb", max_pixels=1 << 24), decode(ir, "ir", max_pixels=1 << 24))
        return pipeline.assess(pair, {"rgb": box})

    def searched(pipeline: LivenessPipeline) -> object:
        return pipeline.assess(Pair(decode(rgb, "rgb", max_pixels=1 << 24), decode(ir, "ir", max_pixels=1 << 24)))

    alone = {profile: partial(in_process, pipeline) for profile, pipeline in pipelines.items()}
    payload, boxless = body({"rgb": rgb, "ir": ir, "meta": meta}), body({"rgb": rgb, "ir": ir})
    rows = [Row("uploaded pictures", f"640×480 JPEG, {len(rgb) / 1000:.0f} KB and {len(ir) / 1000:.0f} KB")]
    starts = [start_seconds() for _ in range(STARTS)]
    with serving() as (port, pid, _):
        client = Client(port, payload)
        # Use one thread per pair on both sides. With more, threads of the last call would still spin while the next one
        # is timed.
        times = in_turns({"here": alone["throughput"], "POST": client.post}, ROUNDS)
        latency = in_turns({"here": alone["latency"]}, ROUNDS // 4)["here"]
        stages = [json.loads(client.post())["timing_ms"] for _ in range(50)]
        loops = {profile: rate([function]) for profile, function in alone.items()}
        served = [rate([Client(port, payload).post for _ in range(n)]) for n in (1, 2, 4)]
        # Without a face box: one thread per core in this process, and four connections to the service.
        cores = usable_cores()
        found_loop = rate([partial(searched, pipelines["throughput"])] * cores)
        found_served = rate([Client(port, boxless).post for _ in range(4)])
        held, peak = memory(pid, "VmRSS"), memory(pid, "VmHWM")
    ratio = median(times["POST"]) / median(times["here"])
    best = max(loops.values())
    spent = ", ".join(f"{name} {median([stage[name] for stage in stages]):.2f}" for name in stages[0])
    rows += [
        Row("decode + score in one process, one thread", spread(times["here"])),
        Row("the same, all cores", spread(latency), note="profile latency"),
        Row("POST /liveness", spread(times["POST"]), note=f"of which, ms: {spent}"),
        Row("POST /liveness over decode + score, medians", f"{ratio:.2f} ×", "≤ 1.12 ×", ratio <= 1.12),
        Row("loop in one process", ", ".join(f"{value:.1f} pairs/s ({name})" for name, value in loops.items())),
        Row(
            "POST /liveness, 1, 2 and 4 connections",
            " / ".join(f"{value:.1f}" for value in served) + " pairs/s",
            "best ≥ 0.9 of the faster loop",
            max(served) >= 0.9 * best,
            f"{max(served) / best:.2f} of the loop; clients run on the same cores",
        ),
        Row(
            "POST /liveness without a box, 4 connections",
            f"{found_served:.1f} pairs/s",
            "≥ 0.9 of a loop in one process",
            found_served >= 0.9 * found_loop,
            f"{found_served / found_loop:.2f} of {found_loop:.1f} pairs/s in {cores} threads; clients run on the same "
            "cores",
        ),
        *_process_rows(starts, held, peak),
    ]
    return rows


def _process_rows(starts: list[float], held: float, peak: float) -> list[Row]:
    return [
        Row(
            "adsn-serve, process start to ready",
            f"{median(starts):.2f} s median of {STARTS}, slowest {max(starts):.2f} s",
            f"≤ {READY_S:g} s",
            median(starts) <= READY_S,
        ),
        Row(
            "adsn-serve, resident memory after load",
            f"{held:.0f} MiB (peak {peak:.0f})",
            f"≤ {MEMORY_MIB} MiB",
            peak <= MEMORY_MIB,
        ),
    ]
