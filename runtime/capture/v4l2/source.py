"""V4L2 cameras, read without a library: exact times, sequence numbers, and clear errors.

General-purpose libraries hide information that pairing needs: when a frame was exposed, which frames are missing or
damaged, and the low bits of an IR sensor. This reader needs no package. It supports USB cameras and every other driver
with the memory-mapped single-planar interface. It writes only standard controls (see `runtime.capture.v4l2.controls`).
"""

from __future__ import annotations

import contextlib
import logging
import struct
import threading

from runtime.capture.source import SourceInfo
from runtime.capture.uri import CameraUri
from runtime.capture.v4l2 import abi
from runtime.capture.v4l2.controls import Controls, ExposureReading
from runtime.capture.v4l2.formats import Decoder
from runtime.capture.v4l2.kernel import Kernel, LinuxKernel
from runtime.capture.v4l2.metadata import MetadataStream, open_metadata
from runtime.capture.v4l2.negotiation import NegotiatedFormat, negotiate
from runtime.capture.v4l2.node import Node, identity_of
from runtime.capture.v4l2.queue import BufferQueue
from runtime.capture.v4l2.request import Request, check_request, parse_request
from runtime.capture.v4l2.timestamps import TimestampMapper, timestamp_edge
from runtime.capture.v4l2.uvc_metadata import UvcMetadata
from runtime.core.errors import CameraData, CameraLost, CameraUnsupported, ConfigError
from runtime.core.values import Frame, Modality

log = logging.getLogger(__name__)

CLOSE_S = 1.5
"""Longest time in seconds that `close` waits for a reader in a system call. After that the reader frees the camera
itself when the call returns."""


def check_v4l2(options: CameraUri, modality: Modality) -> None:
    """Check an address's options without opening the camera.

    Raises:
        ConfigError: an option is unknown or wrong, or the node is not a device.
    """
    check_request(options, modality)


def open_v4l2(options: CameraUri, modality: Modality, generation: int, *, kernel: Kernel | None = None) -> V4l2Source:
    """Open ``v4l2:PATH?option=value…``; docs/cameras.md lists the options.

    Raises:
        ConfigError: an option is unknown or wrong.
        CameraMissing, CameraBusy, CameraDenied, CameraUnsupported, CameraLost, CameraData: the camera cannot be used.
    """
    request = parse_request(options, modality)
    kernel = kernel or LinuxKernel()
    if struct.calcsize("P") != 8:
        raise CameraUnsupported(f"{options.text}: v4l2 supports 64-bit systems only; use opencv: on this one.")
    with contextlib.ExitStack() as undo:
        node = Node(kernel, request.path)
        undo.callback(node.close)
        if node.kind != "video" or not node.streams:
            raise CameraUnsupported(f"{node.name} {_not_a_camera(node)}")
        agreed = negotiate(node, request.wanted, modality)
        decoder = _decoder_of(options, request, agreed, modality, node.name)
        controls = Controls(kernel, node.fd, node.name)
        controls.apply(request.controls)
        exposure = ExposureReading(controls, round(1e9 / agreed.fps) if agreed.fps else None)
        identity, _, _ = identity_of(kernel, node)
        told = open_metadata(kernel, node, request.metadata)
        if told is not None:
            undo.callback(told.close)
            told.start()
        queue = BufferQueue(node, abi.BUF_VIDEO, request.buffers)
        undo.callback(queue.stop)
        flags = queue.start()
        edge = timestamp_edge(kernel, node.driver, flags) if request.timestamp == "auto" else request.timestamp
        timestamps = TimestampMapper(None if edge == "arrival" else edge, node.name)
        info = SourceInfo(
            modality=modality,
            uri=options.text,
            identity=identity,
            backend="v4l2",
            width=agreed.width,
            height=agreed.height,
            pixel_format=agreed.format.name,
            fps=agreed.fps,
            timestamp_source=timestamps.source(flags),
        )
        source = V4l2Source(info, generation, node, queue, decoder, timestamps, exposure, told)
        undo.pop_all()
        return source


def _decoder_of(uri: CameraUri, chosen: Request, agreed: NegotiatedFormat, modality: Modality, name: str) -> Decoder:
    """Return the decoder for the negotiated format.

    Raises:
        ConfigError: ``bits`` is given for another format. CameraData: the images are too small for their format.
    """
    if chosen.bits is not None and agreed.format.kind != "grey16":
        raise ConfigError(f"{uri.text}: bits applies to two-byte grey formats only, not to {agreed.format.name}.")
    decoder = Decoder(
        agreed.format,
        agreed.width,
        agreed.height,
        agreed.stride,
        modality,
        bits=chosen.bits,
        unit_mm=chosen.unit_mm,
        name=name,
    )
    if agreed.image_bytes < decoder.needed:
        raise CameraData(
            f"{name}: the driver's images have {agreed.image_bytes} bytes, but {agreed.format.name} of "
            f"{agreed.width}×{agreed.height} needs {decoder.needed}."
        )
    return decoder


def _not_a_camera(node: Node) -> str:
    if node.kind == "metadata":
        return "delivers metadata, not images: the camera's images come on the node before it."
    if node.kind == "multiplanar":
        return "has the multi-planar interface of phone and board cameras, which needs gst: (see docs/cameras.md)."
    if node.kind == "video":
        return "does not stream into mapped memory. Use opencv: or gst:."
    return "is not a camera but an encoder, a decoder or an output. adsn-rig list shows which nodes are cameras."


class V4l2Source:
    """`runtime.capture.source.Source` of an open V4L2 camera. Created by `open_v4l2`."""

    def __init__(
        self,
        info: SourceInfo,
        generation: int,
        node: Node,
        queue: BufferQueue,
        decoder: Decoder,
        timestamps: TimestampMapper,
        exposure: ExposureReading,
        metadata: MetadataStream | None,
    ) -> None:
        self._info, self._generation, self._node, self._queue = info, generation, node, queue
        self._decoder, self._timestamps, self._exposure, self._metadata = decoder, timestamps, exposure, metadata
        self._kernel = node.kernel
        self._wake_read, self._wake_write = self._kernel.waker()
        self._reading = threading.Lock()
        self._waking = threading.Lock()
        self._closing = self._closed = False
        self._sequence: int | None = None

    @property
    def info(self) -> SourceInfo:
        return self._info

    def read(self, timeout_s: float) -> Frame | None:
        """See `Source.read`. Raises `CameraData` for a frame that the driver marks as damaged."""
        with self._reading:
            try:
                if self._closing:
                    raise CameraLost(f"{self._node.name} was closed.")
                return self._next(timeout_s)
            finally:
                if self._closing:
                    self._tear_down()

    def _next(self, timeout_s: float) -> Frame | None:
        until = self._kernel.now_ns() + round(timeout_s * 1e9)
        fds = (self._node.fd, self._wake_read)
        while True:
            left_s = (until - self._kernel.now_ns()) / 1e9
            ready = self._kernel.wait(fds, max(0.0, left_s))
            if self._closing or self._wake_read in ready:
                return None
            if ready:
                buffer = self._queue.dequeue()
                if buffer is not None:
                    return self._frame(buffer)
                # Avoid a busy loop if a node is always ready but never has a frame.
                self._kernel.wait((self._wake_read,), 0.005)
            if self._kernel.now_ns() >= until:
                return None

    def _frame(self, buffer: abi.Buffer) -> Frame:
        arrival_ns = self._kernel.now_ns()
        try:
            sequence = self._unwrapped(buffer.sequence)
            told = self._metadata.of(buffer.sequence, buffer.timestamp_ns) if self._metadata else UvcMetadata()
            data = self._queue.bytes(buffer)
            if buffer.flags & abi.FLAG_ERROR:
                raise CameraData(
                    f"{self._node.name}: the driver marks frame {sequence} as damaged. Check the USB cable, the hub "
                    f"and the bus load."
                )
            image = self._decoder.decode(data)
            del data
        finally:
            self._queue.enqueue(buffer)
        exposure_ns = told.exposure_ns or self._exposure.at(arrival_ns)
        capture_ns, source = self._timestamps.capture(buffer.timestamp_ns, buffer.flags, arrival_ns, exposure_ns)
        self._info = self._info.timed_by(source)
        return Frame(
            modality=self._info.modality,
            image=image,
            t_capture_ns=capture_ns,
            t_arrival_ns=arrival_ns,
            seq=sequence,
            timestamp_source=source,
            lit=told.lit,
            generation=self._generation,
            exposure_ns=exposure_ns,
        )

    def _unwrapped(self, raw: int) -> int:
        """Convert the driver's 32-bit sequence number, which wraps, to one that keeps increasing."""
        if self._sequence is None:
            self._sequence = raw
        else:
            self._sequence += (raw - self._sequence + 0x80000000) % 0x100000000 - 0x80000000
        return self._sequence

    def close(self) -> None:
        """See `Source.close`. Returns within two seconds, even if a reader hangs in a driver call."""
        self._closing = True
        with self._waking:
            if not self._closed:
                with contextlib.suppress(OSError):
                    self._kernel.wake(self._wake_write)
        if self._reading.acquire(timeout=CLOSE_S):
            try:
                self._tear_down()
            finally:
                self._reading.release()
        else:
            log.warning("%s: a driver call does not return; the camera is freed when it does.", self._node.name)

    def _tear_down(self) -> None:
        with self._waking:
            if self._closed:
                return
            self._closed = True
        self._queue.stop()
        if self._metadata is not None:
            self._metadata.close()
        self._node.close()
        for fd in (self._wake_read, self._wake_write):
            self._kernel.close(fd)
