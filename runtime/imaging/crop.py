"""Crop and resize: the one definition of what the network sees, used by training and by serving alike.

Normalisation is not here: it is part of the network's graph, so host code cannot disagree with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from runtime.core.errors import InvalidFaceBox
from runtime.core.values import Box

Scalar = TypeVar("Scalar", np.uint8, np.float32)


@dataclass(frozen=True, slots=True)
class CropRule:
    """How a face box becomes the network's input.

    ``size``: edge of the square crop in pixels. ``margin``: what is added on each side of the box, as a
    fraction of its longer edge.
    """

    size: int = 112
    margin: float = 0.2


def crop_window(box: Box, rule: CropRule) -> tuple[int, int, int]:
    """Left, top and edge length, in whole pixels, of the square around ``box``."""
    side = max(2, round(max(box.w, box.h) * (1 + 2 * rule.margin)))
    return round(box.x + box.w / 2 - side / 2), round(box.y + box.h / 2 - side / 2), side


def coverage(shape: tuple[int, ...], box: Box, rule: CropRule) -> float:
    """Fraction of the crop's area that lies inside an image of ``shape`` [H, W, …]: 1 when nothing is cut off."""
    left, top, side = crop_window(box, rule)
    width = min(left + side, shape[1]) - max(left, 0)
    height = min(top + side, shape[0]) - max(top, 0)
    return max(width, 0) * max(height, 0) / (side * side)


def crop(image: NDArray[Scalar], box: Box, rule: CropRule) -> NDArray[Scalar]:
    """Cut the square around ``box`` and bring it to ``rule.size``.

    ``image``: uint8 or float32 [H, W, C]; returns the same dtype, [size, size, C], C-contiguous.
    What lies outside the image is 0. Colour and infrared shrink by area averaging and grow linearly;
    float32 is depth in millimetres, where 0 means missing: averaging would invent surfaces between
    near and far, so it takes the nearest sample.

    Raises:
        InvalidFaceBox: the square does not touch the image.
    """
    left, top, side = crop_window(box, rule)
    height, width = image.shape[:2]
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + side, width), min(top + side, height)
    if x0 >= x1 or y0 >= y1:
        raise InvalidFaceBox(f"the crop around the face box lies outside the image of {width}×{height} pixels.")
    window = image[y0:y1, x0:x1]
    if window.shape[:2] != (side, side):
        padded = np.zeros((side, side, image.shape[2]), image.dtype)
        padded[y0 - top : y1 - top, x0 - left : x1 - left] = window
        window = padded
    if side != rule.size:
        if image.dtype == np.float32:
            method = cv2.INTER_NEAREST
        else:
            method = cv2.INTER_AREA if side > rule.size else cv2.INTER_LINEAR
        window = cv2.resize(window, (rule.size, rule.size), interpolation=method)  # type: ignore[assignment]
    # OpenCV drops a last axis of length one.
    return np.ascontiguousarray(window.reshape(rule.size, rule.size, image.shape[2]))
