"""Replaying a recording gives exactly the same pairs, both as fast as possible and through a rig."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime.capture.open import open_source
from runtime.capture.uri import parse_uri
from runtime.config.rig import RigSettings
from runtime.core.errors import (
    CameraUnsupported,
    CaptureError,
    ConfigError,
    StreamEnded,
)
from runtime.core.values import Frame, Pair
from runtime.pairing.feed import CapturedPair
from runtime.pairing.rig import Rig
from runtime.recording.reader import Recording
from runtime.recording.source import open_mcap
from runtime.recording.writer import Recorder
from tests.support.recordings import interleaved, record
from tests.support.waiting import until


def key(pair: Pair) -> tuple[Any, ...]:
    return pair.times_ns, pair.ir_dark_time_ns, pair.generation, pair.lit


class Log:
    """Observer that keeps every pair of a rig."""

    recording = ""

    def __init__(self) -> None:
        self.pairs: list[Pair] = []

    def on_frame(self, frame: Frame) -> None: ...

    def on_pair(self, captured: CapturedPair) -> None:
        self.pairs.append(captured.pair)


@pytest.fixture(scope="module")
def performance(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Pair]]:
    """Return a recording of a strobed rig with jitter and drops, and the pairs that the rig formed."""
    base = "synthetic:?size=160x160&moments=2&fps=60&run=recording"
    rig_settings = RigSettings(
        rgb=f"{base}&jitter_ms=1&drop=0.05", ir=f"{base}&phase_ms=3&jitter_ms=1&strobe=1:1", max_skew_ms=8
    )
    recorder = Recorder(tmp_path_factory.mktemp("p") / "r", rig_settings, consent="nobody is in these pictures")
    kept = Log()
    rig = Rig(rig_settings, observers=(recorder, kept))
    recorder.describe = lambda modality: next(c.info for c in rig.status().cameras if c.modality == modality)
    rig.start()
    until(lambda: len(kept.pairs) >= 25)
    assert rig.status().recording == str(recorder.path)
    rig.close()
    recorder.close()
    assert recorder.left_out == 0
    return recorder.path, kept.pairs


def test_as_fast_as_possible_gives_the_same_pairs(performance: tuple[Path, list[Pair]]) -> None:
    path, formed = performance
    recording = Recording(path)
    replayed = [captured.pair for captured in recording.replay()]
    # When the rig is closed, waiting frames are dropped. A replay still decides on them.
    assert 0 <= len(replayed) - len(formed) <= 2
    for before, after in zip(formed, replayed, strict=False):
        assert key(before) == key(after)
        assert np.array_equal(before.image("rgb"), after.image("rgb"))
        assert np.array_equal(before.image("ir"), after.image("ir"))
        assert (before.ir_dark is None) == (after.ir_dark is None)
        assert before.ir_dark is None or np.array_equal(before.ir_dark, after.ir_dark)  # type: ignore[arg-type]
    assert any(pair.ir_dark is not None for pair in formed)
    # The pairs listed in the file are the same.
    assert list(recording.pair_times()) == [{"rgb": p.rgb_time_ns, "ir": p.ir_time_ns} for p in formed]


def test_at_speed_through_a_rig_gives_the_same_pairs(performance: tuple[Path, list[Pair]]) -> None:
    path, formed = performance
    kept = Log()
    rig = Rig(RigSettings(rgb=f"mcap:{path}", ir=f"mcap:{path}", max_skew_ms=8), observers=(kept,))
    rig.start()
    until(lambda: all(c.state == "closed" for c in rig.status().cameras))
    until(lambda: "has ended" in rig.status().advice)
    rig.close()
    assert kept.pairs[0].rgb_time_ns is not None
    assert formed[0].rgb_time_ns is not None
    shift = kept.pairs[0].rgb_time_ns - formed[0].rgb_time_ns
    overrun = sum(c.drops.get("overrun", 0) for c in rig.status().cameras)
    moved = {tuple(t + shift for t in p.times_ns if t is not None) for p in formed}
    same = [p for p in kept.pairs if p.times_ns in moved]
    # A busy machine may not keep up. Dropped frames are counted, and only their own pairs are lost.
    assert len(same) >= len(formed) - 2 * overrun - 1
    assert len(kept.pairs) <= len(formed) + 2


def test_a_recorded_camera(performance: tuple[Path, list[Pair]]) -> None:
    path, _ = performance
    source = open_source(f"mcap:{path}", "ir", 4)
    assert (source.info.backend, source.info.width, source.info.timestamp_source) == ("mcap", 160, "recorded")
    assert source.read(0.0) is None
    first = None
    while first is None:
        first = source.read(1.0)
    assert first.generation == 4
    assert abs(first.t_arrival_ns - time.monotonic_ns()) < 60_000_000_000
    source.close()
    source.close()
    with pytest.raises(CaptureError, match="closed"):
        source.read(1)
    with pytest.raises(CameraUnsupported, match="no depth"):
        open_source(f"mcap:{path}", "depth")
    with pytest.raises(ConfigError, match="no option 'speed'"):
        open_source(f"mcap:{path}?speed=2", "ir")


def test_a_recorded_camera_ends(tmp_path: Path) -> None:
    path = record(tmp_path / "r", interleaved(1))
    source = open_mcap(parse_uri(f"mcap:{path}"), "ir", 0)
    while source.read(1.0) is None:
        pass
    with pytest.raises(StreamEnded, match="end of the recording"):
        source.read(1.0)
    source.close()
