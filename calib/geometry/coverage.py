"""Coverage of a set of board views: image regions, tilts and distances that are still missing.

If all corners lie in the middle of the image, the lens distortion is undetermined. If the board always faces the
camera, the focal length is undetermined, because a longer lens looks like a closer board. A single distance leaves both
undetermined. The reprojection error is small for such views and does not show the problem, so this module checks the
coverage.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from calib.geometry.board import Board, BoardDetection
from runtime.core.values import MODALITY_NAMES, Modality

CELLS = (4, 3)
"""Number of columns and rows into which the image is divided."""
CORNERS_IN_CELL = 3
CELLS_MISSABLE = 2
TILT_DEG = 15.0
TILTED_VIEWS = 2
NEAR_TO_FAR = 1.4
LEAST_VIEWS = 15
GUESSED_FOCAL = 0.9
"""Focal length divided by image width, for a lens of 58°. It is used to estimate tilts before calibration."""

COLUMNS, ROWS = ("left", "middle left", "middle right", "right"), ("top", "middle", "bottom")


@dataclass(frozen=True, slots=True, eq=False)
class BoardView:
    """Detections of the board in images of the same moment. ``name``: name of the images in messages."""

    name: str
    seen: Mapping[Modality, BoardDetection]


@dataclass(frozen=True, slots=True)
class CoverageGap:
    """A kind of view that is missing. ``needed``: whether it is required for calibration, or only improves the
    result."""

    says: str
    needed: bool


def common(view: BoardView, first: Modality, second: Modality) -> NDArray[np.int64]:
    """Return the numbers of the corners that both cameras see."""
    return np.intersect1d(view.seen[first].numbers, view.seen[second].numbers)


def empty_cells(views: Sequence[BoardView], modality: Modality, size: tuple[int, int]) -> list[tuple[int, int]]:
    """Return column and row of all cells in the image of one camera that have fewer than `CORNERS_IN_CELL` corners."""
    columns, rows = CELLS
    count = np.zeros(CELLS, int)
    for view in views:
        pixels = view.seen[modality].pixels
        x = np.clip(pixels[:, 0] * columns / size[0], 0, columns - 1).astype(int)
        y = np.clip(pixels[:, 1] * rows / size[1], 0, rows - 1).astype(int)
        np.add.at(count, (x, y), 1)
    return [(int(x), int(y)) for x, y in np.argwhere(count < CORNERS_IN_CELL)]


def attitude(seen: BoardDetection, board: Board, size: tuple[int, int]) -> tuple[float, float, float]:
    """Estimate the attitude of the board, for a camera that is not calibrated yet.

    Returns the tilt to the right and downwards relative to the line of sight, in degrees, and the distance in board
    squares. Without a solution the result is 0, 0, NaN.
    """
    focal = GUESSED_FOCAL * max(size)
    matrix = np.array([[focal, 0, size[0] / 2], [0, focal, size[1] / 2], [0, 0, 1]])
    points = board.corners_mm()[seen.numbers]
    found, turn, move = cv2.solvePnP(points, seen.pixels, matrix, None, flags=cv2.SOLVEPNP_IPPE)
    if not found:
        return 0.0, 0.0, float("nan")
    towards = -cv2.Rodrigues(turn)[0][:, 2]
    middle = move.ravel() + cv2.Rodrigues(turn)[0] @ points.mean(axis=0)
    # Tilt is relative to the line of sight, so that a board at the side that faces the camera is not tilted.
    sight = -middle / np.linalg.norm(middle)
    across = np.degrees(np.arctan2(towards[0], -towards[2]) - np.arctan2(sight[0], -sight[2]))
    down = np.degrees(np.arctan2(towards[1], -towards[2]) - np.arctan2(sight[1], -sight[2]))
    return float(across), float(down), float(np.linalg.norm(middle)) / board.square_mm


def more(count: int) -> str:
    return f"{count} more view{'s' if count > 1 else ''}"


def gaps(views: Sequence[BoardView], sizes: Mapping[Modality, tuple[int, int]], board: Board) -> list[CoverageGap]:
    """Return the kinds of views that are still missing, required ones first. ``sizes``: modality → width and height of
    the images."""
    found: list[CoverageGap] = []
    if len(views) < LEAST_VIEWS:
        found.append(CoverageGap(f"{more(LEAST_VIEWS - len(views))} ({len(views)} of {LEAST_VIEWS})", True))
    first = next(iter(sizes))
    stands = [attitude(view.seen[first], board, sizes[first]) for view in views]
    across = [a for a, _, _ in stands]
    down = [d for _, d, _ in stands]
    for angles, way in ((across, "left and right"), (down, "up and down")):
        tilted = sum(abs(a) >= TILT_DEG for a in angles)
        if tilted < TILTED_VIEWS:
            wanted = more(TILTED_VIEWS - tilted)
            found.append(CoverageGap(f"{wanted} with the board tilted {way} by {TILT_DEG:.0f}° to 40°", True))
        elif not (any(a >= TILT_DEG for a in angles) and any(a <= -TILT_DEG for a in angles)):
            found.append(CoverageGap(f"the board tilted {way}: so far only to one side", False))
    distances = [d for _, _, d in stands if np.isfinite(d)]
    if not distances or max(distances) < NEAR_TO_FAR * min(distances):
        found.append(CoverageGap(f"the board at other distances, up to {NEAR_TO_FAR:g} times the nearest one", True))
    for modality, size in sizes.items():
        cells = empty_cells(views, modality, size)
        where = ", ".join(f"{ROWS[y]} {COLUMNS[x]}".replace("middle middle", "middle") for x, y in cells)
        if cells:
            found.append(
                CoverageGap(
                    f"the board in these parts of the {MODALITY_NAMES[modality]} image: {where}",
                    len(cells) > CELLS_MISSABLE,
                )
            )
    return sorted(found, key=lambda gap: not gap.needed)
