"""Illumination and exposure metadata that some IR cameras send with their images.

The kernel delivers the metadata on a separate node. Each buffer has the sequence number and timestamp of its image.
"""

from __future__ import annotations

import contextlib
import logging

from runtime.capture.v4l2 import abi
from runtime.capture.v4l2.kernel import Kernel
from runtime.capture.v4l2.node import Node
from runtime.capture.v4l2.queue import BufferQueue
from runtime.capture.v4l2.uvc_metadata import UVCM, UvcMetadata, parse_metadata
from runtime.core.errors import CameraData, CameraUnsupported, CaptureError

log = logging.getLogger(__name__)

BUFFERS = 8
"""Number of metadata buffers: more than the image queue has, so that no metadata is lost while images wait."""
KEPT = 16


class MetadataStream:
    """An open metadata node. Call `start` before the image queue is started: cameras send no metadata to a node that is
    started later.

    Raises (when opened):
        CameraUnsupported: the node does not deliver illumination metadata. CaptureError: see `Node`.
    """

    def __init__(self, kernel: Kernel, path: str) -> None:
        self._node = Node(kernel, path)
        self._queue = BufferQueue(self._node, abi.BUF_META, BUFFERS)
        self._seen: dict[int, tuple[int, UvcMetadata]] = {}
        try:
            self._agree()
        except BaseException:
            self._node.close()
            raise

    def _agree(self) -> None:
        node = self._node
        offered = [f.name for f in node.formats(abi.BUF_META, sizes=False)]
        wanted = abi.fourcc_name(UVCM)
        if node.kind != "metadata" or wanted not in offered:
            gives = f"it delivers {', '.join(offered)}" if offered else "it delivers none at all"
            raise CameraUnsupported(
                f"{node.name} delivers no illumination metadata ({wanted}); {gives}. It needs Linux 6.17 or later with "
                f"support for this camera; remove the option metadata to go without."
            )
        format = abi.Format(type=abi.BUF_META)
        format.fmt.meta.dataformat = UVCM
        try:
            node.kernel.ioctl(node.fd, abi.S_FMT, format)
        except OSError as error:
            raise CameraUnsupported(f"{node.name} refused the metadata format ({error.strerror}).") from error
        if format.fmt.meta.dataformat != UVCM:
            raise CameraUnsupported(f"{node.name} chose another metadata format than the one requested.")

    def start(self) -> None:
        """Start the stream. Raises `CaptureError`; see `BufferQueue.start`."""
        self._queue.start()

    def of(self, sequence: int, timestamp_ns: int) -> UvcMetadata:
        """Return the metadata of the image with this sequence number and timestamp, or empty metadata.

        Raises:
            CameraLost: the camera is gone.
        """
        while (buffer := self._queue.dequeue()) is not None:
            try:
                if not buffer.flags & abi.FLAG_ERROR:
                    found = parse_metadata(self._queue.bytes(buffer).tobytes())
                    self._seen[buffer.sequence] = (buffer.timestamp_ns, found)
            except CameraData as error:
                log.debug("%s", error.message)
            finally:
                self._queue.enqueue(buffer)
        while len(self._seen) > KEPT:
            del self._seen[next(iter(self._seen))]
        found_ns, metadata = self._seen.pop(sequence, (timestamp_ns, UvcMetadata()))
        # The same sequence number with another timestamp belongs to another image.
        return metadata if found_ns == timestamp_ns else UvcMetadata()

    def close(self) -> None:
        self._queue.stop()
        self._node.close()


def metadata_node(kernel: Kernel, node: Node) -> str | None:
    """Return the metadata node of an image node, or None if it has none.

    The metadata node has the higher number of the two.
    """
    nodes, real = kernel.nodes(), kernel.realpath(node.path)
    after = nodes[nodes.index(real) + 1 :] if real in nodes else []
    for path in after:
        with contextlib.suppress(CaptureError):
            other = Node(kernel, path)
            try:
                if other.bus != node.bus:
                    continue
                if other.kind == "metadata":
                    return path
                # From the next image node on, the nodes of this device belong to another sensor.
                if other.kind == "video":
                    return None
            finally:
                other.close()
    return None


def open_metadata(kernel: Kernel, node: Node, choice: str) -> MetadataStream | None:
    """Open the metadata node of a camera, or return None.

    ``choice``: ``off``, ``auto`` (use the metadata if there is any) or the path of a node.

    Raises:
        CaptureError: the node given by path cannot be used. With ``auto`` that is not an error.
    """
    if choice == "off":
        return None
    path = metadata_node(kernel, node) if choice == "auto" else choice
    if path is None:
        return None
    try:
        return MetadataStream(kernel, path)
    except CaptureError as error:
        if choice != "auto":
            raise
        log.info("%s: the camera reports no illumination: %s", node.name, error.message)
        return None
