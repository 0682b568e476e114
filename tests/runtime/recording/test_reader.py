"""Reading returns what was recorded, and a damaged recording is read as far as possible."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.core.errors import (
    CameraMissing,
    CaptureError,
    RecordingInvalid,
)
from runtime.core.values import Frame
from runtime.recording.reader import ReadTally, Recording
from runtime.recording.writer import Recorder
from tests.support.recordings import RIG, frame, interleaved, record


def test_what_was_recorded_is_what_is_read(tmp_path: Path) -> None:
    frames = interleaved(4)
    frames[3] = replace(frames[3], seq=None, lit="dark", exposure_ns=None, timestamp_source="arrival")
    recording = Recording(record(tmp_path / "r", frames))
    tally = ReadTally()
    found = list(recording.frames(tally=tally))
    assert (tally.frames, tally.pairs, tally.damaged, tally.end) == (8, 1, 0, "")
    for before, after in zip(frames, found, strict=True):
        assert np.array_equal(before.image, after.image)
        assert vars_of(before) == vars_of(after)
        assert not after.image.flags.writeable
    assert [f.modality for f in recording.frames("ir")] == ["ir"] * 4
    assert recording.settings == RIG.model_copy(update={"rgb": "opencv:rtsp://***@host/s?a=1?"})
    assert recording.consent == "the testers, orally"
    assert list(recording.pair_times()) == [{"rgb": 1}]


def vars_of(item: Frame) -> list[Any]:
    return [getattr(item, name) for name in Frame.__slots__ if name != "image"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Return a recording in which every message is a separate chunk."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("runtime.recording.writer.CHUNK", 1)
        recorder = Recorder(tmp_path_factory.mktemp("w") / "r", RIG, consent="yes")
    for item in interleaved(20):
        recorder.on_frame(item)
    recorder.close()
    return recorder.path.read_bytes()


@pytest.mark.parametrize("share", [0.1, 0.3, 0.7, 0.98])
def test_a_recording_that_was_cut_off_is_read_as_far_as_it_goes(tmp_path: Path, whole: bytes, share: float) -> None:
    path = tmp_path / "cut.mcap"
    path.write_bytes(whole[: int(len(whole) * share)])
    tally = ReadTally()
    found = list(Recording(path).frames(tally=tally))
    assert len(found) == tally.frames
    assert 40 * share - 8 <= len(found) <= 40
    assert tally.end != ""
    assert all(np.array_equal(f.image, frame(f.modality, f.seq or 0).image) for f in found)


def test_a_damaged_index_does_not_matter(tmp_path: Path, whole: bytes) -> None:
    path = tmp_path / "index.mcap"
    path.write_bytes(whole[:-300] + bytes(300))
    assert len(list(Recording(path).frames())) == 40


def test_a_damaged_chunk_is_left_out_and_counted(tmp_path: Path, whole: bytes) -> None:
    data = bytearray(whole)
    data[len(data) // 2] ^= 0xFF
    path = tmp_path / "chunk.mcap"
    path.write_bytes(data)
    tally = ReadTally()
    found = list(Recording(path).frames(tally=tally))
    assert 30 <= len(found) < 40
    assert tally.damaged >= 1


@pytest.mark.parametrize("content", [b"", b"no recording", bytes(5000), b"\x89MCAP0\r\n" + bytes(400)])
def test_what_is_no_recording_is_said_to_be_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.mcap"
    path.write_bytes(content)
    with pytest.raises(RecordingInvalid, match=r"x\.mcap"):
        Recording(path)
    with pytest.raises(CameraMissing):
        Recording(tmp_path / "missing.mcap")


@given(st.data())
@settings(deadline=None, max_examples=60)
def test_no_damage_is_another_error(
    tmp_path_factory: pytest.TempPathFactory, whole: bytes, data: st.DataObject
) -> None:
    short = bytearray(whole[:40_000])
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, 1500))
        short[start : start + 8] = data.draw(st.binary(min_size=8, max_size=8))
    path = tmp_path_factory.mktemp("damaged") / "d.mcap"
    path.write_bytes(short)
    try:
        recording = Recording(path)
        for item in itertools.chain(recording.frames(), recording.pair_times()):
            assert item is not None
    except CaptureError:
        pass
