"""A camera kept running: states, stream generations, back-off, and drivers that block a thread."""

from __future__ import annotations

import functools
import gc
import os
import random
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from runtime.capture import supervisor
from runtime.capture.source import Source, SourceInfo
from runtime.capture.status import CameraStatus
from runtime.capture.supervisor import CameraSupervisor
from runtime.core.errors import CameraBusy, CameraData, CameraLost, CameraMissing, ConfigError, StreamEnded
from runtime.core.retry import FIRST_DELAY_S, LAST_DELAY_S, WARN_EVERY, WARN_EVERY_S, Backoff, LogThrottle
from runtime.core.values import Frame

IMAGE = np.zeros((2, 2, 1), np.uint8)
INFO = SourceInfo("ir", "fake:", "fake", "fake", 2, 2, "GREY", 30.0, "synthetic")
Step = Callable[["FakeSource"], Frame | None]


def frame(source: FakeSource, seq: int | None = None) -> Frame:
    """Return the next frame of a source."""
    source.seq = source.seq + 1 if seq is None else seq
    now = time.monotonic_ns()
    return Frame("ir", IMAGE, now, now, source.seq, "synthetic", generation=source.generation)


class FakeSource:
    """Runs one step of its script per read; then delivers nothing until it is closed."""

    alive = 0

    def __init__(self, generation: int, *steps: Step) -> None:
        self.generation, self.seq, self.steps = generation, -1, list(steps)
        self.closed = threading.Event()
        # A real camera holds a descriptor and memory, as this does.
        self.descriptor = os.open("/dev/null", os.O_RDONLY)
        self.buffer = bytearray(1 << 16)
        type(self).alive += 1

    @property
    def info(self) -> SourceInfo:
        return INFO

    def read(self, timeout_s: float) -> Frame | None:
        if self.closed.is_set():
            raise CameraLost("closed.")
        if self.steps:
            return self.steps.pop(0)(self)
        self.closed.wait(min(timeout_s, 0.01))
        return None

    def close(self) -> None:
        if not self.closed.is_set():
            self.closed.set()
            os.close(self.descriptor)
            type(self).alive -= 1


def raising(error: Exception) -> Step:
    def step(source: FakeSource) -> Frame | None:
        raise error

    return step


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.ns = 10**12

    def __call__(self) -> int:
        return self.ns


def until(condition: Callable[[], bool], what: str = "") -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.002)


@pytest.fixture
def made() -> Iterator[list[CameraSupervisor]]:
    supervisors: list[CameraSupervisor] = []
    yield supervisors
    for one in supervisors:
        one.close()


def test_frames_come_newest_first_served_and_what_is_too_many_is_counted(made: list[CameraSupervisor]) -> None:
    count = 0

    def wake() -> None:
        nonlocal count
        count += 1

    camera = CameraSupervisor("ir", lambda generation: FakeSource(generation, *[frame] * 6), wake=wake, slot=3)
    made.append(camera)
    assert camera.status().state == "closed"
    camera.start()
    camera.start()
    until(lambda: camera.status().frames == 6)
    assert [f.seq for f in camera.drain()] == [3, 4, 5]
    assert camera.drain() == []
    status = camera.status()
    assert (status.state, status.generation, status.reconnects, status.info) == ("running", 0, 0, INFO)
    assert status.drops == {"overrun": 3}
    assert count >= 6


def test_gaps_in_the_drivers_numbers_are_counted(made: list[CameraSupervisor]) -> None:
    steps = [lambda s, n=n: frame(s, n) for n in (0, 1, 4, 5)]
    camera = CameraSupervisor("ir", lambda generation: FakeSource(generation, *steps))
    made.append(camera)
    camera.start()
    until(lambda: camera.status().frames == 4)
    assert camera.status().drops == {"sequence_gap": 2}


def test_a_lost_camera_is_closed_before_it_is_opened_again_in_a_new_epoch(made: list[CameraSupervisor]) -> None:
    delays: list[float] = []
    failures = iter([CameraMissing("not there."), CameraBusy("busy.")])
    sources: list[FakeSource] = []

    def opening(generation: int) -> Source:
        assert all(source.closed.is_set() for source in sources)
        if len(sources) == 1:
            error = next(failures, None)
            if error is not None:
                raise error
        steps = [frame, raising(CameraLost("gone."))] if not sources else [frame]
        sources.append(FakeSource(generation, *steps))
        return sources[-1]

    camera = CameraSupervisor("ir", opening, pause=delays.append, rng=random.Random(1))
    made.append(camera)
    camera.start()
    until(lambda: camera.status().frames == 2)
    assert [f.generation for f in camera.drain()] == [0, 1]
    status = camera.status()
    assert (status.state, status.generation, status.reconnects, status.last_error) == ("running", 1, 1, "")
    for delay, longest in zip(delays, (0.5, 1, 2), strict=True):
        assert 0.75 * longest <= delay <= longest


def test_what_is_wrong_is_in_the_status_and_what_will_not_mend_waits_longest(made: list[CameraSupervisor]) -> None:
    delays: list[float] = []
    waiting = threading.Event()

    def opening(generation: int) -> Source:
        raise ConfigError("no such option.")

    def pause(seconds: float) -> None:
        delays.append(seconds)
        waiting.wait(20)

    camera = CameraSupervisor("ir", opening, pause=pause)
    made.append(camera)
    camera.start()
    until(lambda: bool(delays))
    status = camera.status()
    assert (status.state, status.last_error, status.last_error_code) == ("lost", "no such option.", "config_error")
    assert delays[0] >= 0.75 * LAST_DELAY_S
    camera.stop()
    waiting.set()


def test_damaged_frames_are_counted_and_read_over(made: list[CameraSupervisor]) -> None:
    steps = [frame, raising(CameraData("torn.")), raising(CameraData("torn.")), frame]
    camera = CameraSupervisor("ir", lambda generation: FakeSource(generation, *steps))
    made.append(camera)
    camera.start()
    until(lambda: camera.status().frames == 2)
    assert camera.status().drops == {"corrupt": 2}
    assert camera.status().reconnects == 0


def test_a_fault_in_a_binding_does_not_end_the_camera(
    made: list[CameraSupervisor], caplog: pytest.LogCaptureFixture
) -> None:
    steps: list[list[Step]] = [[frame, raising(ZeroDivisionError("oops"))], [frame]]
    camera = CameraSupervisor("ir", lambda generation: FakeSource(generation, *steps[generation]), pause=lambda s: None)
    made.append(camera)
    camera.start()
    until(lambda: camera.status().frames == 2)
    assert "ZeroDivisionError" in caplog.text


def test_a_recording_that_has_ended_is_not_begun_anew(made: list[CameraSupervisor]) -> None:
    opened: list[int] = []

    def opening(generation: int) -> Source:
        opened.append(generation)
        return FakeSource(generation, frame, raising(StreamEnded("the recording has ended.")))

    clock = Clock()
    camera = CameraSupervisor("ir", opening, pause=lambda s: None, clock_ns=clock)
    made.append(camera)
    others = set(threading.enumerate())
    camera.start()
    own = set(threading.enumerate()) - others
    until(lambda: camera.status().state == "closed")
    for thread in own:
        thread.join(20)
    # Its thread has ended and must not be mistaken for a blocked one.
    clock.ns += round(10 * supervisor.HANG_S * 1e9)
    camera.check()
    assert camera.status().last_error_code == "stream_ended"
    assert [f.seq for f in camera.drain()] == [0]
    assert opened == [0]


def test_a_silent_camera_stalls_and_is_opened_anew(
    made: list[CameraSupervisor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "STALL_S", 0.05)
    monkeypatch.setattr(supervisor, "REOPEN_S", 0.3)
    seen: set[str] = set()

    def wake() -> None:
        if made:
            seen.add(made[0].status().state)

    camera = CameraSupervisor("ir", lambda generation: FakeSource(generation, frame), wake=wake, pause=lambda s: None)
    made.append(camera)
    camera.start()
    until(lambda: camera.status().reconnects >= 2)
    assert {"running", "stalled", "lost", "opening"} <= seen
    assert camera.status().generation >= 2


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
    gc.collect()
    return threading.active_count(), len(list(Path("/proc/self/fd").iterdir())), tracemalloc.get_traced_memory()[0]


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
    # The log throttle lets one of twenty warnings through; "running" is logged each time at level info.
    assert sum(r.levelname == "WARNING" for r in caplog.records[:warnings]) <= 1000 / WARN_EVERY + 1


def test_back_off_doubles_to_its_limit_with_jitter() -> None:
    backoff = Backoff(random.Random(3))
    delays = [backoff.next() for _ in range(12)]
    for n, delay in enumerate(delays):
        longest = min(LAST_DELAY_S, FIRST_DELAY_S * 2**n)
        assert 0.75 * longest <= delay <= longest
    assert len(set(delays)) == 12
    backoff.reset()
    assert backoff.next() <= FIRST_DELAY_S
    assert backoff.next(patient=True) >= 0.75 * LAST_DELAY_S


def test_warnings_are_thinned() -> None:
    thinned = LogThrottle()
    due = [thinned.due("a", 0.0) for _ in range(45)]
    assert [n for n in due if n] == [1, 20, 40]
    assert thinned.due("b", 0.0) == 1
    assert thinned.due("a", WARN_EVERY_S + 1) == 46
    thinned.reset()
    assert thinned.due("a", 0.0) == 1


def test_a_slot_keeps_one_to_four() -> None:
    with pytest.raises(ValueError, match="1 to 4"):
        CameraSupervisor("ir", lambda generation: FakeSource(generation), slot=5)


def test_the_status_is_a_value(made: list[CameraSupervisor]) -> None:
    camera = CameraSupervisor("depth", lambda generation: FakeSource(generation))
    assert camera.status() == CameraStatus("depth", "closed", None, 0, 0.0, 0, {}, 0, None)
