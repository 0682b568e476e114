"""The recorder: its files are standard and private, the log says that it records, and it stops if disk space runs
out."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from runtime.core.errors import (
    ConfigError,
)
from runtime.recording.reader import Recording
from runtime.recording.writer import Recorder
from tests.support.recordings import BASE, RIG, frame, interleaved, record
from tests.support.waiting import until


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


def test_a_full_disk_ends_the_recording_and_not_the_rig(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    recorder = Recorder(tmp_path / "r", RIG, consent="yes", min_free=1 << 62)

    def has_ended() -> bool:
        recorder.on_frame(frame("rgb", 1))
        return recorder.recording == ""

    until(has_ended)
    assert "free on the disk" in recorder.error
    recorder.on_frame(frame("rgb", 2))
    recorder.close()
    assert "recording stopped" in caplog.text
    assert len(list(Recording(recorder.path).frames())) >= 1


def test_a_recording_ends_by_itself(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "r", RIG, consent="yes", max_s=0.0)
    recorder.on_frame(frame("rgb", 1))
    until(lambda: not recorder.recording)
    recorder.close()


def test_settings_are_json_in_the_metadata(tmp_path: Path) -> None:
    from mcap.reader import make_reader

    path = record(tmp_path / "r", interleaved(1))
    with path.open("rb") as file:
        stored = next(m for m in make_reader(file).iter_metadata() if m.name == "adsn").metadata
    assert json.loads(stored["settings"])["ir_offset_ms"] == -1.5
    assert stored["clock"] == "CLOCK_MONOTONIC"
