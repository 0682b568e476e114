"""Standard controls: what an address sets, what is refused, and when an exposure is trusted."""

from __future__ import annotations

import errno
import logging

import pytest

from runtime.capture.uri import parse_uri
from runtime.capture.v4l2 import abi
from runtime.capture.v4l2.controls import Controls, ControlSettings, ExposureReading
from runtime.core.errors import CameraBusy, CameraLost, CameraUnsupported, CaptureError
from runtime.core.units import MS, SECOND
from tests.support.fake_v4l2 import FakeControl, FakeKernel, FakeNode


def uvc() -> dict[int, FakeControl]:
    return {
        abi.CID_EXPOSURE_AUTO: FakeControl(3, 0, 3, menu=(1, 3)),
        abi.CID_EXPOSURE_ABSOLUTE: FakeControl(157, 3, 2047),
        abi.CID_EXPOSURE_PRIORITY: FakeControl(1, 0, 1),
        abi.CID_GAIN: FakeControl(10, 0, 100),
        abi.CID_BACKLIGHT: FakeControl(0, 0, 2),
        abi.CID_BRIGHTNESS: FakeControl(128, 0, 255),
        abi.CID_POWER_LINE: FakeControl(2, 0, 3, menu=(0, 1, 2, 3)),
    }


def controls(of: dict[int, FakeControl], fail: dict[str, int] | None = None) -> Controls:
    kernel = FakeKernel({"/dev/video0": FakeNode(controls=of, fail=fail or {})})
    return Controls(kernel, kernel.open("/dev/video0"), "/dev/video0 (Test Cam)")


def settings(options: str) -> ControlSettings:
    return ControlSettings.of(parse_uri(f"v4l2:/dev/video0?{options}"))


def values(of: dict[int, FakeControl]) -> dict[int, int]:
    return {id: control.value for id, control in of.items()}


def test_nothing_is_written_that_nobody_asked_for_but_a_steady_frame_rate() -> None:
    of = uvc()
    controls(of).apply(settings(""))
    assert values(of) == values(uvc()) | {abi.CID_EXPOSURE_PRIORITY: 0}


@pytest.mark.parametrize(
    ("options", "changed"),
    [
        ("exposure=10", {abi.CID_EXPOSURE_AUTO: 1, abi.CID_EXPOSURE_ABSOLUTE: 100}),
        ("exposure=0.5&gain=7", {abi.CID_EXPOSURE_AUTO: 1, abi.CID_EXPOSURE_ABSOLUTE: 5, abi.CID_GAIN: 7}),
        ("exposure=auto", {abi.CID_EXPOSURE_AUTO: 3}),
        ("backlight=2&brightness=90&power_line=50", {abi.CID_BACKLIGHT: 2, abi.CID_BRIGHTNESS: 90,
         abi.CID_POWER_LINE: 1}),
        ("dynamic_framerate=1", {abi.CID_EXPOSURE_PRIORITY: 1}),
    ],
)  # fmt: skip
def test_what_an_address_sets(options: str, changed: dict[int, int]) -> None:
    of = uvc()
    of[abi.CID_EXPOSURE_AUTO].value = 1 if options == "exposure=auto" else 3
    controls(of).apply(settings(options))
    assert values(of) == values(uvc()) | {abi.CID_EXPOSURE_PRIORITY: 0} | changed


def test_automatic_exposure_and_gain_of_other_cameras() -> None:
    of = {
        abi.CID_EXPOSURE_AUTO: FakeControl(1, 0, 1),
        abi.CID_EXPOSURE_ABSOLUTE: FakeControl(100),
        abi.CID_AUTOGAIN: FakeControl(0, 0, 1),
        abi.CID_GAIN: FakeControl(1),
    }
    controls(of).apply(settings("exposure=auto&gain=auto"))
    assert (of[abi.CID_EXPOSURE_AUTO].value, of[abi.CID_AUTOGAIN].value) == (0, 1)
    controls(of).apply(settings("exposure=5&gain=3"))
    assert [c.value for c in of.values()] == [1, 50, 0, 3]


@pytest.mark.parametrize(
    ("options", "fail", "error", "told"),
    [
        ("gain=500", {}, CameraUnsupported, "gain=500 means the value 500, but this camera takes 0 to 100"),
        ("gain=auto", {}, CameraUnsupported, "no writable control for gain=auto"),
        ("exposure=300", {}, CameraUnsupported, "means the value 3000, but this camera takes 3 to 2047"),
        ("gain=5", {"S_CTRL": errno.EBUSY}, CameraBusy, "another program"),
        ("gain=5", {"S_CTRL": errno.ENODEV}, CameraLost, "went away"),
        ("gain=5", {"S_CTRL": errno.EIO}, CameraUnsupported, "refused gain=5"),
        ("gain=5", {"QUERYCTRL": errno.ENODEV}, CameraLost, "went away"),
    ],
)
def test_what_cannot_be_set(options: str, fail: dict[str, int], error: type[CaptureError], told: str) -> None:
    with pytest.raises(error, match=told):
        controls(uvc(), fail).apply(settings(options))


def test_read_only_controls_are_left_alone() -> None:
    of = uvc()
    of[abi.CID_EXPOSURE_PRIORITY].flags = abi.CTRL_READ_ONLY
    of[abi.CID_GAIN].flags = abi.CTRL_READ_ONLY
    controls(of).apply(settings(""))
    assert of[abi.CID_EXPOSURE_PRIORITY].value == 1
    with pytest.raises(CameraUnsupported, match="no writable control"):
        controls(of).apply(settings("gain=1"))
    of[abi.CID_GAIN].flags = abi.CTRL_DISABLED
    with pytest.raises(CameraUnsupported, match="no writable control"):
        controls(of).apply(settings("gain=1"))


def test_a_frame_rate_that_cannot_be_kept_steady_is_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        controls(uvc(), {"S_CTRL": errno.EIO}).apply(settings(""))
    assert ["frame rate may halve" in r.message for r in caplog.records] == [True]


def test_a_closed_shutter_is_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        controls({abi.CID_PRIVACY: FakeControl(1, 0, 1)}).apply(settings(""))
    assert ["privacy shutter is closed" in r.message for r in caplog.records] == [True]


# Exposure.


def test_a_manual_exposure_is_believed_and_asked_for_once() -> None:
    of = uvc()
    of[abi.CID_EXPOSURE_AUTO].value = 1
    reading = ExposureReading(controls(of), 33 * MS)
    assert reading.at(0) == 15_700_000
    of[abi.CID_EXPOSURE_ABSOLUTE].value = 20
    assert reading.at(10 * SECOND) == 15_700_000, "each read is a transfer on the camera's bus"


def test_an_automatic_exposure_is_believed_once_it_has_moved() -> None:
    of = uvc()
    reading = ExposureReading(controls(of), 33 * MS)
    assert reading.at(0) is None
    of[abi.CID_EXPOSURE_ABSOLUTE].value = 80
    assert reading.at(SECOND // 2) is None, "it is read once a second"
    assert reading.at(SECOND) == 8 * MS
    of[abi.CID_EXPOSURE_ABSOLUTE].value = 157
    assert reading.at(2 * SECOND) == 15_700_000


def test_a_volatile_exposure_is_believed_at_once() -> None:
    of = uvc()
    of[abi.CID_EXPOSURE_ABSOLUTE].flags = abi.CTRL_VOLATILE
    assert ExposureReading(controls(of), 33 * MS).at(0) == 15_700_000


def test_an_exposure_that_is_no_part_of_the_period_is_not_believed() -> None:
    of = uvc()
    of[abi.CID_EXPOSURE_AUTO].value = 1
    of[abi.CID_EXPOSURE_ABSOLUTE].value = 2000
    assert ExposureReading(controls(of), 33 * MS).at(0) is None
    assert ExposureReading(controls(of), None).at(0) == 200 * MS
    of[abi.CID_EXPOSURE_ABSOLUTE].value = 0
    assert ExposureReading(controls(of), None).at(0) is None


def test_a_camera_without_the_control_or_that_does_not_answer() -> None:
    assert ExposureReading(controls({}), None).at(0) is None
    assert ExposureReading(controls(uvc(), {"G_CTRL": errno.EIO}), None).at(0) is None
    fixed = {abi.CID_EXPOSURE_ABSOLUTE: FakeControl(100)}
    assert ExposureReading(controls(fixed), None).at(0) == 10 * MS
