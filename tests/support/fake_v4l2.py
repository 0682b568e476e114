"""A fake kernel with V4L2 cameras: the system calls that this project makes, with the rules of a real driver.

Time is virtual: waiting advances the clock to the next frame. When a buffer is enqueued again, its memory is
overwritten, as a camera would do. So a test notices an image that still refers to that memory.
"""

from __future__ import annotations

import ctypes
import errno
import os
import threading
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from runtime.capture.uri import parse_uri
from runtime.capture.v4l2 import abi
from runtime.capture.v4l2.kernel import ByteArray
from runtime.capture.v4l2.source import V4l2Source, open_v4l2
from runtime.core.errors import CaptureError
from runtime.core.units import MS
from runtime.core.values import Modality

NAMES = {
    number: name
    for name, number in vars(abi).items()
    if name.isupper() and isinstance(number, int) and number >> 8 & 0xFF == ord("V") and number >> 30
}
VIDEO = abi.CAP_VIDEO_CAPTURE | abi.CAP_STREAMING
META = abi.CAP_META_CAPTURE | abi.CAP_STREAMING
START = abi.CLOCK_MONOTONIC | abi.TSTAMP_SRC_SOE
END = abi.CLOCK_MONOTONIC | abi.TSTAMP_SRC_EOF
T0 = 1_000_000_000_000
PERIOD = 33 * MS
Formats = dict[str, dict[tuple[int, int], tuple[float, ...]]]
GREY: Formats = {"GREY": {(640, 480): (30.0,)}}
HELLO: Formats = {
    "YUYV": {(640, 360): (30.0,), (640, 480): (30.0, 15.0)},
    "MJPG": {(1920, 1080): (30.0,), (640, 480): (30.0,), (1280, 720): (30.0,)},
}


@dataclass
class FakeControl:
    """A control. ``menu``: choices of a menu control."""

    value: int
    minimum: int = 0
    maximum: int = 10_000
    flags: int = 0
    menu: tuple[int, ...] = ()


@dataclass
class FakeFrame:
    """A future frame. ``at_ns``: time at which the driver has the frame. ``claims``: wrong value for bytesused."""

    data: bytes
    at_ns: int
    sequence: int = 0
    timestamp_ns: int | None = None
    flags: int = START
    claims: int | None = None
    index: int | None = None


@dataclass
class FakeNode:
    """A device node. ``formats``: fourcc → size → rates. ``answer``: function that changes the result of S_FMT.
    ``fail``: call → errno."""

    card: str = "Test Cam"
    driver: str = "uvcvideo"
    bus: str = "usb-0000:00:14.0-1"
    caps: int = VIDEO
    formats: Formats = field(default_factory=lambda: {"YUYV": {(640, 480): (30.0, 15.0), (1280, 720): (10.0,)}})
    controls: dict[int, FakeControl] = field(default_factory=dict)
    frames: list[FakeFrame] = field(default_factory=list)
    answer: dict[str, int] = field(default_factory=dict)
    fail: dict[str, int] = field(default_factory=dict)
    stepwise: bool = False
    padding: int = 0
    slack: int = 0
    rates_settable: bool = True
    gone: bool = False
    gives: int | None = None
    # State of a running stream.
    memory: list[ByteArray] = field(default_factory=list)
    queued: list[int] = field(default_factory=list)
    pixelformat: int = 0
    size: tuple[int, int] = (0, 0)
    fps: float = 30.0
    image_bytes: int = 0
    streaming: bool = False
    flags: int = START


class FakeMapping:
    def __init__(self, memory: ByteArray, kernel: FakeKernel) -> None:
        self.view, self._kernel = memory, kernel
        kernel.mapped += 1

    def close(self) -> None:
        self._kernel.mapped -= 1


class FakeKernel:
    """Fake kernel; see the module docstring. ``real_time``: whether waiting takes real time, for tests with two
    threads. ``calls``: card and system call, in order."""

    def __init__(self, nodes: dict[str, FakeNode], *, real_time: bool = False) -> None:
        self.by_path, self.real_time = nodes, real_time
        self.time_ns = T0
        self.by_fd: dict[int, FakeNode] = {}
        self.pipes: dict[int, int] = {}
        self.woken: set[int] = set()
        self.changed = threading.Condition()
        self.next_fd = 100
        self.mapped = 0
        self.calls: list[tuple[str, str]] = []
        self.open_errors: dict[str, int] = {}
        self.by_id: dict[str, str] = {}
        self.by_port: dict[str, str] = {}
        self.parameters: dict[tuple[str, str], str] = {}
        self.users: list[str] = []
        self.waiting = threading.Event()

    # The system call interface.

    def open(self, path: str) -> int:
        path = self.realpath(path)
        if path in self.open_errors:
            raise OSError(self.open_errors[path], os.strerror(self.open_errors[path]))
        if path not in self.by_path or self.by_path[path].gone:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
        self.next_fd += 1
        self.by_fd[self.next_fd] = self.by_path[path]
        return self.next_fd

    def close(self, fd: int) -> None:
        if fd in self.pipes:
            del self.pipes[fd]
            return
        self._node(fd).streaming = False
        del self.by_fd[fd]

    def ioctl(self, fd: int, request: int, argument: Any) -> None:
        node, name = self._node(fd), NAMES[request]
        self.calls.append((node.card, name))
        if node.gone:
            raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))
        if name in node.fail:
            raise OSError(node.fail[name], os.strerror(node.fail[name]))
        getattr(self, f"_{name.lower()}")(node, argument)

    def map(self, fd: int, length: int, offset: int) -> FakeMapping:
        memory = self._node(fd).memory[offset // 4096]
        assert len(memory) == length
        return FakeMapping(memory, self)

    def wait(self, fds: Collection[int], timeout_s: float) -> set[int]:
        until = self.time_ns + round(timeout_s * 1e9)
        with self.changed:
            while True:
                ready = {fd for fd in fds if self._ready(fd, until)}
                if ready or not self.real_time:
                    break
                self.waiting.set()
                if not self.changed.wait(timeout_s):
                    break
            if not ready:
                self.time_ns = until
        return ready

    def waker(self) -> tuple[int, int]:
        self.next_fd += 2
        self.pipes[self.next_fd - 1] = self.next_fd
        self.pipes[self.next_fd] = self.next_fd - 1
        return self.next_fd - 1, self.next_fd

    def wake(self, fd: int) -> None:
        with self.changed:
            self.woken.add(self.pipes[fd])
            self.changed.notify_all()

    def now_ns(self) -> int:
        return self.time_ns

    def nodes(self) -> list[str]:
        return [p for p, n in self.by_path.items() if not n.gone]

    def links(self, folder: str) -> dict[str, str]:
        return self.by_id if folder == "/dev/v4l/by-id" else self.by_port

    def realpath(self, path: str) -> str:
        folder, _, name = path.rpartition("/")
        return self.links(folder).get(name, path) if folder.startswith("/dev/v4l/") else path

    def parameter(self, module: str, name: str) -> str | None:
        return self.parameters.get((module, name))

    def group_of(self, path: str) -> str:
        return "video"

    def holders(self, path: str) -> list[str]:
        return self.users

    # The driver's side.

    def _node(self, fd: int) -> FakeNode:
        if fd not in self.by_fd:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        return self.by_fd[fd]

    def _ready(self, fd: int, until: int) -> bool:
        if fd in self.pipes:
            return fd in self.woken
        node = self._node(fd)
        if node.gone or "DQBUF" in node.fail:
            return True
        if not node.frames or node.frames[0].at_ns > until:
            return False
        self.time_ns = max(self.time_ns, node.frames[0].at_ns)
        return True

    def _querycap(self, node: FakeNode, it: abi.Capability) -> None:
        it.card, it.driver, it.bus_info = node.card.encode(), node.driver.encode(), node.bus.encode()
        it.capabilities = abi.CAP_VIDEO_CAPTURE | abi.CAP_META_CAPTURE | abi.CAP_STREAMING | abi.CAP_DEVICE_CAPS
        it.device_caps = node.caps

    def _enum_fmt(self, node: FakeNode, it: abi.FmtDesc) -> None:
        wanted = abi.BUF_META if node.caps & abi.CAP_META_CAPTURE else abi.BUF_VIDEO
        if it.type != wanted or it.index >= len(node.formats):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        name = list(node.formats)[it.index]
        it.pixelformat, it.description = abi.fourcc(name), name.encode()

    def _enum_framesizes(self, node: FakeNode, it: abi.FrmSize) -> None:
        sizes = list(node.formats[abi.fourcc_name(it.pixel_format)])
        if it.index >= (1 if node.stepwise else len(sizes)):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        it.type = 3 if node.stepwise else abi.SIZE_DISCRETE
        if node.stepwise:
            (low_w, low_h), (high_w, high_h) = sizes[0], sizes[-1]
            it.size[:] = (low_w, high_w, 2, low_h, high_h, 2)
        else:
            it.size[0], it.size[1] = sizes[it.index]

    def _enum_frameintervals(self, node: FakeNode, it: abi.FrmIval) -> None:
        rates = node.formats[abi.fourcc_name(it.pixel_format)].get((it.width, it.height), ())
        if it.index >= len(rates):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        it.type = abi.SIZE_DISCRETE
        it.ival[0].numerator, it.ival[0].denominator = 1000, round(rates[it.index] * 1000)

    def _s_fmt(self, node: FakeNode, it: abi.Format) -> None:
        if it.type == abi.BUF_META:
            node.pixelformat = it.fmt.meta.dataformat
            it.fmt.meta.buffersize = node.image_bytes = 1024
            return
        pix = it.fmt.pix
        sizes = node.formats[abi.fourcc_name(pix.pixelformat)]
        if (pix.width, pix.height) not in sizes:
            pix.width, pix.height = min(sizes, key=lambda s: abs(s[0] - pix.width))
        each = {"YUYV": 2, "UYVY": 2, "Y10": 2, "Y12": 2, "Y14": 2, "Y16": 2, "Z16": 2, "RGB3": 3, "BGR3": 3}
        name = abi.fourcc_name(pix.pixelformat)
        pix.bytesperline = 0 if name in ("MJPG", "JPEG") else pix.width * each.get(name, 1) + node.padding
        rows = pix.height * 3 // 2 if name == "NV12" else pix.height
        pix.sizeimage = pix.bytesperline * rows + node.slack or pix.width * pix.height * 2
        for key, value in node.answer.items():
            setattr(pix, key, value)
        node.pixelformat, node.size, node.image_bytes = pix.pixelformat, (pix.width, pix.height), pix.sizeimage

    def _g_parm(self, node: FakeNode, it: abi.StreamParm) -> None:
        it.parm.capture.capability = abi.CAP_TIMEPERFRAME if node.rates_settable else 0
        it.parm.capture.timeperframe.numerator = 1000
        it.parm.capture.timeperframe.denominator = round(node.fps * 1000)

    def _s_parm(self, node: FakeNode, it: abi.StreamParm) -> None:
        interval = it.parm.capture.timeperframe
        asked = interval.denominator / interval.numerator
        rates = node.formats[abi.fourcc_name(node.pixelformat)].get(node.size) or (30.0,)
        node.fps = min(rates, key=lambda r: abs(r - asked))
        self._g_parm(node, it)

    def _queryctrl(self, node: FakeNode, it: abi.QueryCtrl) -> None:
        control = self._control(node, it.id)
        it.minimum, it.maximum, it.flags = control.minimum, control.maximum, control.flags
        it.type = abi.CTRL_MENU if control.menu else 1

    def _querymenu(self, node: FakeNode, it: abi.QueryMenu) -> None:
        if it.index not in self._control(node, it.id).menu:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    def _g_ctrl(self, node: FakeNode, it: abi.Control) -> None:
        it.value = self._control(node, it.id).value

    def _s_ctrl(self, node: FakeNode, it: abi.Control) -> None:
        self._control(node, it.id).value = it.value

    @staticmethod
    def _control(node: FakeNode, id: int) -> FakeControl:
        if id not in node.controls:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return node.controls[id]

    def _reqbufs(self, node: FakeNode, it: abi.RequestBuffers) -> None:
        if it.count and node.streaming:
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
        it.count = it.count if node.gives is None else min(it.count, node.gives)
        node.memory = [np.zeros(node.image_bytes, np.uint8) for _ in range(it.count)]
        node.queued = []

    def _querybuf(self, node: FakeNode, it: abi.Buffer) -> None:
        it.length, it.m.offset, it.flags = node.image_bytes, it.index * 4096, node.flags

    def _qbuf(self, node: FakeNode, it: abi.Buffer) -> None:
        assert it.index not in node.queued, "a buffer was given twice"
        node.queued.append(it.index)
        node.memory[it.index][:] = 0xAA

    def _streamon(self, node: FakeNode, it: ctypes.c_int32) -> None:
        assert node.queued, "started without buffers"
        node.streaming = True

    def _streamoff(self, node: FakeNode, it: ctypes.c_int32) -> None:
        node.streaming, node.queued = False, []

    def _dqbuf(self, node: FakeNode, it: abi.Buffer) -> None:
        assert node.streaming, "read without a stream"
        if not node.frames or node.frames[0].at_ns > self.time_ns or not node.queued:
            raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        frame = node.frames.pop(0)
        index = node.queued.pop(0)
        memory = node.memory[index]
        memory[: len(frame.data)] = np.frombuffer(frame.data, np.uint8)[: len(memory)]
        it.index = index if frame.index is None else frame.index
        it.bytesused = len(frame.data) if frame.claims is None else frame.claims
        it.sequence, it.flags = frame.sequence, frame.flags
        timestamp = frame.at_ns if frame.timestamp_ns is None else frame.timestamp_ns
        it.timestamp.tv_sec, it.timestamp.tv_usec = timestamp // 10**9, timestamp % 10**9 // 1000


def grey(count: int = 3, *, flags: int = START, size: tuple[int, int] = (640, 480)) -> list[FakeFrame]:
    """Return frames in which all pixels are the number of the frame plus one."""
    width, height = size
    return [
        FakeFrame(bytes([i + 1]) * (width * height), T0 + (i + 1) * PERIOD, sequence=i, flags=flags)
        for i in range(count)
    ]


def opened(
    node: FakeNode, uri: str = "v4l2:/dev/video0", modality: Modality = "ir", **more: Any
) -> tuple[V4l2Source, FakeKernel]:
    kernel = FakeKernel({"/dev/video0": node}, **more)
    return open_v4l2(parse_uri(uri), modality, 7, kernel=kernel), kernel


def refused(node: FakeNode, uri: str = "v4l2:/dev/video0", modality: Modality = "ir") -> CaptureError:
    """Return the error raised when an address is opened. Nothing may stay open after it."""
    kernel = FakeKernel({"/dev/video0": node})
    kernel.users = ["cheese (process 42)"]
    with pytest.raises(CaptureError) as caught:
        open_v4l2(parse_uri(uri), modality, 0, kernel=kernel)
    assert not kernel.by_fd
    assert not kernel.pipes
    assert kernel.mapped == 0
    return caught.value
