"""Cameras through OpenCV: a network stream over loopback with the real library, local cameras with a fake
`cv2.VideoCapture`, and the reader thread that adds a timeout to blocking libraries."""

from __future__ import annotations

import contextlib
import http.server
import threading
import time
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import pytest

from runtime.capture.open import open_source
from runtime.capture.reader_thread import ReaderThread
from runtime.capture.source import Source
from runtime.core.errors import CameraData, CameraLost, CameraMissing, CameraUnsupported, CaptureError, ConfigError
from runtime.core.values import Frame, Modality

FRAMES = 12


class Stream(http.server.BaseHTTPRequestHandler):
    """A network camera that sends twelve JPEG images and hangs up."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        with contextlib.suppress(ConnectionError):
            self.send_pictures()

    def send_pictures(self) -> None:
        for number in range(FRAMES):
            picture = np.full((48, 64, 3), (10, 20, 100 + 10 * number), np.uint8)
            data = cv2.imencode(".jpg", picture)[1].tobytes()
            self.wfile.write(b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(data))
            self.wfile.write(data + b"\r\n")
            time.sleep(0.005)

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


@pytest.fixture
def address() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Stream)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/stream.mjpg"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_network_camera_is_timed_by_arrival_and_lost_when_it_hangs_up(address: str) -> None:
    source = open_source(f"opencv:{address}?timeout=10", "rgb", 2)
    read: list[Frame] = []
    error = fault(source, read)
    source.close()
    assert isinstance(error, CameraLost)
    assert "no more frames" in error.message
    assert read
    for frame in read:
        assert frame.image.shape == (48, 64, 3)
        assert frame.image[10, 10, 0] > 90 > frame.image[10, 10, 2], "RGB, not BGR"
        assert (frame.timestamp_source, frame.seq, frame.generation) == ("arrival", None, 2)
        assert frame.t_capture_ns == frame.t_arrival_ns
    info = source.info
    assert (info.width, info.height, info.timestamp_source) == (64, 48, "arrival")


def test_an_opencv_without_ffmpeg_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cv2.videoio_registry.hasBackend", lambda backend: backend != cv2.CAP_FFMPEG)
    with pytest.raises(CameraUnsupported, match=r"^opencv:http://\*\*\*@host/s: this build of OpenCV has no FFmpeg"):
        open_source("opencv:http://admin:geheim@host/s", "rgb", 0)


def test_passwords_stay_out_of_what_is_shown(address: str) -> None:
    with_password = address.replace("http://", "http://admin:geheim@")
    source = open_source(f"opencv:{with_password}", "ir", 0)
    source.close()
    assert "geheim" not in f"{source.info}"
    with pytest.raises(CameraMissing) as caught:
        open_source("opencv:http://admin:geheim@127.0.0.1:1/stream", "ir", 0)
    assert "geheim" not in caught.value.message


def fault(source: Source, read: list[Frame] | None = None) -> CaptureError:
    """Return the next error of a source. Frames before it are collected in ``read``."""
    for _ in range(100):
        try:
            frame = source.read(20)
        except CaptureError as error:
            return error
        if frame is not None and read is not None:
            read.append(frame)
    raise AssertionError("nothing went wrong")


class FakeCapture:
    """Fake of a local camera in OpenCV. ``takes``: formats that it supports. It silently ignores requests for
    others."""

    takes = ("YUYV", "GREY", "Y16", "Y10", "MJPG")
    opens = True
    gives: Any = None
    position_ms: float | None = None
    fails = False

    def __init__(self) -> None:
        self.fourcc, self.size, self.convert, self.released = "YUYV", (640, 480), 1.0, 0
        self.order: list[int] = []
        CAPTURES.append(self)

    def open(self, index: int, backend: int) -> bool:
        assert backend == cv2.CAP_V4L2
        return self.opens

    def set(self, what: int, value: float) -> bool:
        self.order.append(what)
        if what == cv2.CAP_PROP_FOURCC:
            name = int(value).to_bytes(4, "little").decode().strip()
            self.fourcc = name if name in self.takes else self.fourcc
            self.convert = 1.0
        if what == cv2.CAP_PROP_CONVERT_RGB:
            self.convert = value
        return True

    def get(self, what: int) -> float:
        return {
            cv2.CAP_PROP_FOURCC: int.from_bytes(self.fourcc.ljust(4).encode(), "little"),
            cv2.CAP_PROP_FRAME_WIDTH: self.size[0],
            cv2.CAP_PROP_FRAME_HEIGHT: self.size[1],
            cv2.CAP_PROP_FPS: 30,
            cv2.CAP_PROP_POS_MSEC: self.position_ms if self.position_ms is not None else time.monotonic() * 1000,
        }[what]

    def getBackendName(self) -> str:
        return "V4L2"

    def grab(self) -> bool:
        time.sleep(0.005)
        return not self.fails

    def retrieve(self) -> tuple[bool, Any]:
        return self.gives is not None, self.gives

    def release(self) -> None:
        self.released += 1


CAPTURES: list[FakeCapture] = []


@pytest.fixture
def capture(monkeypatch: pytest.MonkeyPatch) -> type[FakeCapture]:
    class Capture(FakeCapture):
        pass

    CAPTURES.clear()
    monkeypatch.setattr(cv2, "VideoCapture", Capture)
    return Capture


COLOUR = np.full((480, 640, 3), (10, 20, 200), np.uint8)
PACKED = np.stack([np.full((480, 640), 77, np.uint8), np.full((480, 640), 128, np.uint8)], 2)


@pytest.mark.parametrize(
    ("options", "modality", "gives", "value", "converted"),
    [
        ("", "rgb", COLOUR, [200, 20, 10], True),
        ("?fourcc=MJPG", "rgb", COLOUR, [200, 20, 10], True),
        ("?fourcc=GREY", "ir", np.full((480, 640), 9, np.uint8), [9], False),
        ("?fourcc=Y10", "ir", np.full((480, 640), 1023, np.uint16), [255], False),
        ("?fourcc=Y16&bits=10", "ir", np.full((480, 640), 512, np.uint16), [128], False),
        ("?fourcc=YUYV", "ir", PACKED, [77], False),
        ("", "ir", PACKED, [77], False),
        ("?fourcc=MJPG", "ir", np.full((480, 640, 3), 55, np.uint8), [55], True),
    ],
)
def test_cameras_of_this_machine(
    options: str, modality: Modality, gives: Any, value: list[int], converted: bool, capture: type[FakeCapture]
) -> None:
    capture.gives = gives
    source = open_source(f"opencv:0{options}", modality, 0)
    frame = source.read(20)
    source.close()
    assert frame is not None
    assert frame.image.shape == (480, 640, len(value))
    assert frame.image[5, 5].tolist() == value
    assert (frame.timestamp_source, source.info.timestamp_source) == ("kernel_eof", "kernel_eof")
    assert frame.seq is None
    assert CAPTURES[0].convert == converted
    assert CAPTURES[0].released == 1, "released once, after reading has ended"


def test_conversion_is_turned_off_last(capture: type[FakeCapture]) -> None:
    capture.gives = np.zeros((480, 640), np.uint8)
    open_source("opencv:0?fourcc=GREY&size=640x480&fps=30", "ir", 0).close()
    assert CAPTURES[0].order[-1] == cv2.CAP_PROP_CONVERT_RGB


@pytest.mark.parametrize("position_ms", [0.0, 1.7e12])
def test_a_position_that_is_no_kernel_time_is_not_used(position_ms: float, capture: type[FakeCapture]) -> None:
    capture.gives, capture.position_ms = COLOUR, position_ms
    source = open_source("opencv:/dev/video0", "rgb", 0)
    frame = source.read(20)
    source.close()
    assert frame is not None
    assert (frame.timestamp_source, frame.t_capture_ns) == ("arrival", frame.t_arrival_ns)
    assert source.info.timestamp_source == "arrival"


def test_what_opencv_would_hide(capture: type[FakeCapture]) -> None:
    with pytest.raises(CameraUnsupported, match="delivers YUYV instead of the requested format"):
        open_source("opencv:0?fourcc=NV12", "rgb", 0)
    with pytest.raises(CameraUnsupported, match="delivers 640x480 instead"):
        open_source("opencv:0?size=800x600", "rgb", 0)
    assert [c.released for c in CAPTURES] == [1, 1]
    capture.opens = False
    with pytest.raises(CameraMissing, match="v4l2: gives the reason"):
        open_source("opencv:0", "rgb", 0)
    capture.opens = True
    source = open_source("opencv:0?fourcc=Y16", "ir", 0)
    with pytest.raises(CameraData, match="could not decode"):
        source.read(20)
    capture.gives = np.zeros((480, 640), np.uint8)
    assert any("the low bits are lost" in fault(source).message for _ in range(20))
    capture.fails = True
    assert any(isinstance(fault(source), CameraLost) for _ in range(20))
    source.close()


@pytest.mark.parametrize(
    "uri", ["opencv:0?timeout=3", "opencv:http://host/x?size=1x1", "opencv:clip.mp4", "opencv:0?stamp=middle"]
)
def test_addresses_that_are_wrong(uri: str, capture: type[FakeCapture]) -> None:
    with pytest.raises(ConfigError):
        open_source(uri, "rgb", 0)


# The reader thread.


def test_the_newest_results_win() -> None:
    steps, given = iter(range(10)), threading.Event()

    def step() -> int | None:
        number = next(steps, None)
        if number is None:
            given.set()
            time.sleep(0.001)
        return number

    reader_thread = ReaderThread(step, lambda: None, "camera")
    assert given.wait(20)
    assert [reader_thread.get(1) for _ in range(4)] == [6, 7, 8, 9]
    assert reader_thread.get(0.01) is None
    reader_thread.close()
    with pytest.raises(CameraLost, match="closed"):
        reader_thread.get(1)


def test_close_ends_a_take_that_waits_and_releases_in_the_reading_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    released: list[str] = []
    waits = threading.Event()

    class Watched(threading.Condition):
        def wait(self, timeout: float | None = None) -> bool:
            if threading.current_thread().name == "taker":
                waits.set()
            return super().wait(timeout)

    monkeypatch.setattr("runtime.capture.mailbox.threading.Condition", Watched)
    reader_thread: ReaderThread[int] = ReaderThread(
        lambda: time.sleep(0.001), lambda: released.append(threading.current_thread().name), "camera"
    )
    result: list[object] = []
    taker = threading.Thread(target=lambda: result.append(reader_thread.get(60)), name="taker")
    taker.start()
    assert waits.wait(20)
    reader_thread.close()
    taker.join(20)
    assert result == [None]
    assert released == ["pump camera"]


def test_a_library_that_hangs_does_not_hold_up_close(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.capture.reader_thread.CLOSE_S", 0.01)
    go, released = threading.Event(), threading.Event()
    reader_thread: ReaderThread[int] = ReaderThread(lambda: go.wait(20) and None, released.set, "camera")
    reader_thread.close()
    assert not released.is_set()
    go.set()
    assert released.wait(20)


def test_what_a_library_throws_ends_the_stream_without_its_text() -> None:
    def step() -> int:
        raise RuntimeError("rtsp://admin:geheim@host")

    reader_thread = ReaderThread(step, lambda: None, "camera")
    for _ in range(2):
        with pytest.raises(CameraLost, match=r"^camera: the library failed with RuntimeError; open .* again\.$"):
            reader_thread.get(20)
    reader_thread.close()
