"""Threads of a supervisor: drivers that block them, closing, and what remains after a thousand reconnects."""

from __future__ import annotations

import functools
import gc
import threading
import time
import tracemalloc
from pathlib import Path

import pytest

from runtime.capture import supervisor
from runtime.capture.source import Source
from runtime.capture.supervisor import CameraSupervisor
from runtime.core.errors import CameraBusy, CameraLost
from runtime.core.retry import WARN_EVERY
from runtime.core.values import Frame
from tests.support.cameras import Clock, FakeSource, frame, raising
from tests.support.waiting import until


def test_a_driver_that_holds_a_thread_fast_blocks_nobody(made: list[CameraSupervisor]) -> None:
    release = threading.Event()
    clock = Clock()
    opened: list[FakeSource] = []

    def hang(source: FakeSource) -> Frame | None:
        release.wait(60)
        return frame(source)

    def opening(generation: int) -> Source:
        opened.append(FakeSource(generation, *([frame, hang] if generation == 0 else [frame])))
        return opened[-1]

    camera = CameraSupervisor("ir", opening, clock_ns=clock)
    made.append(camera)
    camera.start()
    until(lambda: camera.status().frames == 1)
    camera.check()
    assert camera.status().state == "running"
    clock.ns += round((supervisor.HANG_S + 1) * 1e9)
    camera.check()
    until(lambda: camera.status().frames == 2)
    assert [f.generation for f in camera.drain()] == [0, 1]
    # Frames of the abandoned thread are ignored, and its camera is closed.
    release.set()
    until(opened[0].closed.is_set)
    assert camera.drain() == []
    assert camera.status().frames == 2


def test_attempts_end_while_too_many_threads_are_held(made: list[CameraSupervisor]) -> None:
    release = threading.Event()
    clock = Clock()
    opened: list[int] = []

    def opening(generation: int) -> Source:
        opened.append(generation)
        if len(opened) <= supervisor.HUNG_THREADS:
            release.wait(60)
            raise CameraBusy("at last.")
        return FakeSource(generation, frame)

    def began(attempts: int) -> bool:
        return len(opened) >= attempts

    camera = CameraSupervisor("ir", opening, clock_ns=clock)
    made.append(camera)
    camera.start()
    for attempts in range(1, supervisor.HUNG_THREADS + 3):
        until(functools.partial(began, min(attempts, supervisor.HUNG_THREADS)))
        clock.ns += round((supervisor.HANG_S + 1) * 1e9)
        camera.check()
    assert len(opened) == supervisor.HUNG_THREADS
    assert camera.status().state == "lost"
    assert "has not answered" in camera.status().last_error
    release.set()

    def came_back() -> bool:
        camera.check()
        return camera.status().frames == 1

    until(came_back)
    assert [f.generation for f in camera.drain()] == [supervisor.HUNG_THREADS]


def test_closing_does_not_wait_for_a_driver_that_hangs(made: list[CameraSupervisor]) -> None:
    release = threading.Event()

    def hang(source: FakeSource) -> Frame | None:
        release.wait(60)
        return None

    camera = CameraSupervisor("ir", lambda generation: FakeSource(generation, frame, hang))
    camera.start()
    until(lambda: camera.status().frames == 1)
    began = time.monotonic()
    assert not camera.close(timeout_s=0.6)
    assert time.monotonic() - began < 20
    assert camera.status().state == "closed"
    release.set()


def test_closing_ends_a_read_that_waits() -> None:
    class Waiting(FakeSource):
        def read(self, timeout_s: float) -> Frame | None:
            self.closed.wait(60)
            raise CameraLost("closed.")

    opened: list[Waiting] = []

    def opening(generation: int) -> Source:
        opened.append(Waiting(generation))
        return opened[-1]

    camera = CameraSupervisor("ir", opening)
    camera.start()
    until(lambda: bool(opened))
    assert camera.close(timeout_s=20)
    assert opened[0].closed.is_set()


def measured() -> tuple[int, int, int]:
    """Return the numbers of threads and open files, and the bytes allocated by what a supervisor runs."""
    gc.collect()
    # Threads that earlier tests abandoned may allocate meanwhile, so memory of other modules is left out.
    files = ("*/runtime/capture/*", "*/tests/*", threading.__file__, "*/logging/*")
    snapshot = tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(True, name) for name in files])
    held = sum(trace.size for trace in snapshot.traces)
    return threading.active_count(), len(list(Path("/proc/self/fd").iterdir())), held


def test_a_thousand_reconnects_leave_nothing_behind(
    made: list[CameraSupervisor], caplog: pytest.LogCaptureFixture
) -> None:
    class Counted(FakeSource):
        alive = 0

    held = threading.Semaphore(0)
    reached = threading.Semaphore(0)
    goals = {100, 1100}
    total = 0

    def pause(seconds: float) -> None:
        if total in goals:
            reached.release()
            held.acquire(timeout=60)

    def opening(generation: int) -> Source:
        nonlocal total
        total += 1
        return Counted(generation, frame, raising(CameraLost("gone.")))

    camera = CameraSupervisor("ir", opening, pause=pause)
    made.append(camera)
    tracemalloc.start()
    try:
        camera.start()
        assert reached.acquire(timeout=60)
        camera.drain()
        caplog.clear()
        before = measured()
        held.release()
        assert reached.acquire(timeout=60)
        camera.drain()
        warnings = len(caplog.records)
        caplog.clear()
        after = measured()
        camera.stop()
        held.release()
    finally:
        tracemalloc.stop()
    assert camera.status().reconnects == 1099
    assert Counted.alive == 0
    assert after[:2] == before[:2]
    assert after[2] - before[2] < 200_000
    # Warnings are throttled to one in twenty. "running" is logged each time, as information.
    assert sum(r.levelname == "WARNING" for r in caplog.records[:warnings]) <= 1000 / WARN_EVERY + 1
