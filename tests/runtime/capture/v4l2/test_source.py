"""Frames of the V4L2 source from a fake kernel: how they arrive, how they are timed, and all faults."""

from __future__ import annotations

import errno
import logging
import threading
from typing import Any

import cv2
import numpy as np
import pytest

from runtime.capture.uri import parse_uri
from runtime.capture.v4l2 import abi
from runtime.capture.v4l2 import source as v4l2
from runtime.capture.v4l2.source import open_v4l2
from runtime.core.errors import (
    CameraData,
    CameraLost,
)
from runtime.core.units import MS
from tests.support.fake_v4l2 import (
    END,
    GREY,
    HELLO,
    PERIOD,
    START,
    T0,
    FakeControl,
    FakeFrame,
    FakeKernel,
    FakeNode,
    grey,
    opened,
)


def test_frames_come_whole_in_order_and_are_not_the_drivers_memory() -> None:
    source, kernel = opened(FakeNode(formats=GREY, frames=grey()))
    frames = [source.read(1.0) for _ in range(3)]
    for number, frame in enumerate(frames):
        assert frame is not None
        assert frame.image.shape == (480, 640, 1)
        assert frame.image.dtype == np.uint8
        # The fake kernel overwrites a buffer that was given back.
        assert (frame.image == number + 1).all()
        assert (frame.seq, frame.generation, frame.modality, frame.lit) == (number, 7, "ir", "unknown")
        assert frame.t_arrival_ns == T0 + (number + 1) * PERIOD
    assert source.read(0.05) is None
    assert kernel.time_ns == T0 + 3 * PERIOD + 50 * MS
    info = source.info
    assert (info.width, info.height, info.pixel_format, info.fps, info.backend) == (640, 480, "GREY", 30.0, "v4l2")
    source.close()
    source.close()
    assert not kernel.by_fd
    assert not kernel.pipes
    assert kernel.mapped == 0
    with pytest.raises(CameraLost, match="closed"):
        source.read(0.1)


def test_more_frames_than_buffers_come_through() -> None:
    frames = grey(40)
    source, _ = opened(FakeNode(formats=GREY, frames=frames), "v4l2:/dev/video0?buffers=2")
    read = [source.read(1.0) for _ in range(40)]
    assert [f.seq for f in read if f is not None] == list(range(40))


def test_close_ends_a_read_that_waits() -> None:
    source, kernel = opened(FakeNode(formats=GREY), real_time=True)
    result: list[object] = []
    reader = threading.Thread(target=lambda: result.append(source.read(60)))
    reader.start()
    assert kernel.waiting.wait(20)
    source.close()
    reader.join(20)
    assert result == [None]
    assert not kernel.by_fd
    assert kernel.mapped == 0


def test_close_does_not_wait_for_a_driver_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(v4l2, "CLOSE_S", 0.01)
    source, kernel = opened(FakeNode(formats=GREY, frames=grey(1)))
    entered, go = threading.Event(), threading.Event()
    ioctl = kernel.ioctl

    def hang(fd: int, request: int, argument: Any) -> None:
        if request == abi.DQBUF:
            entered.set()
            assert go.wait(20)
        ioctl(fd, request, argument)

    monkeypatch.setattr(kernel, "ioctl", hang)
    reader = threading.Thread(target=source.read, args=(60,))
    reader.start()
    assert entered.wait(20)
    source.close()
    assert kernel.by_fd, "the memory must stay while the reader may write to it"
    go.set()
    reader.join(20)
    assert not kernel.by_fd
    assert kernel.mapped == 0


# Times.


@pytest.mark.parametrize(
    ("driver", "flags", "parameter", "timestamp", "shift", "source"),
    [
        ("sensor", START, None, "auto", 5 * MS, "kernel_soe"),
        ("sensor", END, None, "auto", -5 * MS, "kernel_eof"),
        # uvcvideo flags the start of the exposure but uses the arrival time of the first bytes.
        ("uvcvideo", START, "0", "auto", -5 * MS, "kernel_eof"),
        ("uvcvideo", START, "1", "auto", 5 * MS, "kernel_soe"),
        ("uvcvideo", START, None, "auto", -5 * MS, "kernel_eof"),
        ("sensor", START, None, "end", -5 * MS, "kernel_eof"),
        ("sensor", END, None, "start", 5 * MS, "kernel_soe"),
    ],
)
def test_a_stamp_becomes_the_middle_of_the_exposure(
    driver: str, flags: int, parameter: str | None, timestamp: str, shift: int, source: str
) -> None:
    controls = {abi.CID_EXPOSURE_AUTO: FakeControl(1, menu=(1, 3)), abi.CID_EXPOSURE_ABSOLUTE: FakeControl(100)}
    node = FakeNode(driver=driver, formats=GREY, frames=grey(1, flags=flags), flags=flags, controls=controls)
    node.frames[0].timestamp_ns = T0 + 20 * MS
    kernel = FakeKernel({"/dev/video0": node})
    if parameter is not None:
        kernel.parameters["uvcvideo", "hwtimestamps"] = parameter
    opened = open_v4l2(parse_uri(f"v4l2:/dev/video0?stamp={timestamp}"), "ir", 0, kernel=kernel)
    assert opened.info.timestamp_source == source
    frame = opened.read(1.0)
    assert frame is not None
    assert frame.exposure_ns == 10 * MS
    assert frame.t_capture_ns == T0 + 20 * MS + shift
    assert frame.timestamp_source == source


@pytest.mark.parametrize(
    ("timestamp_ns", "flags", "told"),
    [
        (T0 + 20 * MS, abi.CLOCK_COPY, "copies of another device"),
        (T0 + 20 * MS, abi.CLOCK_UNKNOWN, "does not name the clock"),
        (1_700_000_000_000_000_000, START, "after arrival"),
        (0, START, "before arrival"),
        (T0 + 500 * MS, START, "after arrival"),
    ],
)
def test_a_stamp_of_another_clock_gives_way_to_the_arrival_and_says_so(
    timestamp_ns: int, flags: int, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    node = FakeNode(formats=GREY, frames=grey(2, flags=flags), flags=flags)
    for frame in node.frames:
        frame.timestamp_ns = timestamp_ns
    source, _ = opened(node)
    with caplog.at_level(logging.WARNING):
        frames = [source.read(1.0), source.read(1.0)]
    assert [f.timestamp_source for f in frames if f] == ["arrival", "arrival"]
    assert [f.t_capture_ns - f.t_arrival_ns for f in frames if f] == [0, 0]
    assert source.info.timestamp_source == "arrival"
    assert [told in r.message for r in caplog.records] == [True], "logged once, not with every frame"


def test_a_stamp_that_stands_still_is_not_used_twice() -> None:
    node = FakeNode(formats=GREY, frames=grey(3))
    node.frames[1].timestamp_ns = node.frames[0].at_ns
    source, _ = opened(node)
    sources = [f.timestamp_source for f in (source.read(1), source.read(1), source.read(1)) if f]
    assert sources == ["kernel_eof", "arrival", "kernel_eof"]


def test_a_stamp_a_little_in_the_future_is_used() -> None:
    node = FakeNode(formats=GREY, frames=grey(1))
    node.frames[0].timestamp_ns = node.frames[0].at_ns + 29 * MS
    source, _ = opened(node)
    frame = source.read(1)
    assert frame is not None
    assert frame.t_capture_ns == frame.t_arrival_ns + 29 * MS


def test_arrival_can_be_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    source, _ = opened(FakeNode(formats=GREY, frames=grey(1)), "v4l2:/dev/video0?stamp=arrival")
    frame = source.read(1)
    assert frame is not None
    assert frame.timestamp_source == "arrival"
    assert not caplog.records, "the operator's choice is not a fault"


def test_sequence_numbers_go_on_beyond_32_bits() -> None:
    node = FakeNode(formats=GREY, frames=grey(4))
    for frame, raw in zip(node.frames, (0xFFFFFFFE, 0xFFFFFFFF, 1, 2), strict=True):
        frame.sequence = raw
    source, _ = opened(node)
    assert [f.seq for f in (source.read(1) for _ in range(4)) if f] == [2**32 - 2, 2**32 - 1, 2**32 + 1, 2**32 + 2]


# Faulty frames: each raises its own error, and the next frame is read.


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"flags": START | abi.FLAG_ERROR}, "marks frame 0 as damaged"),
        ({"claims": 640 * 480 + 1}, "claims 307201 bytes in a buffer of 307200"),
        ({"claims": 1000}, "cut off: 1000 bytes"),
        ({"claims": 0}, "empty image"),
    ],
)
def test_a_wrong_frame_is_an_error_and_the_next_one_comes(change: dict[str, int], told: str) -> None:
    node = FakeNode(formats=GREY, frames=grey(2))
    for name, value in change.items():
        setattr(node.frames[0], name, value)
    source, _ = opened(node)
    with pytest.raises(CameraData, match=told):
        source.read(1)
    frame = source.read(1)
    assert frame is not None
    assert (frame.image == 2).all()
    assert len(node.queued) == 4, "the faulty frame's buffer was returned too"


def test_a_buffer_that_does_not_exist() -> None:
    node = FakeNode(formats=GREY, frames=grey(2))
    node.frames[0].index = 9
    source, _ = opened(node)
    with pytest.raises(CameraData, match="buffer 9 of 4"):
        source.read(1)
    assert source.read(1) is not None


def test_unplugged_while_read() -> None:
    node = FakeNode(formats=GREY, frames=grey(1))
    source, kernel = opened(node)
    assert source.read(1) is not None
    node.gone = True
    with pytest.raises(CameraLost, match="unplugged"):
        source.read(1)
    source.close()
    assert not kernel.by_fd
    assert kernel.mapped == 0


@pytest.mark.parametrize("code", [errno.EIO, errno.EINVAL, errno.EPIPE])
def test_a_driver_that_stops(code: int) -> None:
    node = FakeNode(formats=GREY)
    source, _ = opened(node)
    node.fail["DQBUF"] = code
    with pytest.raises(CameraLost, match="the driver failed when read"):
        source.read(1)


def test_a_node_that_is_ready_without_a_frame_costs_no_processor() -> None:
    node = FakeNode(formats=GREY)
    source, kernel = opened(node)
    node.fail["DQBUF"] = errno.EAGAIN
    before = len(kernel.calls)
    assert source.read(1.0) is None
    assert len(kernel.calls) - before <= 201


def test_jpeg_frames_are_decoded_and_cut_off_ones_refused() -> None:
    picture = np.zeros((480, 640, 3), np.uint8)
    picture[:, :320] = (200, 30, 30)  # BGR: the left half is blue.
    data = cv2.imencode(".jpg", picture)[1].tobytes()
    frames = [FakeFrame(d, T0 + (i + 1) * PERIOD, i) for i, d in enumerate((data[:-400], data + b"\0" * 64, b"junk"))]
    source, _ = opened(FakeNode(formats=HELLO, frames=frames), modality="rgb")
    with pytest.raises(CameraData, match="not a complete JPEG"):
        source.read(1)
    frame = source.read(1)
    assert frame is not None
    assert frame.image.shape == (480, 640, 3)
    np.testing.assert_allclose(frame.image[100, 100], (30, 30, 200), atol=6)
    with pytest.raises(CameraData, match="not a complete JPEG"):
        source.read(1)
