"""Supported pixel formats: how many bytes an image needs, and how to decode the driver's bytes to an image.

Decoded images are copies, because the next frame overwrites the driver's memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from runtime.capture.pixels import BitDepthReducer, to_millimetres
from runtime.capture.v4l2.kernel import ByteArray
from runtime.core.errors import AdsnError, CameraData
from runtime.core.values import Modality
from runtime.imaging.image_info import inspect
from runtime.imaging.jpeg import ends_early

PixelLayout = Literal["grey8", "grey16", "packed", "planar", "jpeg"]


@dataclass(frozen=True, slots=True)
class PixelFormat:
    """A pixel format of the kernel.

    ``bytes``: bytes per pixel in a row. ``bits``: significant bits of a grey value. ``rgb``, ``grey``: OpenCV
    conversion code to RGB and to grey; None without one.
    """

    name: str
    kind: PixelLayout
    bytes: int = 1
    bits: int = 8
    rgb: int | None = None
    grey: int | None = None

    @property
    def delivers_rgb(self) -> bool:
        return self.kind in ("packed", "planar", "jpeg")


FORMATS = {
    f.name: f
    for f in (
        PixelFormat("GREY", "grey8"),
        PixelFormat("Y10", "grey16", 2, 10),
        PixelFormat("Y12", "grey16", 2, 12),
        PixelFormat("Y14", "grey16", 2, 14),
        PixelFormat("Y16", "grey16", 2, 16),
        PixelFormat("Z16", "grey16", 2, 16),
        PixelFormat("YUYV", "packed", 2, rgb=cv2.COLOR_YUV2RGB_YUYV, grey=cv2.COLOR_YUV2GRAY_YUYV),
        PixelFormat("UYVY", "packed", 2, rgb=cv2.COLOR_YUV2RGB_UYVY, grey=cv2.COLOR_YUV2GRAY_UYVY),
        PixelFormat("NV12", "planar", 1, rgb=cv2.COLOR_YUV2RGB_NV12, grey=cv2.COLOR_YUV2GRAY_NV12),
        PixelFormat("RGB3", "packed", 3, grey=cv2.COLOR_RGB2GRAY),
        PixelFormat("BGR3", "packed", 3, rgb=cv2.COLOR_BGR2RGB, grey=cv2.COLOR_BGR2GRAY),
        PixelFormat("MJPG", "jpeg", 0),
        PixelFormat("JPEG", "jpeg", 0),
    )
}

ALIASES = {"MJPEG": "MJPG", "YUY2": "YUYV", "Y8": "GREY", "RGB24": "RGB3", "BGR24": "BGR3"}
"""Names used by other programs."""

PREFERRED: dict[Modality, tuple[str, ...]] = {
    "rgb": ("MJPG", "JPEG", "YUYV", "UYVY", "NV12", "RGB3", "BGR3"),
    # Compressed IR comes last, because compression removes sensor noise and other fine detail.
    "ir": ("GREY", "Y10", "Y12", "Y14", "Y16", "YUYV", "UYVY", "NV12", "RGB3", "BGR3", "MJPG", "JPEG"),
    "depth": ("Z16", "Y16"),
}
"""Formats for each modality, in order of preference. Compressed RGB comes first because two raw streams rarely fit on
one USB 2 bus."""


class Decoder:
    """Decoder of one stream's buffers.

    ``stride``: bytes from one row to the next. ``bits``: significant bits of 10- to 16-bit grey values; IR is reduced
    to the highest 8 of them. ``unit_mm``: millimetres per depth step.
    """

    def __init__(
        self,
        format: PixelFormat,
        width: int,
        height: int,
        stride: int,
        modality: Modality,
        *,
        bits: int | None = None,
        unit_mm: float = 1.0,
        name: str = "",
    ) -> None:
        self._format, self._width, self._height, self._modality = format, width, height, modality
        self._stride = stride or width * format.bytes
        self._unit, self._name = unit_mm, name
        self._reducer = BitDepthReducer(bits or format.bits, bits is not None, name)

    @property
    def needed(self) -> int:
        """Bytes of a complete image; 0 if the size varies."""
        if self._format.kind == "jpeg":
            return 0
        rows = self._height * 3 // 2 if self._format.kind == "planar" else self._height
        # The last row may have no padding.
        return self._stride * (rows - 1) + self._width * self._format.bytes

    def decode(self, data: ByteArray) -> NDArray[Any]:
        """Decode the buffer ``data``, uint8 [bytesused], to an `Image`, or to a `DepthMap` for depth.

        Raises:
            CameraData: there are too few bytes, they cannot be decoded, or a value needs more than the declared bits.
        """
        if len(data) == 0:
            raise CameraData(f"{self._name}: the driver delivered an empty image.")
        if self._format.kind == "jpeg":
            return self._jpeg(data)
        if len(data) < self.needed:
            raise CameraData(
                f"{self._name}: the image is cut off: {len(data)} bytes, but {self._format.name} of "
                f"{self._width}×{self._height} has {self.needed}. Check the USB cable, the hub and the bus load."
            )
        pixels = self._rows(data)
        if self._format.kind == "grey16":
            return to_millimetres(pixels, self._unit) if self._modality == "depth" else self._reducer.reduce(pixels)
        if self._format.kind == "grey8":
            return pixels.copy()[:, :, None]
        code = self._format.rgb if self._modality == "rgb" else self._format.grey
        if code is None:
            return pixels.copy()
        converted: NDArray[Any] = cv2.cvtColor(pixels, code)
        return converted if self._modality == "rgb" else converted[:, :, None]

    def _rows(self, data: ByteArray) -> NDArray[Any]:
        """Return a view of the buffer as rows of pixels without padding. It is still the driver's memory."""
        kind, size = self._format.kind, self._format.bytes
        rows = self._height * 3 // 2 if kind == "planar" else self._height
        if kind == "grey16":
            shape, strides = (rows, self._width), (self._stride, 2)
            return np.ndarray(shape, "<u2", data, strides=strides)
        if kind == "packed":
            return np.ndarray((rows, self._width, size), np.uint8, data, strides=(self._stride, size, 1))
        return np.ndarray((rows, self._width), np.uint8, data, strides=(self._stride, 1))

    def _jpeg(self, data: ByteArray) -> NDArray[Any]:
        try:
            info = inspect(data.tobytes())
        except AdsnError as error:
            raise CameraData(
                f"{self._name}: the image is not a complete JPEG ({error.code}). Check the USB cable, the hub and the "
                f"bus load."
            ) from error
        if info.format != "jpeg" or (info.width, info.height) != (self._width, self._height):
            raise CameraData(
                f"{self._name}: the image is a {info.format.upper()} of {info.width}×{info.height}, but the camera "
                f"agreed to JPEG of {self._width}×{self._height}."
            )
        flags = cv2.IMREAD_COLOR if self._modality == "rgb" else cv2.IMREAD_GRAYSCALE
        try:
            pixels: NDArray[Any] | None = cv2.imdecode(data, flags | cv2.IMREAD_IGNORE_ORIENTATION)
        except cv2.error:
            pixels = None
        if pixels is None or pixels.shape[:2] != (self._height, self._width):
            raise CameraData(f"{self._name}: the JPEG image could not be decoded.")
        if info.jpeg is not None and ends_early(data.tobytes(), info.jpeg, pixels):
            raise CameraData(
                f"{self._name}: part of the JPEG image is missing. Check the USB cable, the hub and the bus load."
            )
        return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB) if self._modality == "rgb" else pixels[:, :, None]
