"""A supervised camera: its states, generations and counters."""

from __future__ import annotations

import random
import threading

import pytest

from runtime.capture import supervisor
from runtime.capture.source import Source
from runtime.capture.status import CameraStatus
from runtime.capture.supervisor import CameraSupervisor
from runtime.core.errors import CameraBusy, CameraData, CameraLost, CameraMissing, ConfigError, StreamEnded
from runtime.core.retry import LAST_DELAY_S
from tests.support.cameras import INFO, Clock, FakeSource, Step, frame, raising
from tests.support.waiting import until


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


def test_a_lost_camera_is_closed_before_it_is_opened_again_in_a_new_generation(made: list[CameraSupervisor]) -> None:
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


def test_a_recording_that_has_ended_is_not_begun_again(made: list[CameraSupervisor]) -> None:
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
    # Its thread has ended, so it must not be mistaken for one that hangs.
    clock.ns += round(10 * supervisor.HANG_S * 1e9)
    camera.check()
    assert camera.status().last_error_code == "stream_ended"
    assert [f.seq for f in camera.drain()] == [0]
    assert opened == [0]


def test_a_silent_camera_stalls_and_is_opened_again(
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


def test_a_slot_keeps_one_to_four() -> None:
    with pytest.raises(ValueError, match="1 to 4"):
        CameraSupervisor("ir", lambda generation: FakeSource(generation), slot=5)


def test_the_status_is_a_value(made: list[CameraSupervisor]) -> None:
    camera = CameraSupervisor("depth", lambda generation: FakeSource(generation))
    assert camera.status() == CameraStatus("depth", "closed", None, 0, 0.0, 0, {}, 0, None)
