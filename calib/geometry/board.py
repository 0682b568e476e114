"""The calibration board: a ChArUco board, which is recognised even if only a part of it is visible.

OpenCV's layout is the only definition of the board. The printed sheet is drawn from the same image.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from runtime.core.errors import ConfigError

DICTIONARY = "DICT_4X4_50"
"""Dictionary of markers with the fewest bits. On a 24 mm square a module is 3 mm wide, which is still two pixels at 0.8
m."""
CELLS = 8
"""Number of modules along the edge of a square: four bits, a border of one module on either side, and a gap of one
module to either edge."""
MARKER_SHARE = 6 / CELLS
LEAST_CORNERS = 8
"""Minimum number of visible corners for an image to be used."""


@dataclass(frozen=True, slots=True)
class Board:
    """A board of ``columns`` by ``rows`` squares with edges of ``square_mm``.

    Raises:
        ConfigError: there are too few squares, more squares than markers, or their size is out of range.
    """

    columns: int = 7
    rows: int = 10
    square_mm: float = 24.0

    def __post_init__(self) -> None:
        markers = self.columns * self.rows // 2
        if self.columns < 4 or self.rows < 4 or markers > 50 or not 1 <= self.square_mm <= 500:
            raise ConfigError(
                f"a board of {self.columns}×{self.rows} squares of {self.square_mm:g} mm is not possible. Use at least "
                "4 squares each way, at most 100 in total, of 1 to 500 mm."
            )

    @property
    def width_mm(self) -> float:
        return self.columns * self.square_mm

    @property
    def height_mm(self) -> float:
        return self.rows * self.square_mm

    @property
    def name(self) -> str:
        """Name of the board, which is printed on the sheet."""
        return f"{self.columns}x{self.rows} squares of {self.square_mm:g} mm, {DICTIONARY}"

    def charuco(self) -> cv2.aruco.CharucoBoard:
        dictionary = cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, DICTIONARY))
        size = (self.columns, self.rows)
        return cv2.aruco.CharucoBoard(size, self.square_mm, self.square_mm * MARKER_SHARE, dictionary)

    def modules(self) -> NDArray[np.bool_]:
        """Return a mask of the black modules, [rows·CELLS, columns·CELLS]."""
        picture = self.charuco().generateImage((self.columns * CELLS, self.rows * CELLS))
        return np.asarray(picture) < 128

    def corners_mm(self) -> NDArray[np.float32]:
        """Return the inner corners [N, 3] in mm, in the plane of the board (z = 0), ordered by number."""
        return np.asarray(self.charuco().getChessboardCorners(), np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class BoardDetection:
    """Corners of the board in one image. ``numbers``: int64 [N], ascending. ``pixels``: float32 [N, 2]."""

    numbers: NDArray[np.int64]
    pixels: NDArray[np.float32]

    def of(self, numbers: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the pixels [M, 2] of the corners ``numbers``, all of which must be in this detection."""
        return self.pixels[np.searchsorted(self.numbers, numbers)]


class BoardFinder:
    """Detector of the corners of a board in images. Not thread-safe."""

    def __init__(self, board: Board) -> None:
        self.board = board
        self._charuco = board.charuco()
        self._detector = cv2.aruco.CharucoDetector(self._charuco)

    def find(self, image: NDArray[Any]) -> BoardDetection | None:
        """Return the corners in ``image`` (uint8 or uint16 [H, W], [H, W, 1] or RGB [H, W, 3]).

        Returns None if fewer than `LEAST_CORNERS` are visible or all of them lie on one line.
        """
        corners, numbers, _, _ = self._detector.detectBoard(stretched(image))
        if numbers is None or len(numbers) < LEAST_CORNERS:
            return None
        found = np.asarray(numbers, np.int64).ravel()
        order = np.argsort(found)
        if self._charuco.checkCharucoCornersCollinear(np.asarray(numbers, np.int32)):
            return None
        return BoardDetection(found[order], np.asarray(corners, np.float32).reshape(-1, 2)[order])

    def is_mirrored(self, image: NDArray[Any]) -> bool:
        """Return whether the board is found only in the mirror image."""
        turned = np.ascontiguousarray(image[:, ::-1])
        return self.find(image) is None and self.find(turned) is not None


def stretched(image: NDArray[Any]) -> NDArray[np.uint8]:
    """Return the image as grey uint8 [H, W], stretched to the full range of grey levels. In IR a board often spans only
    a tenth of the range."""
    grey = (
        image if image.ndim == 2 else image[:, :, 0] if image.shape[2] == 1 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    )
    low, high = np.percentile(grey, (1, 99))
    scaled = (grey.astype(np.float32) - np.float32(low)) * np.float32(255 / max(high - low, 1))
    out: NDArray[np.uint8] = np.clip(scaled, 0, 255).astype(np.uint8)
    return out
