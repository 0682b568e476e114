"""The service: what HTTP adds to decoding and scoring, how soon it is ready, and what memory it holds."""

from __future__ import annotations

import http.client
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import cv2

from benchmarks.measure import Row, in_turns, median, spread
from runtime.assemble import default_bundle, open_pipeline
from runtime.cameras.synthetic import SyntheticRig
from runtime.imagefile import decode
from runtime.values import Image, Pair

ROUNDS, STARTS, LOAD_S = 400, 5, 10.0
TARGET_BYTES = 60_000
BOUNDARY = "adsn-benchmark"


def jpeg(image: Image) -> bytes:
    """``image`` as a JPEG of about 60 KB: what a camera of 640×480 sends."""
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
    """A multipart form."""
    out = b""
    for name, data in parts.items():
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"; filename="{name}"\r\n\r\n'
        out += head.encode() + data + b"\r\n"
    return out + f"--{BOUNDARY}--\r\n".encode()


class Client:
    """One kept connection; `http.client`, because it adds least of all."""

    def __init__(self, port: int, payload: bytes) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self._payload = payload
        self._headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}

    def post(self) -> dict[str, object]:
        self._connection.request("POST", "/liveness", self._payload, self._headers)
        response = self._connection.getresponse()
        answer: dict[str, object] = json.loads(response.read())
        if response.status != 200:
            raise RuntimeError(f"the service answered {response.status}: {answer}")
        return answer


@contextmanager
def serving() -> Iterator[tuple[int, int, float]]:
    """A service in a process of its own: port, process id, and seconds from its start until it was ready."""
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
        found = re.search(r":(\d+)/docs", process.stdout.readline())
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
    """MiB of a process, from the kernel's account of it."""
    text = Path(f"/proc/{pid}/status").read_text()
    found = re.search(rf"^{field}:\s+(\d+) kB", text, re.MULTILINE)
    if found is None:
        raise RuntimeError(f"/proc/{pid}/status has no {field}.")
    return int(found[1]) / 1024


def rate(functions: Sequence[Callable[[], object]]) -> float:
    """Calls a second of all ``functions`` together, each in a thread of its own."""
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


def run() -> list[Row]:
    """Latency and throughput beside the same work in this process, cold start, memory."""
    made = SyntheticRig(seed=107, subject=9000).next()
    rgb, ir = jpeg(made.pair.image("rgb")), jpeg(made.pair.image("ir"))
    box = made.face_box
    meta = json.dumps({"face_box": [box.x, box.y, box.w, box.h]}).encode()
    pipeline = open_pipeline(default_bundle()).pipeline

    def here() -> object:
        pair = Pair(decode(rgb, "rgb", max_pixels=1 << 24), decode(ir, "ir", max_pixels=1 << 24))
        return pipeline.assess(pair, box)

    payload = body({"rgb": rgb, "ir": ir, "meta": meta})
    rows = [Row("uploaded pictures", f"640×480 JPEG, {len(rgb) / 1000:.0f} KB and {len(ir) / 1000:.0f} KB")]
    starts = []
    for _ in range(STARTS):
        with serving() as (_port, _pid, seconds):
            starts.append(seconds)
    with serving() as (port, pid, _):
        client = Client(port, payload)
        # The rest lets the other process's threads stop spinning; without it each would be timed against the other.
        times = in_turns({"here": here, "POST": client.post}, ROUNDS, rest_s=0.02)
        ratio = median(times["POST"]) / median(times["here"])
        inside = in_turns({"detect": lambda: pipeline.assess(made.pair)}, 40)["detect"]
        alone = rate([here])
        served = [rate([Client(port, payload).post for _ in range(n)]) for n in (1, 2, 4)]
        held, peak = memory(pid, "VmRSS"), memory(pid, "VmHWM")
    rows += [
        Row("decode + score in one process", spread(times["here"])),
        Row("POST /liveness", spread(times["POST"])),
        Row("POST /liveness over decode + score, medians", f"{ratio:.2f} ×", "≤ 1.12 ×", ratio <= 1.12),
        Row("finding the face and scoring, in one process", spread(inside), note="no box given: OpenCV's cascade"),
        Row("loop in one process", f"{alone:.1f} pairs/s"),
        Row(
            "POST /liveness, 1, 2 and 4 connections",
            " / ".join(f"{value:.1f}" for value in served) + " pairs/s",
            "best ≥ 0.9 of the loop",
            max(served) >= 0.9 * alone,
            f"{max(served) / alone:.2f} of the loop; clients run on the same two cores",
        ),
        Row(
            "adsn-serve, process start to ready",
            f"{median(starts):.2f} s median of {STARTS}, slowest {max(starts):.2f} s",
            "≤ 2 s",
            median(starts) <= 2,
        ),
        Row(
            "adsn-serve, resident memory after load",
            f"{held:.0f} MiB (peak {peak:.0f})",
            "≤ 350 MB",
            peak * 2**20 <= 350e6,
        ),
    ]
    return rows
