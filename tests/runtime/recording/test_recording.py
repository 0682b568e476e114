"""Recordings: exact, private, announced, readable when damaged, and replayed to the same pairs."""

from __future__ import annotations

import itertools
import json
import os
import stat
import struct
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from runtime.capture.open import open_source
from runtime.capture.uri import parse_uri
from runtime.config.rig import RigSettings
from runtime.core.errors import (
    CameraData,
    CameraMissing,
    CameraUnsupported,
    CaptureError,
    ConfigError,
    RecordingInvalid,
    StreamEnded,
)
from runtime.core.values import Frame, Modality, Pair
from runtime.pairing.feed import CapturedPair
from runtime.pairing.rig import Rig
from runtime.recording.image_message import decode_image, decode_jpeg, encode_image, encode_jpeg
from runtime.recording.reader import ReadTally, Recording
from runtime.recording.source import open_mcap
from runtime.recording.writer import QUEUE, Recorder

RIG = RigSettings(rgb="opencv:rtsp://user:geheim@host/s?a=1?", ir="synthetic:", strobe="steady", ir_offset_ms=-1.5)
PAIR: tuple[Modality, Modality] = ("rgb", "ir")
BASE = 5_000_000_000_123


def frame(modality: Modality, n: int, seed: int = 0, **more: Any) -> Frame:
    rng = np.random.default_rng([seed, n, ord(modality[0])])
    shape = (48, 64, 3 if modality == "rgb" else 1)
    image = rng.integers(0, 255, shape, np.uint8)
    pixels = image if modality != "depth" else (image * 7.0).astype(np.float32)
    at = BASE + n * 33_333_333 + (0 if modality == "rgb" else 4_000_001)
    return replace(Frame(modality, pixels, at, at + 12_345_678, n, "kernel_soe", "unknown", 2, 8_000_000), **more)


def record(folder: Path, frames: list[Frame], rig: RigSettings = RIG, **options: Any) -> Path:
    recorder = Recorder(folder, rig, consent="the testers, orally", **options)
    for number, item in enumerate(frames):
        while recorder.recording and number - recorder.frames >= QUEUE:
            time.sleep(0.001)
        recorder.on_frame(item)
    recorder.on_pair(CapturedPair(7, Pair(rgb=frames[0].image, rgb_time_ns=1, generation=3), 99))
    recorder.close()
    assert recorder.error == ""
    assert recorder.left_out == 0
    return recorder.path


def interleaved(count: int, **more: Any) -> list[Frame]:
    return [frame(m, n, **more) for n in range(count) for m in PAIR]


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
    assert [(p.number, p.generation, p.times_ns) for p in recording.pairs()] == [(7, 3, {"rgb": 1})]


def vars_of(item: Frame) -> list[Any]:
    return [getattr(item, name) for name in Frame.__slots__ if name != "image"]


def test_no_password_is_in_the_file(tmp_path: Path) -> None:
    path = record(tmp_path / "r", interleaved(1))
    assert b"geheim" not in path.read_bytes()


def test_any_reader_of_mcap_can_open_it(tmp_path: Path) -> None:
    from mcap.reader import make_reader

    calibration = tmp_path / "geometry.json"
    calibration.write_bytes(b"{}")
    rig = RIG.model_copy(update={"geometry": calibration})
    path = record(tmp_path / "r", [*interleaved(2), frame("depth", 5)], rig)
    with path.open("rb") as file:
        reader = make_reader(file, validate_crcs=True)
        messages = list(reader.iter_messages())
        topics = {channel.topic: (schema.name if schema else "", channel) for schema, channel, _ in messages}
        assert {t: n for t, (n, _) in topics.items()} == {
            "/rgb": "sensor_msgs/msg/Image",
            "/ir": "sensor_msgs/msg/Image",
            "/depth": "sensor_msgs/msg/Image",
            "/rgb/frame": "adsn.Frame",
            "/ir/frame": "adsn.Frame",
            "/depth/frame": "adsn.Frame",
            "/pair": "adsn.Pair",
        }
        assert topics["/ir"][1].metadata["width"] == "64"
        assert [a.data for a in reader.iter_attachments()] == [b"{}"]
    first = next(m for _, c, m in messages if c.topic == "/ir")
    assert (first.publish_time, first.log_time, first.sequence) == (BASE + 4_000_001, BASE + 16_345_679, 0)
    assert Recording(path).calibration == b"{}"


@given(
    image=st.one_of(
        arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3))),
        arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(1))),
        arrays(
            np.float32,
            st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(1)),
            elements=st.one_of(st.integers(0, 70000), st.floats(0, 9000, width=32)),
        ),
    )
)
@settings(deadline=None)
def test_a_picture_comes_back_to_the_bit(image: np.ndarray[Any, Any]) -> None:
    modality: Modality = "depth" if image.dtype == np.float32 else "rgb" if image.shape[2] == 3 else "ir"
    data = encode_image(image, modality, 12_345_678_901_234)
    back = decode_image(data, modality)
    assert back.dtype == image.dtype
    assert np.array_equal(back, image)
    # CDR as any ROS 2 reader expects it: the timestamp follows the encapsulation's four bytes.
    assert struct.unpack_from("<iI", data, 4) == (12_345, 678_901_234)


@given(st.data())
@settings(deadline=None)
def test_a_damaged_picture_is_an_error_of_ours(data: st.DataObject) -> None:
    whole = bytearray(encode_image(frame("ir", 0).image[:8, :8], "ir", 5))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, 60))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(whole)))
    for decoder in (decode_image, decode_jpeg):
        try:
            decoder(bytes(whole[:cut]), "ir")
        except CameraData:
            continue


def test_colour_as_jpeg_is_nearly_itself(tmp_path: Path) -> None:
    smooth = np.broadcast_to(np.arange(64, dtype=np.uint8)[None, :, None] * 3, (48, 64, 3)).copy()
    path = record(tmp_path / "r", [replace(frame("rgb", 0), image=smooth), frame("ir", 0)], jpeg=95)
    rgb, ir = list(Recording(path).frames())
    assert int(np.abs(rgb.image.astype(int) - smooth).max()) < 12
    assert np.array_equal(ir.image, frame("ir", 0).image)
    with pytest.raises(CameraData, match="only RGB"):
        decode_jpeg(encode_jpeg(smooth, 1, 90), "ir")


# -- privacy -----------------------------------------------------------------------------------------------------------


def test_nothing_is_recorded_without_consent(tmp_path: Path) -> None:
    for consent in ("", "  "):
        with pytest.raises(ConfigError, match="Say who agreed"):
            Recorder(tmp_path / "r", RIG, consent=consent)
    assert not (tmp_path / "r").exists()


def test_folder_and_file_are_their_owners_alone(tmp_path: Path) -> None:
    previous = os.umask(0)
    try:
        path = record(tmp_path / "new" / "r", interleaved(1))
    finally:
        os.umask(previous)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_folder_that_others_can_read_is_refused(tmp_path: Path) -> None:
    open_to_all = tmp_path / "open"
    open_to_all.mkdir(mode=0o755)
    with pytest.raises(ConfigError, match="chmod 700"):
        Recorder(open_to_all, RIG, consent="yes")
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(private)
    with pytest.raises(ConfigError, match="link"):
        Recorder(tmp_path / "link", RIG, consent="yes")


def test_recording_is_loud(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    recorder = Recorder(tmp_path / "r", RIG, consent="test staff, form 12")
    assert recorder.recording == str(recorder.path)
    assert "RECORDING faces" in caplog.text
    assert "test staff, form 12" in caplog.text
    recorder.close()
    assert recorder.recording == ""
    assert "recording ended" in caplog.text


# -- trouble -----------------------------------------------------------------------------------------------------------


def test_a_full_disk_ends_the_recording_and_not_the_rig(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    recorder = Recorder(tmp_path / "r", RIG, consent="yes", min_free=1 << 62)
    deadline = time.monotonic() + 30
    while recorder.recording and time.monotonic() < deadline:
        recorder.on_frame(frame("rgb", 1))
        time.sleep(0.02)
    assert recorder.recording == ""
    assert "free on the disk" in recorder.error
    recorder.on_frame(frame("rgb", 2))
    recorder.close()
    assert "recording stopped" in caplog.text
    assert len(list(Recording(recorder.path).frames())) >= 1


def test_a_recording_ends_by_itself(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "r", RIG, consent="yes", max_s=0.0)
    recorder.on_frame(frame("rgb", 1))
    deadline = time.monotonic() + 30
    while recorder.recording:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    recorder.close()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Record with a chunk for every message."""
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
        for item in itertools.chain(recording.frames(), recording.pairs()):
            assert item is not None
    except CaptureError:
        pass


# -- replay ------------------------------------------------------------------------------------------------------------


def key(pair: Pair) -> tuple[Any, ...]:
    return pair.times_ns, pair.ir_dark_time_ns, pair.generation, pair.lit


def watched(rig: Rig, seconds: float) -> Iterator[CapturedPair]:
    deadline, number = time.monotonic() + seconds, -1
    while time.monotonic() < deadline:
        captured = rig.wait(number, 0.1)
        if captured is not None:
            number = captured.number
            yield captured


class Log:
    """Collects every pair of a rig."""

    recording = ""

    def __init__(self) -> None:
        self.pairs: list[Pair] = []

    def on_frame(self, frame: Frame) -> None: ...

    def on_pair(self, captured: CapturedPair) -> None:
        self.pairs.append(captured.pair)


@pytest.fixture(scope="module")
def performance(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Pair]]:
    """Record a strobed rig with jitter and drops. Returns the recording and the pairs formed meanwhile."""
    base = "synthetic:?size=160x160&moments=2&fps=60&run=recording"
    rig_settings = RigSettings(
        rgb=f"{base}&jitter_ms=1&drop=0.05", ir=f"{base}&phase_ms=3&jitter_ms=1&strobe=1:1", max_skew_ms=8
    )
    recorder = Recorder(tmp_path_factory.mktemp("p") / "r", rig_settings, consent="nobody is in these pictures")
    kept = Log()
    rig = Rig(rig_settings, observers=(recorder, kept))
    recorder.describe = lambda modality: next(c.info for c in rig.status().cameras if c.modality == modality)
    rig.start()
    deadline = time.monotonic() + 60
    while len(kept.pairs) < 25:
        assert time.monotonic() < deadline
        rig.wait(-1, 0.1)
        time.sleep(0.01)
    assert rig.status().recording == str(recorder.path)
    rig.close()
    recorder.close()
    assert recorder.left_out == 0
    return recorder.path, kept.pairs


def test_as_fast_as_possible_gives_the_same_pairs(performance: tuple[Path, list[Pair]]) -> None:
    path, formed = performance
    recording = Recording(path)
    replayed = [captured.pair for captured in recording.replay()]
    # Closing the rig drops frames that still wait for a partner; a replay finishes them.
    assert 0 <= len(replayed) - len(formed) <= 2
    for before, after in zip(formed, replayed, strict=False):
        assert key(before) == key(after)
        assert np.array_equal(before.image("rgb"), after.image("rgb"))
        assert np.array_equal(before.image("ir"), after.image("ir"))
        assert (before.ir_dark is None) == (after.ir_dark is None)
        assert before.ir_dark is None or np.array_equal(before.ir_dark, after.ir_dark)  # type: ignore[arg-type]
    assert any(pair.ir_dark is not None for pair in formed)
    # The file holds the same pairs.
    assert [p.times_ns for p in recording.pairs()] == [{"rgb": p.rgb_time_ns, "ir": p.ir_time_ns} for p in formed]


def test_at_speed_through_a_rig_gives_the_same_pairs(performance: tuple[Path, list[Pair]]) -> None:
    path, formed = performance
    kept = Log()
    rig = Rig(RigSettings(rgb=f"mcap:{path}", ir=f"mcap:{path}", max_skew_ms=8), observers=(kept,))
    rig.start()
    deadline = time.monotonic() + 60
    while any(c.state != "closed" for c in rig.status().cameras):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(0.2)
    assert "has ended" in rig.status().advice
    rig.close()
    assert kept.pairs[0].rgb_time_ns is not None
    assert formed[0].rgb_time_ns is not None
    shift = kept.pairs[0].rgb_time_ns - formed[0].rgb_time_ns
    overrun = sum(c.drops.get("overrun", 0) for c in rig.status().cameras)
    moved = {tuple(t + shift for t in p.times_ns if t is not None) for p in formed}
    same = [p for p in kept.pairs if p.times_ns in moved]
    # A loaded machine may not keep up; dropped frames are counted and cost only their own pairs.
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


def test_settings_are_json_in_the_metadata(tmp_path: Path) -> None:
    from mcap.reader import make_reader

    path = record(tmp_path / "r", interleaved(1))
    with path.open("rb") as file:
        stored = next(m for m in make_reader(file).iter_metadata() if m.name == "adsn").metadata
    assert json.loads(stored["settings"])["ir_offset_ms"] == -1.5
    assert stored["clock"] == "CLOCK_MONOTONIC"
