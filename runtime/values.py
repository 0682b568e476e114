"""Values that travel between the parts: images, boxes, pairs. Frozen, slotted, without behaviour."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from runtime.errors import InvalidFaceBox

Modality = Literal["rgb", "ir", "depth"]
Image = NDArray[np.uint8]
"""uint8 [H, W, C]: RGB order with C = 3, infrared with C = 1."""


@dataclass(frozen=True, slots=True)
class Box:
    """A face box in pixels: left edge, top edge, width and height."""

    x: float
    y: float
    w: float
    h: float

    def scaled(self, sx: float, sy: float) -> Box:
        """The same box in an image whose axes are ``sx`` and ``sy`` times as long."""
        return Box(self.x * sx, self.y * sy, self.w * sx, self.h * sy)

    def require_inside(self, shape: tuple[int, ...], what: str) -> None:
        """Raise `InvalidFaceBox` unless the box has an area and lies inside an image of ``shape`` [H, W, …]."""
        height, width = shape[:2]
        values = (self.x, self.y, self.w, self.h)
        if not all(np.isfinite(v) for v in values) or self.w < 1 or self.h < 1:
            raise InvalidFaceBox(f"{what}: a face box is four finite numbers x, y, w, h with w and h of 1 or more.")
        # A detector rounds to whole pixels, so half a pixel beyond the edge is still the edge.
        if self.x < -0.5 or self.y < -0.5 or self.x + self.w > width + 0.5 or self.y + self.h > height + 0.5:
            raise InvalidFaceBox(
                f"{what}: the box x={self.x:g} y={self.y:g} w={self.w:g} h={self.h:g} leaves the image of "
                f"{width}×{height} pixels. Give it in pixels of that image, or leave it out to have the face found."
            )


@dataclass(frozen=True, slots=True)
class Pair:
    """Two images of one moment. Times are mid-exposure, integer nanoseconds of one clock, None where unknown."""

    rgb: Image
    ir: Image
    rgb_time_ns: int | None = None
    ir_time_ns: int | None = None

    @property
    def skew_ns(self) -> int | None:
        """Difference of the two mid-exposure times, or None when one is unknown."""
        if self.rgb_time_ns is None or self.ir_time_ns is None:
            return None
        return abs(self.rgb_time_ns - self.ir_time_ns)
