"""Encode images as ROS 2 messages, so that recordings open in Foxglove and any other reader of MCAP.

The messages are sensor_msgs/Image and CompressedImage in CDR (Common Data Representation of the OMG). Depth is 16UC1 in
millimetres, as in REP 118 of ROS. A depth map with fractions of millimetres is 32FC1. It is in millimetres as well,
unlike in REP 118, because metres would not round-trip exactly.
"""

from __future__ import annotations

import struct
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from runtime.core.errors import AdsnError, CameraData
from runtime.core.values import Modality
from runtime.imaging.decode import decode

MAX_PIXELS = 4096 * 4096
LITTLE_ENDIAN = b"\x00\x01\x00\x00"
ENCODINGS: dict[str, tuple[str, int]] = {
    "rgb8": ("<u1", 3),
    "mono8": ("<u1", 1),
    "16UC1": ("<u2", 1),
    "32FC1": ("<f4", 1),
}
MODALITIES_OF: dict[str, Modality] = {"rgb8": "rgb", "mono8": "ir", "16UC1": "depth", "32FC1": "depth"}

_HEADER = """================================================================================
MSG: std_msgs/Header
builtin_interfaces/Time stamp
string frame_id
================================================================================
MSG: builtin_interfaces/Time
int32 sec
uint32 nanosec
"""
IMAGE_SCHEMA = (
    "std_msgs/Header header\nuint32 height\nuint32 width\nstring encoding\nuint8 is_bigendian\nuint32 step\n"
    "uint8[] data\n" + _HEADER
)
COMPRESSED_SCHEMA = "std_msgs/Header header\nstring format\nuint8[] data\n" + _HEADER


def _header(t_capture_ns: int, frame_id: str) -> bytearray:
    seconds, nanoseconds = divmod(t_capture_ns, 1_000_000_000)
    out = bytearray(struct.pack("<iI", seconds, nanoseconds))
    _text(out, frame_id)
    return out


def _text(out: bytearray, text: str) -> None:
    out += bytes(-len(out) % 4)
    data = text.encode() + b"\0"
    out += struct.pack("<I", len(data)) + data


def encode_image(image: NDArray[Any], modality: Modality, t_capture_ns: int) -> bytes:
    """Encode an image [H, W, C] from a `Frame` as a sensor_msgs/Image message."""
    if modality == "depth":
        exact = bool(np.array_equal(image, np.rint(image))) and bool((image >= 0).all() and (image <= 65535).all())
        encoding, pixels = ("16UC1", image.astype("<u2")) if exact else ("32FC1", image.astype("<f4"))
    else:
        encoding, pixels = ("rgb8" if modality == "rgb" else "mono8"), image
    height, width = image.shape[:2]
    out = _header(t_capture_ns, modality)
    out += bytes(-len(out) % 4) + struct.pack("<II", height, width)
    _text(out, encoding)
    step = width * ENCODINGS[encoding][1] * pixels.dtype.itemsize
    out += b"\0" + bytes(-(len(out) + 1) % 4) + struct.pack("<II", step, step * height)
    return b"".join((LITTLE_ENDIAN, out, np.ascontiguousarray(pixels).tobytes()))


def encode_jpeg(image: NDArray[Any], t_capture_ns: int, quality: int) -> bytes:
    """Encode an RGB image [H, W, 3] as a sensor_msgs/CompressedImage message.

    Raises:
        CameraData: OpenCV cannot encode the image.
    """
    good, data = cv2.imencode(".jpg", image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not good:
        raise CameraData("an RGB frame cannot be encoded as JPEG.")
    out = _header(t_capture_ns, "rgb")
    _text(out, "jpeg")
    out += bytes(-len(out) % 4) + struct.pack("<I", len(data))
    return b"".join((LITTLE_ENDIAN, out, data.tobytes()))


class _Reader:
    """Reader of CDR values that checks every length."""

    def __init__(self, data: bytes) -> None:
        if data[:4] != LITTLE_ENDIAN:
            raise CameraData("a recorded image is not a little-endian CDR message.")
        self._data, self._at = memoryview(data)[4:], 0

    def number(self) -> int:
        self._at += -self._at % 4
        if self._at + 4 > len(self._data):
            raise CameraData("a recorded image is truncated.")
        (value,) = struct.unpack_from("<I", self._data, self._at)
        self._at += 4
        return int(value)

    def bytes(self) -> memoryview:
        length = self.number()
        if self._at + length > len(self._data):
            raise CameraData("a recorded image is truncated.")
        part = self._data[self._at : self._at + length]
        self._at += length
        return part

    def text(self) -> str:
        return bytes(self.bytes()).rstrip(b"\0").decode("ascii", "replace")

    def skip(self, count: int) -> None:
        self._at += count


def decode_image(data: bytes, modality: Modality) -> NDArray[Any]:
    """Decode a sensor_msgs/Image message to the image [H, W, C] of a `Frame` of ``modality``.

    Raises:
        CameraData: the message is damaged, or of another modality.
    """
    reader = _Reader(data)
    reader.skip(8)
    reader.text()
    height, width = reader.number(), reader.number()
    encoding = reader.text()
    reader.skip(1)
    step = reader.number()
    pixels = reader.bytes()
    kind, channels = ENCODINGS.get(encoding, ("", 0))
    if not kind or MODALITIES_OF[encoding] != modality:
        raise CameraData(f"a recorded {modality} image has the unexpected encoding {encoding!r}.")
    size = np.dtype(kind).itemsize
    if not 0 < height * width <= MAX_PIXELS or step != width * channels * size or len(pixels) != step * height:
        raise CameraData(f"a recorded {modality} image of {width}×{height} has {len(pixels)} bytes, a mismatch.")
    image = np.frombuffer(pixels, kind).reshape(height, width, channels)
    return image.astype(np.float32) if modality == "depth" else image


def decode_jpeg(data: bytes, modality: Modality) -> NDArray[Any]:
    """Decode a sensor_msgs/CompressedImage message to an RGB image.

    Raises:
        CameraData: the message is damaged, or of another modality.
    """
    reader = _Reader(data)
    reader.skip(8)
    reader.text()
    reader.text()
    if modality != "rgb":
        raise CameraData(f"a recorded {modality} image is a JPEG; only RGB can be.")
    try:
        return decode(bytes(reader.bytes()), "rgb", max_pixels=MAX_PIXELS)
    except AdsnError as error:
        raise CameraData(f"a recorded RGB image cannot be decoded: {error}") from error
