"""The rig end to end on simulated cameras: skew and generation stay right through unplugging, stalls and drops."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from runtime.capture.open import open_source
from runtime.capture.source import Source
from runtime.config.rig import RigSettings
from runtime.core.errors import CameraLost, ConfigError
from runtime.core.values import Frame, Modality
from runtime.pairing import rig as rig_module
from runtime.pairing.feed import CapturedPair, FeedStatus, PairFeed
from runtime.pairing.rig import Rig
from tests.support.waiting import until

_runs = itertools.count()


def scene(options: str = "") -> str:
    """Return the address of a scene that no other test uses, with small images that are rendered quickly."""
    return f"synthetic:?size=160x160&moments=2&run=rig{next(_runs)}&{options}"


@contextmanager
def running(settings: RigSettings, **more: object) -> Iterator[Rig]:
    rig = Rig(settings, **more)  # type: ignore[arg-type]
    try:
        rig.start()
        yield rig
    finally:
        rig.close()


def pairs(rig: PairFeed, count: int) -> list[CapturedPair]:
    found: list[CapturedPair] = []
    deadline = time.monotonic() + 60
    while len(found) < count:
        assert time.monotonic() < deadline, rig.status()
        captured = rig.wait(found[-1].number if found else -1, 1)
        if captured is not None:
            found.append(captured)
    return found


def settings(base: str, rgb: str = "", ir: str = "", **more: object) -> RigSettings:
    return RigSettings.model_validate({"rgb": f"{base}&{rgb}", "ir": f"{base}&{ir}", **more})


def test_two_cameras_give_pairs_of_one_moment() -> None:
    with running(settings(scene(), "fps=60", "fps=60&phase_ms=4")) as rig:
        found = pairs(rig, 5)
        status = rig.status()
    assert [c.number for c in found] == sorted({c.number for c in found})
    for captured in found:
        pair = captured.pair
        assert pair.image("rgb").shape == (160, 160, 3)
        assert pair.image("ir").shape == (160, 160, 1)
        assert pair.skew_ns == 4_000_000
        assert (pair.generation, pair.lit, pair.source, pair.clock) == (0, "lit", "camera", "synthetic")
        assert pair.rgb_time_ns is not None
        assert captured.t_emitted_ns > pair.rgb_time_ns
    assert {c.state for c in status.cameras} == {"running"}
    assert (status.skew_ms, status.strobe, status.advice, status.recording) == (4.0, "steady", "", "")
    assert status.pairs > found[-1].number


def test_offsets_are_applied() -> None:
    with running(settings(scene(), "fps=60", "fps=60&phase_ms=4", ir_offset_ms=-3)) as rig:
        assert pairs(rig, 1)[0].pair.skew_ns == 1_000_000


@pytest.mark.parametrize("tagged", [0, 1])
def test_a_strobe_pairs_with_lit_frames_and_brings_the_dark_neighbour(tagged: int) -> None:
    with running(settings(scene(), "fps=60", f"fps=60&strobe=1:1&metadata={tagged}")) as rig:
        found = pairs(rig, 6)[-1].pair
        status = rig.status()
    assert found.ir_dark is not None
    assert found.image("ir").mean() > found.ir_dark.mean() + 5
    assert found.ir_dark_time_ns is not None
    assert found.ir_time_ns is not None
    assert abs(found.ir_dark_time_ns - found.ir_time_ns) < 40_000_000
    assert status.strobe == "1:1"
    assert status.rejected["ir_dark"] > 0


@pytest.mark.parametrize(("first", "second"), [("ir", "depth"), ("rgb", "depth")])
def test_rigs_with_depth(first: Modality, second: Modality) -> None:
    base = scene("fps=60")
    with running(RigSettings.model_validate({first: base, second: base})) as rig:
        pair = pairs(rig, 1)[0].pair
    assert pair.image("depth").dtype == np.float32
    assert pair.image(first).shape[2] == (3 if first == "rgb" else 1)
    assert pair.skew_ns == 0


def test_unplugged_and_replugged_pairs_go_on_in_a_new_epoch() -> None:
    with running(settings(scene(), "fps=60", "fps=60&script=unplug@1.5s:0.7s")) as rig:
        before = pairs(rig, 3)
        until(lambda: "the infrared camera is lost" in rig.status().advice, "it is never unplugged")
        until(lambda: rig.status().cameras[1].reconnects == 1)
        newest = rig.wait(-1, 0)
        assert newest is not None
        until(lambda: (c := rig.wait(newest.number, 1)) is not None and c.pair.generation == 1)
        assert rig.status().cameras[0].reconnects == 0
        until(lambda: rig.status().advice == "")
    assert {c.pair.generation for c in before} == {0}


def test_a_stall_is_seen_and_got_over() -> None:
    with running(settings(scene(), "fps=60&script=stall@1.5s:1.6s", "fps=60")) as rig:
        pairs(rig, 1)
        until(lambda: rig.status().cameras[0].state == "stalled")
        assert "the colour camera is open but sends nothing" in rig.status().advice
        number = rig.status().pairs - 1
        assert rig.wait(number, 30) is not None
        until(lambda: rig.status().cameras[0].state == "running")
        assert rig.status().cameras[0].reconnects == 0


def test_dropped_frames_cost_their_pairs_and_no_others() -> None:
    with running(settings(scene(), "fps=60&drop=0.3", "fps=60")) as rig:
        found = pairs(rig, 20)
        status = rig.status()
    assert all(c.pair.skew_ns == 0 for c in found)
    assert status.cameras[0].drops["sequence_gap"] > 0
    assert sum(status.rejected.values()) > 0


def test_too_far_apart_is_no_pair_and_the_advice_says_by_how_much() -> None:
    with running(settings(scene(), "fps=25", "fps=25&phase_ms=18")) as rig:
        until(lambda: "ms apart" in rig.status().advice)
        status = rig.status()
        assert rig.wait(-1, 0) is None
    assert status.pairs == 0
    assert status.rejected["skew"] > 0


def test_a_dead_illuminator_is_a_reason_and_never_a_pair() -> None:
    with running(settings(scene(), "fps=60", "fps=60&strobe=1:1&script=emitter_off@2s")) as rig:
        pairs(rig, 1)
        until(lambda: rig.status().strobe == "strobe_lost")
        until(lambda: "has stopped strobing" in rig.status().advice)
        number = rig.status().pairs
        assert rig.wait(number - 1, 0.3) is None


def test_two_cameras_of_different_kinds_are_needed() -> None:
    for wrong in ({"rgb": "synthetic:"}, {}, {"rgb": "synthetic:", "ir": "synthetic:", "depth": "synthetic:"}):
        with pytest.raises(ConfigError, match="two cameras"):
            Rig(RigSettings.model_validate(wrong))
    with pytest.raises(ConfigError, match="unknown camera scheme"):
        Rig(RigSettings(rgb="foo:", ir="synthetic:"))


class Hanging:
    """A camera whose driver never returns."""

    def __init__(self, uri: str, modality: Modality, generation: int) -> None:
        with_info = open_source(uri, modality, generation)
        with_info.close()
        self.info = with_info.info
        self.release = threading.Event()

    def read(self, timeout_s: float) -> Frame | None:
        self.release.wait(120)
        raise CameraLost("gone.")

    def close(self) -> None:
        self.release.wait(120)


def test_closing_takes_no_longer_than_two_seconds_when_a_camera_hangs() -> None:
    hanging: list[Hanging] = []

    def opener(uri: str, modality: Modality, generation: int) -> Source:
        if modality == "rgb":
            return open_source(uri, modality, generation)
        hanging.append(Hanging(uri, modality, generation))
        return hanging[-1]

    rig = Rig(settings(scene()), opener=opener)
    rig.start()
    until(lambda: bool(hanging) and rig.status().cameras[0].state == "running")
    began = time.monotonic()
    rig.close()
    took = time.monotonic() - began
    hanging[0].release.set()
    assert took < 10
    assert rig.wait(-1, 0) is None


def test_closing_wakes_whoever_waits_and_starting_twice_is_one_start() -> None:
    rig = Rig(settings(scene("script=stall@0s")))
    rig.start()
    rig.start()
    waited: list[CapturedPair | None] = []
    waiting = threading.Thread(target=lambda: waited.append(rig.wait(-1, 60)))
    waiting.start()
    rig.close()
    waiting.join(20)
    assert waited == [None]
    rig.close()
    never = Rig(settings(scene()))
    never.close()
    never.start()
    assert never.status().cameras[0].state == "closed"


def test_a_log_line_says_why_no_pairs_are_formed(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rig_module, "REPORT_S", 0.3)
    caplog.set_level(logging.INFO)
    with running(settings(scene(), "fps=60&script=stall@0s:2s", "fps=60")) as rig:
        until(lambda: "no pairs for" in caplog.text)
        pairs(rig, 2)
        until(lambda: "pairs are being formed again" in caplog.text)
    lines = [r.getMessage() for r in caplog.records if "no pairs for" in r.getMessage()]
    assert "camera" in lines[0]


class Watcher:
    """An observer that fails on request."""

    recording = "somewhere"

    def __init__(self, fails: int = 0) -> None:
        self.frames: list[Frame] = []
        self.captured: list[CapturedPair] = []
        self.fails = fails

    def on_frame(self, frame: Frame) -> None:
        self.frames.append(frame)
        if self.fails:
            self.fails -= 1
            raise ZeroDivisionError

    def on_pair(self, captured: CapturedPair) -> None:
        self.captured.append(captured)


def test_observers_see_every_frame_and_pair_and_a_fault_does_not_end_the_feed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    watcher = Watcher(fails=3)
    with running(settings(scene(), "fps=60", "fps=60"), observers=(watcher,)) as rig:
        found = pairs(rig, 3)
        status: FeedStatus = rig.status()
    assert status.recording == "somewhere"
    assert [c.number for c in watcher.captured][: found[0].number + 1] == list(range(found[0].number + 1))
    assert {f.modality for f in watcher.frames} == {"rgb", "ir"}
    assert "pairing failed" in caplog.text


def test_a_phase_near_the_limit_is_warned_of_while_pairs_are_still_formed() -> None:
    with running(settings(scene(), "fps=30", "fps=30&phase_ms=9")) as rig:
        pairs(rig, 1)
        until(lambda: "9.0 ms apart" in rig.status().advice)
        assert rig.status().pairs > 0
