"""Opening the V4L2 source on a fake kernel: negotiation, and the message of every error."""

from __future__ import annotations

import errno
import re

import pytest

from runtime.capture.uri import parse_uri
from runtime.capture.v4l2 import abi
from runtime.capture.v4l2.source import open_v4l2
from runtime.core.errors import (
    CameraBusy,
    CameraData,
    CameraDenied,
    CameraLost,
    CameraMissing,
    CameraUnsupported,
    CaptureError,
    ConfigError,
)
from runtime.core.values import Modality
from tests.support.fake_v4l2 import (
    GREY,
    HELLO,
    META,
    FakeKernel,
    FakeNode,
    Formats,
    opened,
    refused,
)


@pytest.mark.parametrize(
    ("code", "error", "told"),
    [
        (errno.ENOENT, CameraMissing, "Existing nodes: /dev/video2, /dev/video4"),
        (errno.ENODEV, CameraMissing, "Existing nodes: /dev/video2, /dev/video4"),
        (errno.EACCES, CameraDenied, "usermod -aG video"),
        (errno.EBUSY, CameraBusy, "another program"),
        (errno.EMFILE, CameraMissing, "Too many open files"),
    ],
)
def test_a_node_that_does_not_open(code: int, error: type[CaptureError], told: str) -> None:
    kernel = FakeKernel({"/dev/video2": FakeNode(), "/dev/video4": FakeNode()})
    kernel.open_errors["/dev/video0"] = code
    with pytest.raises(error, match=told):
        open_v4l2(parse_uri("v4l2:/dev/video0"), "rgb", 0, kernel=kernel)


def test_no_camera_at_all() -> None:
    with pytest.raises(CameraMissing, match="This machine has no video nodes"):
        open_v4l2(parse_uri("v4l2:/dev/video0"), "rgb", 0, kernel=FakeKernel({}))


@pytest.mark.parametrize(
    ("call", "code", "error", "told"),
    [
        ("QUERYCAP", errno.ENOTTY, CameraUnsupported, "not a Video4Linux2 camera"),
        ("QUERYCAP", errno.ENODEV, CameraMissing, "no camera behind it"),
        ("ENUM_FMT", errno.ENODEV, CameraLost, "went away"),
        ("S_FMT", errno.EBUSY, CameraBusy, r"in use by cheese \(process 42\)"),
        ("S_FMT", errno.EINVAL, CameraUnsupported, "refused GREY 640x480"),
        ("S_FMT", errno.ENODEV, CameraLost, "went away"),
        ("S_PARM", errno.EBUSY, CameraBusy, "in use by cheese"),
        ("S_PARM", errno.ENODEV, CameraLost, "went away"),
        ("QUERYCTRL", errno.ENODEV, CameraLost, "went away"),
        ("REQBUFS", errno.EBUSY, CameraBusy, "in use by cheese"),
        ("REQBUFS", errno.ENOMEM, CameraBusy, "no memory"),
        ("REQBUFS", errno.EINVAL, CameraUnsupported, "does not support memory-mapped"),
        ("QBUF", errno.EIO, CameraLost, "given its buffers"),
        ("STREAMON", errno.ENOSPC, CameraBusy, "USB bus has no bandwidth left"),
        ("STREAMON", errno.ENODEV, CameraLost, "unplugged"),
        ("STREAMON", errno.EIO, CameraLost, "when started"),
        ("STREAMON", errno.EPIPE, CameraUnsupported, "media-ctl"),
    ],
)
def test_a_call_that_fails_while_opening(call: str, code: int, error: type[CaptureError], told: str) -> None:
    found = refused(FakeNode(formats=GREY, fail={call: code}))
    assert type(found) is error
    assert re.search(told, found.message)


def test_one_buffer_is_too_few() -> None:
    assert "offers 1 buffers" in refused(FakeNode(formats=GREY, gives=1)).message


@pytest.mark.parametrize(
    ("caps", "told"),
    [
        (META, "the node before it"),
        (abi.CAP_VIDEO_CAPTURE_MPLANE | abi.CAP_STREAMING, "multi-planar.*gst:"),
        (abi.CAP_VIDEO_M2M | abi.CAP_STREAMING, "encoder"),
        (0, "encoder, a decoder or an output"),
        (abi.CAP_VIDEO_CAPTURE, "mapped memory"),
    ],
)
def test_a_node_that_is_no_camera(caps: int, told: str) -> None:
    found = refused(FakeNode(caps=caps))
    assert isinstance(found, CameraUnsupported)
    assert re.search(told, found.message)


@pytest.mark.parametrize(
    ("uri", "told"),
    [
        ("v4l2:/dev/video0?colour=1", "no option 'colour'"),
        ("v4l2:", "needs a node"),
        ("v4l2:/dev/video0?fps=fast", "fps must be a number"),
        ("v4l2:/dev/video0?bits=20", "bits must be 16 or less"),
        ("v4l2:/dev/video0?metadata=yes", "auto, off or a node"),
        ("v4l2:/dev/video0?stamp=middle", "stamp must be one of"),
        ("v4l2:/dev/video0?fourcc=GREY&bits=10", "bits applies to two-byte grey formats only, not to GREY"),
        ("v4l2:/dev/video0?power_line=55", "power_line must be one of"),
    ],
)
def test_options_that_are_wrong(uri: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        open_v4l2(parse_uri(uri), "ir", 0, kernel=FakeKernel({"/dev/video0": FakeNode(formats=GREY)}))


def test_a_number_is_a_node() -> None:
    source = open_v4l2(parse_uri("v4l2:0"), "ir", 0, kernel=FakeKernel({"/dev/video0": FakeNode(formats=GREY)}))
    assert source.info.width == 640


@pytest.mark.parametrize(
    ("formats", "uri", "modality", "agreed"),
    [
        (HELLO, "", "rgb", ("MJPG", 640, 480, 30.0)),
        (HELLO, "?fourcc=YUYV", "rgb", ("YUYV", 640, 480, 30.0)),
        (HELLO, "?fourcc=yuy2&size=640x360", "rgb", ("YUYV", 640, 360, 30.0)),
        (HELLO, "?fourcc=YUYV&fps=15", "rgb", ("YUYV", 640, 480, 15.0)),
        (HELLO, "", "ir", ("YUYV", 640, 480, 30.0)),
        ({"Y16": {(340, 340): (15.0,)}, "GREY": {(400, 400): (15.0,), (340, 340): (15.0,)}}, "", "ir",
         ("GREY", 400, 400, 15.0)),
        ({"Z16": {(1280, 720): (30.0,), (848, 480): (30.0,)}}, "", "depth", ("Z16", 848, 480, 30.0)),
        ({"GREY": {(800, 600): (29.97,)}}, "?fps=30", "ir", ("GREY", 800, 600, 29.97)),
    ],
)  # fmt: skip
def test_what_is_agreed(formats: Formats, uri: str, modality: Modality, agreed: tuple[str, int, int, float]) -> None:
    info = opened(FakeNode(formats=formats), f"v4l2:/dev/video0{uri}", modality)[0].info
    assert (info.pixel_format, info.width, info.height, info.fps) == agreed


def test_a_range_of_sizes() -> None:
    node = FakeNode(formats={"GREY": {(64, 64): (), (1920, 1200): ()}}, stepwise=True)
    kernel = FakeKernel({"/dev/video0": node})
    with pytest.raises(CameraUnsupported, match=r"It offers .* as 320x240, .*640x480,.* 1920x1200"):
        open_v4l2(parse_uri("v4l2:/dev/video0?size=4000x4000"), "ir", 0, kernel=kernel)


@pytest.mark.parametrize(
    ("uri", "modality", "told"),
    [
        ("?fourcc=GREY", "ir", "has no GREY. It offers YUYV, MJPG; adsn-rig list"),
        ("?fourcc=H264", "rgb", "unsupported pixel format H264"),
        ("?fourcc=GREY", "rgb", "GREY does not give rgb"),
        ("", "depth", "no format for depth"),
        (
            "?fourcc=YUYV&size=800x600",
            "rgb",
            "no YUYV of 800x600; the nearest is 640x360. It offers YUYV as 640x360@30, 640x480@30/15 ",
        ),
        ("?fourcc=YUYV&fps=60", "rgb", "delivers 30 frames/s instead of fps=60. It offers 30, 15"),
    ],
)
def test_what_is_not_offered_is_refused_with_what_is(uri: str, modality: Modality, told: str) -> None:
    found = refused(FakeNode(formats=HELLO), f"v4l2:/dev/video0{uri}", modality)
    assert isinstance(found, CameraUnsupported)
    assert told in found.message


@pytest.mark.parametrize(
    ("answer", "error", "told"),
    [
        ({"pixelformat": abi.fourcc("YUYV")}, CameraUnsupported, "replaced GREY by YUYV"),
        ({"field": 4}, CameraUnsupported, "interlaced"),
        ({"bytesperline": 639}, CameraData, "rows of 639 bytes"),
        ({"sizeimage": 1000}, CameraData, "images have 1000 bytes"),
        ({"width": 0}, CameraData, "image size of 0×480"),
    ],
)
def test_answers_that_make_no_sense(answer: dict[str, int], error: type[CaptureError], told: str) -> None:
    found = refused(FakeNode(formats=GREY, answer=answer))
    assert type(found) is error
    assert told in found.message


def test_a_driver_without_a_choice_of_rate() -> None:
    node = FakeNode(formats=GREY, rates_settable=False, fps=25.0)
    assert opened(node)[0].info.fps == 25.0
    assert "delivers 25 frames/s" in refused(node, "v4l2:/dev/video0?fps=30").message
    mute = FakeNode(formats=GREY, fail={"G_PARM": errno.ENOTTY})
    assert opened(mute)[0].info.fps is None
    assert "leave fps out" in refused(mute, "v4l2:/dev/video0?fps=30").message
