"""Convert decoded arrays to the images that the pipeline takes: RGB, 8-bit IR, depth in millimetres."""

from __future__ import annotations

import logging
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from runtime.core.errors import CameraData
from runtime.core.values import Image, Modality

log = logging.getLogger(__name__)

WATCHED = 30
"""Number of 16-bit frames that have not used their high bits after which a warning is logged."""


class BitDepthReducer:
    """Reduction of grey images with up to 16 bits to the highest 8 of their ``bits`` significant bits.

    ``declared``: whether the address gave ``bits``. 10-bit sensors often deliver 16-bit values whose upper bits are
    empty. Read as 16-bit images they would be black, so a stream that looks like this and is not ``declared`` gives one
    warning in the log.
    """

    def __init__(self, bits: int, declared: bool, name: str) -> None:
        self._bits, self._name = bits, name
        self._watching = WATCHED if bits == 16 and not declared else 0
        self._peak = 0

    def reduce(self, pixels: NDArray[np.uint16]) -> Image:
        """Reduce uint16 [H, W] to uint8 [H, W, 1].

        Raises:
            CameraData: a value needs more bits than ``bits``.
        """
        peak = int(pixels.max())
        if peak >> self._bits:
            raise CameraData(
                f"{self._name}: a grey value of {peak} does not fit the {self._bits} bits of this stream. Declare the "
                f"sensor's bits: bits={peak.bit_length()} or more."
            )
        self._watch(peak)
        grey: Image = np.right_shift(pixels, self._bits - 8).astype(np.uint8)
        return grey[:, :, None]

    def _watch(self, peak: int) -> None:
        if not self._watching:
            return
        self._watching -= 1
        self._peak = max(self._peak, peak)
        if self._peak >= 1 << 14:
            self._watching = 0
        elif not self._watching:
            log.warning(
                "%s: no grey value of this 16-bit stream exceeded %d in %d frames, so its images are nearly black. If "
                "the sensor has fewer bits, declare them: bits=%d or more.",
                self._name,
                self._peak,
                WATCHED,
                max(8, self._peak.bit_length()),
            )


class ImageConverter:
    """Conversion of decoded arrays to images of one modality.

    ``order``: channel order of colour arrays. ``bits``: significant bits of 16-bit grey values; None if the address
    does not give them. ``unit_mm``: millimetres per step of 16-bit depth.
    """

    def __init__(
        self,
        modality: Modality,
        name: str,
        *,
        order: Literal["bgr", "rgb"] = "bgr",
        bits: int | None = None,
        unit_mm: float = 1.0,
    ) -> None:
        self._modality, self._name, self._order, self._unit = modality, name, order, unit_mm
        self._reducer = BitDepthReducer(bits or 16, bits is not None, name)

    def convert(self, pixels: NDArray[Any]) -> NDArray[Any]:
        """Return an `Image` or `DepthMap` from uint8 [H, W] or [H, W, 3], or from uint16 [H, W].

        The result may share memory with ``pixels``.

        Raises:
            CameraData: such an array cannot be converted to this modality.
        """
        if pixels.ndim == 3 and pixels.shape[2] == 1:
            pixels = pixels[:, :, 0]
        kind = (pixels.dtype.name, pixels.ndim, pixels.shape[2] if pixels.ndim == 3 else 1)
        if pixels.size == 0:
            raise CameraData(f"{self._name}: the image is empty.")
        if self._modality == "rgb" and kind == ("uint8", 3, 3):
            return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB) if self._order == "bgr" else pixels
        if self._modality == "ir" and kind == ("uint8", 2, 1):
            return pixels[:, :, None]
        if self._modality == "ir" and kind == ("uint8", 3, 3):
            code = cv2.COLOR_BGR2GRAY if self._order == "bgr" else cv2.COLOR_RGB2GRAY
            return cv2.cvtColor(pixels, code)[:, :, None]
        if self._modality == "ir" and kind == ("uint16", 2, 1):
            return self._reducer.reduce(pixels)
        if self._modality == "depth" and kind == ("uint16", 2, 1):
            return to_millimetres(pixels, self._unit)
        raise CameraData(
            f"{self._name}: images with {kind[2]} channel(s) of {kind[0]} cannot be used as {self._modality}: "
            f"{ACCEPTED_FORMATS[self._modality]}."
        )


ACCEPTED_FORMATS: dict[Modality, str] = {
    "rgb": "RGB needs three channels of 8 bits",
    "ir": "IR needs one channel of 8 or 16 bits, or a grey image in three channels of 8",
    "depth": "depth needs one channel of 16 bits",
}


def to_millimetres(pixels: NDArray[Any], unit_mm: float) -> NDArray[np.float32]:
    """Convert depth uint16 [H, W] to float32 [H, W, 1] in millimetres. A value of 0 means "missing" in both."""
    depth: NDArray[np.float32] = pixels.astype(np.float32)
    if unit_mm != 1.0:
        depth *= np.float32(unit_mm)
    return depth[:, :, None]
