"""The calibration board: squares with markers between them (ChArUco), so that a part of it is enough to be recognised.

The way OpenCV lays such a board out is the only definition of it; the printed sheet is drawn from the same picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from runtime.core.errors import ConfigError

DICTIONARY = "DICT_4X4_50"
"""The smallest markers: 3 mm modules on a 24 mm square, still two pixels wide at 0.8 m."""
CELLS = 8
"""Modules along a square: four bits, a border on either side, and half as much again between marker and square."""
MARKER_SHARE = 6 / CELLS
LEAST_CORNERS = 8
"""Corners that a picture must show to count."""


@dataclass(frozen=True, slots=True)
class Board:
    """``columns`` by ``rows`` squares of ``square_mm``.

    Raises:
        ConfigError: too few squares, more than there are markers, or a square without size.
    """

    columns: int = 7
    rows: int = 10
    square_mm: float = 24.0

    def __post_init__(self) -> None:
        markers = self.columns * self.rows // 2
        if self.columns < 4 or self.rows < 4 or markers > 50 or not 1 <= self.square_mm <= 500:
            raise ConfigError(
                f"a board of {self.columns}×{self.rows} squares of {self.square_mm:g} mm: it needs 4 or more each way, "
                "100 together at most, of 1 to 500 mm."
            )

    @property
    def width_mm(self) -> float:
        return self.columns * self.square_mm

    @property
    def height_mm(self) -> float:
        return self.rows * self.square_mm

    @property
    def name(self) -> str:
        """What tells boards apart, as it is printed on the sheet."""
        return f"{self.columns}x{self.rows} squares of {self.square_mm:g} mm, {DICTIONARY}"

    def charuco(self) -> cv2.aruco.CharucoBoard:
        dictionary = cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, DICTIONARY))
        size = (self.columns, self.rows)
        return cv2.aruco.CharucoBoard(size, self.square_mm, self.square_mm * MARKER_SHARE, dictionary)

    def modules(self) -> NDArray[np.bool_]:
        """Black modules [rows·CELLS, columns·CELLS]."""
        picture = self.charuco().generateImage((self.columns * CELLS, self.rows * CELLS))
        return np.asarray(picture) < 128

    def corners_mm(self) -> NDArray[np.float32]:
        """Inner corners [N, 3] in the board's plane, z = 0, in the order of their numbers."""
        return np.asarray(self.charuco().getChessboardCorners(), np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class BoardDetection:
    """Corners of the board in one picture: ``numbers`` int [N], ascending, and ``pixels`` float32 [N, 2]."""

    numbers: NDArray[np.int64]
    pixels: NDArray[np.float32]

    def of(self, numbers: NDArray[np.int64]) -> NDArray[np.float32]:
        """Pixels [M, 2] of corners that are all seen here."""
        return self.pixels[np.searchsorted(self.numbers, numbers)]


class BoardFinder:
    """Finds a board's corners in pictures. One thread uses it."""

    def __init__(self, board: Board) -> None:
        self.board = board
        self._charuco = board.charuco()
        self._detector = cv2.aruco.CharucoDetector(self._charuco)

    def find(self, image: NDArray[Any]) -> BoardDetection | None:
        """The corners in ``image`` (uint8 or uint16 [H, W], [H, W, 1] or RGB [H, W, 3]), or None where fewer than
        `LEAST_CORNERS` are seen, or all on one line."""
        corners, numbers, _, _ = self._detector.detectBoard(stretched(image))
        if numbers is None or len(numbers) < LEAST_CORNERS:
            return None
        found = np.asarray(numbers, np.int64).ravel()
        order = np.argsort(found)
        if self._charuco.checkCharucoCornersCollinear(np.asarray(numbers, np.int32)):
            return None
        return BoardDetection(found[order], np.asarray(corners, np.float32).reshape(-1, 2)[order])

    def is_mirrored(self, image: NDArray[Any]) -> bool:
        """Whether a picture without a board shows one when it is turned round as in a mirror."""
        turned = np.ascontiguousarray(image[:, ::-1])
        return self.find(image) is None and self.find(turned) is not None


def stretched(image: NDArray[Any]) -> NDArray[np.uint8]:
    """Grey uint8 [H, W] over the full range: a board in infrared often spans a tenth of it."""
    grey = (
        image if image.ndim == 2 else image[:, :, 0] if image.shape[2] == 1 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    )
    low, high = np.percentile(grey, (1, 99))
    scaled = (grey.astype(np.float32) - np.float32(low)) * np.float32(255 / max(high - low, 1))
    out: NDArray[np.uint8] = np.clip(scaled, 0, 255).astype(np.uint8)
    return out
