"""A queue of memory-mapped buffers: the driver fills them and this process reads them."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Callable
from ctypes import c_int32

from runtime.capture.v4l2 import abi
from runtime.capture.v4l2.kernel import ByteArray, MappedBuffer
from runtime.capture.v4l2.node import DEVICE_GONE_ERRNOS, Node
from runtime.core.errors import CameraBusy, CameraData, CameraLost, CameraUnsupported

BANDWIDTH = (
    "the USB bus has no bandwidth left for this stream. Lower its size or frame rate, ask for fourcc=MJPG, or put the "
    "cameras on different USB controllers (lsusb -t shows which port belongs to which); see docs/cameras.md."
)


class BufferQueue:
    """Queue of buffers of one type on one node. Call `start` first. `stop` may be called even after `start` failed."""

    def __init__(self, node: Node, type: int, count: int) -> None:
        self._node, self._type, self._count = node, type, count
        self._buffers: list[MappedBuffer] = []
        self._streaming = False

    def start(self) -> int:
        """Map the buffers, enqueue all of them and start the stream.

        Returns the flags of a buffer, which say which clock its timestamps are on.

        Raises:
            CameraBusy: another program streams from the node, or the bus has no bandwidth left.
            CameraUnsupported: the node does not support memory-mapped streaming. CameraLost: the camera is gone.
        """
        request = abi.RequestBuffers(count=self._count, type=self._type, memory=abi.MEMORY_MMAP)
        self._call(abi.REQBUFS, request, "asked for buffers")
        if request.count < 2:
            raise CameraUnsupported(f"{self._node.name}: the driver offers {request.count} buffers; at least 2 needed.")
        flags = 0
        for index in range(request.count):
            buffer = self._buffer(index)
            self._call(abi.QUERYBUF, buffer, "asked for its buffers")
            flags = buffer.flags
            try:
                self._buffers.append(self._node.kernel.map(self._node.fd, buffer.length, buffer.m.offset))
            except OSError as error:
                raise CameraUnsupported(
                    f"{self._node.name}: a buffer of {buffer.length} bytes could not be mapped ({error.strerror})."
                ) from error
            self._call(abi.QBUF, self._buffer(index), "given its buffers")
        self._call(abi.STREAMON, c_int32(self._type), "started")
        self._streaming = True
        return flags

    def dequeue(self) -> abi.Buffer | None:
        """Return the next filled buffer, or None if none is filled yet. Give it back with `enqueue`.

        Raises:
            CameraLost: the camera is gone or has stopped. CameraData: the driver returned the number of a buffer that
                does not exist.
        """
        buffer = self._buffer(0)
        try:
            self._node.kernel.ioctl(self._node.fd, abi.DQBUF, buffer)
        except OSError as error:
            if error.errno == errno.EAGAIN:
                return None
            raise self._lost(error, "read") from error
        if buffer.index >= len(self._buffers):
            raise CameraData(f"{self._node.name}: the driver named buffer {buffer.index} of {len(self._buffers)}.")
        return buffer

    def bytes(self, buffer: abi.Buffer) -> ByteArray:
        """Return a view of the bytes that the driver wrote, uint8 [bytesused]. The driver may overwrite them after
        `enqueue`.

        Raises:
            CameraData: the driver claims to have written more bytes than fit.
        """
        view: ByteArray = self._buffers[buffer.index].view
        if buffer.bytesused > len(view):
            raise CameraData(
                f"{self._node.name}: the driver claims {buffer.bytesused} bytes in a buffer of {len(view)}."
            )
        written: ByteArray = view[: buffer.bytesused]
        return written

    def enqueue(self, buffer: abi.Buffer) -> None:
        """Give a buffer back to the driver.

        Raises:
            CameraLost: the camera went away.
        """
        try:
            self._node.kernel.ioctl(self._node.fd, abi.QBUF, self._buffer(buffer.index))
        except OSError as error:
            raise self._lost(error, "given a buffer back") from error

    def stop(self) -> None:
        """Stop the stream and free the buffers, whatever the state of the device."""
        kernel, fd = self._node.kernel, self._node.fd
        steps: list[Callable[[], None]] = []
        if self._streaming:
            steps.append(lambda: kernel.ioctl(fd, abi.STREAMOFF, c_int32(self._type)))
        steps += [mapping.close for mapping in self._buffers]
        steps.append(lambda: kernel.ioctl(fd, abi.REQBUFS, abi.RequestBuffers(type=self._type, memory=abi.MEMORY_MMAP)))
        self._streaming, self._buffers = False, []
        for step in steps:
            with contextlib.suppress(OSError):
                step()

    def _buffer(self, index: int) -> abi.Buffer:
        return abi.Buffer(index=index, type=self._type, memory=abi.MEMORY_MMAP)

    def _call(self, request: int, argument: abi.RequestBuffers | abi.Buffer | c_int32, doing: str) -> None:
        try:
            self._node.kernel.ioctl(self._node.fd, request, argument)
        except OSError as error:
            if error.errno == errno.EBUSY:
                raise self._node.busy() from error
            if error.errno == errno.ENOSPC:
                raise CameraBusy(f"{self._node.name}: {BANDWIDTH}") from error
            if error.errno == errno.ENOMEM:
                raise CameraBusy(f"{self._node.name}: the kernel has no memory for the camera's buffers.") from error
            if error.errno in (errno.EINVAL, errno.ENOTTY, errno.EPIPE, errno.ENOLINK):
                advice = (
                    "Board cameras need their pipeline set up first (media-ctl), or use gst:."
                    if request == abi.STREAMON
                    else "The driver does not support memory-mapped streaming; try opencv: or gst:."
                )
                raise CameraUnsupported(
                    f"{self._node.name}: the driver refused when {doing} ({error.strerror}). {advice}"
                ) from error
            raise self._lost(error, doing) from error

    def _lost(self, error: OSError, doing: str) -> CameraLost:
        if error.errno in DEVICE_GONE_ERRNOS:
            return CameraLost(f"{self._node.name}: the camera was unplugged, or its driver dropped it.")
        return CameraLost(
            f"{self._node.name}: the driver failed when {doing} ({error.strerror}); open the camera again."
        )
