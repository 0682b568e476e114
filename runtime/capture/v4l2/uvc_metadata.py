"""Parse the metadata that a USB camera sends with each frame, from the buffers of the kernel's metadata nodes.

The formats are ``UVCH`` (payload headers alone) and ``UVCM`` (with Microsoft's records), as filled by the kernel's
``uvcvideo``. A buffer is a sequence of blocks. Each block contains a time and a USB frame number in the host's byte
order, and then a copy of the little-endian payload header. Sources: docs.kernel.org, metafmt-uvc and
metafmt-uvc-msxu-1-5; "Microsoft extensions to USB Video Class 1.5", section 2.2.3. The bytes come from a device and are
untrusted, so nothing here allocates more memory than they fill.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from runtime.core.errors import CameraData
from runtime.core.values import IlluminationState

UVCM = int.from_bytes(b"UVCM", "little")
"""Value for the format of a metadata node (``v4l2_meta_format.dataformat``)."""

_BLOCK = struct.Struct("=QHBB")  # time in ns, USB frame number, then the payload header: length and flags
_ITEM = struct.Struct("<II")  # identifier, size of the item including this header
_HAS_PTS, _HAS_SCR, _ERROR = 0x04, 0x08, 0x40
_CAPTURE_STATS, _FRAME_ILLUMINATION = 3, 6
_EXPOSURE_GIVEN = 0x1
_ILLUMINATED = 0x1
_LONGEST_EXPOSURE_NS = 10_000_000_000
_LARGEST = 1 << 20


@dataclass(frozen=True, slots=True)
class UvcMetadata:
    """The metadata of one frame.

    ``lit``: from the FrameIllumination record; ``unknown`` without one or if two records contradict each other. Some
    cameras offer the format but never send that record, and the first frame after a start has none. ``exposure_ns``:
    from the CaptureStats record; None without one. ``error``: whether the device marks the frame as damaged.
    """

    lit: IlluminationState = "unknown"
    exposure_ns: int | None = None
    error: bool = False


def parse_metadata(data: bytes | bytearray | memoryview) -> UvcMetadata:
    """Parse the used bytes of one metadata buffer. An empty buffer means no metadata.

    Raises:
        CameraData: the bytes are not a sequence of blocks. The image of the frame may still be good.
    """
    data = bytes(data)
    if len(data) > _LARGEST:
        raise CameraData(f"{len(data)} bytes of metadata for one frame are too many; no camera sends that much.")
    error = False
    tails = []
    position = 0
    while position < len(data):
        flags, tail, position = _block(data, position)
        error = error or bool(flags & _ERROR)
        tails.append(tail)
    # According to the specification, the tails of the headers joined together form the records. Some cameras instead
    # repeat whole, padded records in each header. So if the joined tails do not parse exactly, parse each tail on its
    # own.
    items, complete = _items(b"".join(tails))
    if not complete:
        apart = [_items(tail) for tail in tails]
        if all(whole for _, whole in apart) or sum(len(parsed) for parsed, _ in apart) > len(items):
            items = [item for parsed, _ in apart for item in parsed]
    return UvcMetadata(_lit(items), _exposure(items), error)


def _block(data: bytes, position: int) -> tuple[int, bytes, int]:
    """Return the block at ``position``: its flags, the bytes after the standard fields, and the end of the block."""
    if len(data) - position < _BLOCK.size:
        raise CameraData(f"metadata: {len(data) - position} bytes at {position} are too few for a block (12 or more).")
    _, _, length, flags = _BLOCK.unpack_from(data, position)
    end = position + _BLOCK.size - 2 + length  # the length includes the length and flags bytes
    if length < 2 or end > len(data):
        raise CameraData(f"metadata: a payload header of {length} bytes at {position} in a buffer of {len(data)}.")
    at = position + _BLOCK.size
    needed = 4 * bool(flags & _HAS_PTS) + 6 * bool(flags & _HAS_SCR)
    if at + needed > end:
        raise CameraData(f"metadata: the payload header at {position} is too short for its fields.")
    return flags, data[at + needed : end], end


def _items(blob: bytes) -> tuple[list[tuple[int, bytes]], bool]:
    """Return Microsoft's records, and whether they ended exactly at the last byte or at zero padding."""
    parsed = []
    position = 0
    while len(blob) - position >= _ITEM.size:
        identifier, size = _ITEM.unpack_from(blob, position)
        if identifier == 0 or not _ITEM.size <= size <= len(blob) - position:
            break
        parsed.append((identifier, blob[position + _ITEM.size : position + size]))
        position += size
    return parsed, not blob[position:].strip(b"\0")


def _lit(items: list[tuple[int, bytes]]) -> IlluminationState:
    said = {
        bool(payload[0] & _ILLUMINATED) for parsed, payload in items if parsed == _FRAME_ILLUMINATION and payload[3:]
    }
    if len(said) != 1:
        return "unknown"
    return "lit" if said.pop() else "dark"


def _exposure(items: list[tuple[int, bytes]]) -> int | None:
    for identifier, payload in items:
        if identifier == _CAPTURE_STATS and len(payload) >= 16:
            flags, _, hundreds_of_ns = struct.unpack_from("<IIQ", payload)
            if flags & _EXPOSURE_GIVEN and 0 < hundreds_of_ns * 100 <= _LONGEST_EXPOSURE_NS:
                return int(hundreds_of_ns * 100)
    return None
