"""Measure the simulated rig at 30 frames per second, and memory over 1,000 reconnects: ``python -m benchmarks.rig``."""

from __future__ import annotations

import gc
import logging
import resource
import threading
import time
from pathlib import Path

from benchmarks.support.measure import Row
from runtime.capture.open import open_source
from runtime.capture.source import Source, SourceInfo
from runtime.capture.supervisor import CameraSupervisor
from runtime.config.rig import RigSettings
from runtime.core.errors import CameraLost
from runtime.core.values import Frame
from runtime.pairing.rig import Rig

SECONDS = 10.0
CPU_LIMIT = 0.10
SCENE = "synthetic:?fps=30&run=benchmark"
RECONNECTS = 1000


def resident_mib() -> float:
    """Return the resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def running(strobe: str) -> list[Row]:
    """Measure a rig of two cameras at its start, and then at its steady rate."""
    rig = Rig(RigSettings(rgb=SCENE, ir=f"{SCENE}&phase_ms=4&strobe={strobe}"))
    began = time.monotonic()
    rig.start()
    try:
        while not all(camera.frames for camera in rig.status().cameras):
            time.sleep(0.005)
        frame_s = time.monotonic() - began
        rig.wait(-1, 30)
        pair_s = time.monotonic() - began
        while any(thread.name == "synthetic-render" for thread in threading.enumerate()):
            time.sleep(0.05)
        ready_s = time.monotonic() - began
        start, cpu, wall, number = rig.status(), time.process_time(), time.monotonic(), -1
        while time.monotonic() - wall < SECONDS:
            captured = rig.wait(number, 0.5)
            number = number if captured is None else captured.number
        cpu, wall = time.process_time() - cpu, time.monotonic() - wall
        end = rig.status()
    finally:
        rig.close()
    share = cpu / wall
    name = f"simulated rig, 2 × 30 frames/s of 640×480, strobe {strobe}"
    frames = sum(b.frames - a.frames for a, b in zip(start.cameras, end.cameras, strict=True)) / wall
    return [
        Row(f"{name}: share of one core", f"{share:.1%}", "≤ 10 %", share <= CPU_LIMIT),
        Row(f"{name}: frames, pairs a second", f"{frames:.1f}, {(end.pairs - start.pairs) / wall:.1f}"),
        Row(
            f"{name}: first frames, first pair, all rendered",
            f"{frame_s:.2f} s, {pair_s:.2f} s, {ready_s:.1f} s",
            "first frames ≤ 1 s",
            frame_s <= 1,
        ),
    ]


class OneFrame:
    """A simulated camera that disconnects after its first frame."""

    def __init__(self, generation: int) -> None:
        self._source: Source = open_source(SCENE, "rgb", generation)
        self._given = False

    @property
    def info(self) -> SourceInfo:
        return self._source.info

    def read(self, timeout_s: float) -> Frame | None:
        if self._given:
            raise CameraLost("gone.")
        frame = self._source.read(timeout_s)
        self._given = frame is not None
        return frame

    def close(self) -> None:
        self._source.close()


def reconnecting() -> list[Row]:
    """Measure a camera that is lost after each frame and reopened at once."""
    readings: list[tuple[float, int]] = []
    done = threading.Event()
    opened = 0

    def pause(seconds: float) -> None:
        if opened % 100 == 0:
            gc.collect()
            readings.append((resident_mib(), threading.active_count()))
        if opened >= RECONNECTS + 100:
            done.set()
            done.wait()

    def opening(generation: int) -> OneFrame:
        nonlocal opened
        opened += 1
        return OneFrame(generation)

    camera = CameraSupervisor("rgb", opening, pause=pause)
    camera.start()
    done.wait(600)
    camera.close()
    (before, threads), (after, threads_then) = readings[0], readings[-1]
    return [
        Row(
            f"{RECONNECTS:,} reconnects of a simulated camera: memory, threads before and after",
            f"{before:.1f} → {after:.1f} MiB, {threads} → {threads_then}",
            "≤ 2 MiB more, no thread more",
            after - before <= 2 and threads_then <= threads,
        )
    ]


def run() -> list[Row]:
    """Return all rows."""
    logging.disable(logging.CRITICAL)
    return [*running("steady"), *running("1:1"), *reconnecting()]


def main() -> None:
    """Print the rows."""
    for row in run():
        met = {True: "met", False: "NOT MET", None: ""}[row.met]
        print("  ".join(filter(None, (row.what, row.value, row.limit, met))))


if __name__ == "__main__":
    main()
