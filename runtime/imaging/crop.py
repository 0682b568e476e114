"""Crop and resize: the only definition of the network's input, used in training and in serving.

Normalisation is part of the network's graph, so it cannot differ between the two.
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

PADDED_EDGE = 2048
"""Longest edge in pixels of a square that is zero-padded where it extends beyond the image, and then resized. This is
exact. Of a larger square only the part inside the image is resized, so that memory use does not grow with the box."""
FARTHEST = 1e9
"""Upper bound for the absolute value of box coordinates, in pixels."""


@dataclass(frozen=True, slots=True)
class CropRule:
    """Rule that turns a face box into the network's input.

    ``size``: edge of the square crop in pixels. ``margin``: margin added on each side of the box, as a fraction of its
    longer edge.
    """

    size: int = 112
    margin: float = 0.2


def crop_window(box: Box, rule: CropRule) -> tuple[int, int, int]:
    """Return the square around ``box`` as left, top and length of its edge, in whole pixels."""
    side = max(2, round(max(box.w, box.h) * (1 + 2 * rule.margin)))
    return round(box.x + box.w / 2 - side / 2), round(box.y + box.h / 2 - side / 2), side


def coverage(shape: tuple[int, ...], box: Box, rule: CropRule) -> float:
    """Return the fraction of the crop that lies inside an image of ``shape`` [H, W, …]: 1 if nothing is cut off."""
    left, top, side = crop_window(box, rule)
    width = min(left + side, shape[1]) - max(left, 0)
    height = min(top + side, shape[0]) - max(top, 0)
    return max(width, 0) * max(height, 0) / (side * side)


def crop(image: NDArray[Scalar], box: Box, rule: CropRule) -> NDArray[Scalar]:
    """Cut out the square around ``box`` and resize it to ``rule.size``.

    ``image``: uint8 or float32 [H, W, C]; returns the same dtype, [size, size, C], C-contiguous. Pixels outside the
    image are 0. uint8 images are shrunk by area averaging and enlarged with linear interpolation. float32 is depth in
    millimetres, where 0 means missing. It is resized by nearest sample, because averaging would invent surfaces between
    near and far ones.

    The memory used is bounded by the image, ``rule`` and `PADDED_EDGE`, whatever the box.

    Raises:
        InvalidFaceBox: the square lies outside the image, or the box has coordinates that are not finite or too large.
    """
    left, top, side = _checked_window(image, box, rule)
    height, width, channels = image.shape
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + side, width), min(top + side, height)
    window = image[y0:y1, x0:x1]
    if window.shape[:2] != (side, side):
        if side > PADDED_EDGE:
            return _pasted(window, (x0 - left, y0 - top), side, rule.size)
        padded = np.zeros((side, side, channels), image.dtype)
        padded[y0 - top : y1 - top, x0 - left : x1 - left] = window
        window = padded
    if side != rule.size:
        window = _resized(window, (rule.size, rule.size), shrinks=side > rule.size)
    # OpenCV drops a last axis of length 1, so restore it.
    return np.ascontiguousarray(window.reshape(rule.size, rule.size, channels))


def crop_mean(image: NDArray[np.uint8], box: Box, rule: CropRule) -> float:
    """Return the mean of all pixels and channels of `crop`, without resizing.

    ``image``: uint8 [H, W, C]. The result differs from the mean of the resized crop by its rounding.

    Raises:
        InvalidFaceBox: see `crop`.
    """
    left, top, side = _checked_window(image, box, rule)
    window = image[max(top, 0) : top + side, max(left, 0) : left + side]
    total = sum(cv2.sumElems(window)[: image.shape[2]])
    return float(total / (side * side * image.shape[2]))


def _checked_window(image: NDArray[Scalar], box: Box, rule: CropRule) -> tuple[int, int, int]:
    """Return `crop_window` if at least one pixel of it lies inside the image.

    Raises:
        InvalidFaceBox: see `crop`.
    """
    # Written so that NaN is refused.
    if not all(abs(value) < FARTHEST for value in (box.x, box.y, box.w, box.h)):
        raise InvalidFaceBox("a face box is four finite numbers x, y, w, h, in pixels.")
    left, top, side = crop_window(box, rule)
    height, width = image.shape[:2]
    if left >= width or top >= height or left + side <= 0 or top + side <= 0:
        raise InvalidFaceBox(f"the crop around the face box lies outside the image of {width}×{height} pixels.")
    return left, top, side


def _resized(window: NDArray[Scalar], size: tuple[int, int], *, shrinks: bool) -> NDArray[Scalar]:
    """Resize ``window`` to ``size`` (width, height), as described in `crop`."""
    method = cv2.INTER_NEAREST if window.dtype == np.float32 else cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    resized: NDArray[Scalar] = cv2.resize(window, size, interpolation=method)  # type: ignore[assignment]
    return resized


def _pasted(window: NDArray[Scalar], offset: tuple[int, int], side: int, size: int) -> NDArray[Scalar]:
    """Return the crop of a square of ``side`` pixels, given the part of it that lies inside the image.

    ``window``: that part. ``offset``: its position in the square (x, y). Each edge of the window is rounded to the
    nearest pixel of the crop, so it is off by at most half a pixel, or by one where no pixel would remain.
    """
    scale = size / side
    x0, y0 = (min(round(start * scale), size - 1) for start in offset)
    x1 = min(max(round((offset[0] + window.shape[1]) * scale), x0 + 1), size)
    y1 = min(max(round((offset[1] + window.shape[0]) * scale), y0 + 1), size)
    out = np.zeros((size, size, window.shape[2]), window.dtype)
    resized = _resized(window, (x1 - x0, y1 - y0), shrinks=side > size)
    out[y0:y1, x0:x1] = resized.reshape(y1 - y0, x1 - x0, window.shape[2])
    return out
