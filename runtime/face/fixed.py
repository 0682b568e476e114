"""Detectors that do not look at the image.

`FixedRegion` is for rigs that fix the position of the face (an oval on a screen, a chin rest).

Both are for single pairs. In a stream, only a detector can show that a person is present and that it is still the same
person. Therefore a fixed region is never tracked: each pair counts as a new face, and the evidence of a stream never
accumulates to a decision. The kiosk refuses both kinds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from runtime.core.values import Box, Image
from runtime.face.detector import DetectorInfo, Face


@dataclass(frozen=True, slots=True)
class FixedRegion:
    """`FaceDetector` that always returns the same region, whether or not it contains a face.

    ``x``, ``y``, ``w``, ``h``: fractions of the image's width and height. Because it does not look at the image, its
    result never counts as a detected face: gates that need a detection are ``unknown``.

    Raises:
        ValueError: the region does not lie inside the image.
    """

    x: float
    y: float
    w: float
    h: float

    info: ClassVar[DetectorInfo] = DetectorInfo("fixed")

    def __post_init__(self) -> None:
        if not (self.x >= 0 and self.y >= 0 and 0 < self.w <= 1 - self.x and 0 < self.h <= 1 - self.y):
            raise ValueError("a region lies inside the picture: fractions x, y, w, h with x + w and y + h up to 1.")

    def detect(self, image: Image, smallest: float = 0.0) -> Face | None:
        height, width = image.shape[:2]
        return Face(Box(self.x * width, self.y * height, self.w * width, self.h * height), None, 1)


class NoDetector:
    """`FaceDetector` that finds nothing. With it, only pairs with given boxes can be assessed."""

    info: ClassVar[DetectorInfo] = DetectorInfo("none")

    def detect(self, image: Image, smallest: float = 0.0) -> Face | None:
        return None
