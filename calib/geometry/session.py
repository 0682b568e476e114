"""Collect board views: accept useful images, explain why others are rejected, and list the views that are missing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from calib.geometry.board import LEAST_CORNERS, Board, BoardDetection, BoardFinder
from calib.geometry.coverage import BoardView, CoverageGap, common, gaps
from runtime.core.errors import CalibrationInvalid
from runtime.core.values import MODALITY_NAMES, Modality

BoardImage = NDArray[Any]
STILL_PX = 1.0
"""Movement since the last frame, in pixels of a 640 px wide image, below which the board counts as still. Cameras that
expose a few milliseconds apart then see it in the same place."""
NEW_PX = 20.0
"""Mean distance of the corners from those of an earlier view, in pixels of a 640 px wide image, below which a view is
redundant."""
MOST_VIEWS = 60
MIRROR_TESTS = 10
COLOURED = 3.0
"""Mean difference between the channels, in grey levels, above which an image counts as a colour image. Even a black and
white board takes on the tint of the light."""


@dataclass(slots=True)
class BoardSession:
    """Session that takes pairs of images from two cameras and keeps the useful views.

    ``still_only``: whether to accept a pair only if the board has not moved since the last one, which is needed for
    live cameras.
    """

    board: Board
    modalities: tuple[Modality, Modality]
    still_only: bool = False
    views: list[BoardView] = field(default_factory=list)
    sizes: dict[Modality, tuple[int, int]] = field(default_factory=dict)
    found: dict[Modality, int] = field(default_factory=dict)
    offered: int = 0
    _finder: BoardFinder = field(init=False)
    _last: Mapping[Modality, BoardDetection | None] = field(default_factory=dict, init=False)
    _mirror_tests: int = field(default=0, init=False)
    _tints: dict[Modality, list[float]] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self._finder = BoardFinder(self.board)

    def offer(self, name: str, pictures: Mapping[Modality, BoardImage]) -> str:
        """Offer a pair of images, uint8 or uint16 [H, W, 1] or RGB [H, W, 3].

        Returns an empty string if the pair was accepted as a view, otherwise the reason why it was not.

        Raises:
            CalibrationInvalid: the size differs from that of earlier images, or an image is mirrored.
        """
        self.offered += 1
        for modality in self.modalities:
            picture = pictures[modality]
            size = (picture.shape[1], picture.shape[0])
            if self.sizes.setdefault(modality, size) != size:
                raise CalibrationInvalid(
                    f"{name}: the {MODALITY_NAMES[modality]} image has {size[0]}×{size[1]} pixels, but earlier ones "
                    f"had {self.sizes[modality][0]}×{self.sizes[modality][1]}. Use one size, the one used in operation."
                )
            self._tints.setdefault(modality, []).append(tint(picture))
        seen = {modality: self._finder.find(pictures[modality]) for modality in self.modalities}
        last, self._last = self._last, seen
        missing = [modality for modality in self.modalities if seen[modality] is None]
        for modality in self.modalities:
            self.found[modality] = self.found.get(modality, 0) + (seen[modality] is not None)
        if missing:
            self._require_not_mirrored(name, {modality: pictures[modality] for modality in missing})
            return f"no board in the {' and the '.join(MODALITY_NAMES[m] for m in missing)} image"
        view = BoardView(name, {modality: found for modality, found in seen.items() if found is not None})
        if common(view, *self.modalities).size < LEAST_CORNERS:
            return "the cameras see too little of the board in common"
        if self.still_only:
            moved = [mean_corner_distance(last.get(m), view.seen[m]) * 640 / self.sizes[m][0] for m in self.modalities]
            if max(moved) > STILL_PX:
                return "hold the board still"
            if any(self._is_same_view(view, other) for other in self.views):
                return "this view exists already: move or tilt the board"
            if len(self.views) >= MOST_VIEWS:
                return "there are enough views"
        self.views.append(view)
        return ""

    def gaps(self) -> list[CoverageGap]:
        """Return the kinds of views that are still missing."""
        if not self.sizes:
            return [CoverageGap("images of the board", True)]
        return gaps(self.views, {m: self.sizes[m] for m in self.modalities}, self.board)

    def require_right_cameras(self) -> None:
        """Check that the RGB images have colour and the IR images do not.

        Raises:
            CalibrationInvalid: the cameras seem to be swapped.
        """
        for modality, tints in self._tints.items():
            usual = float(np.median(tints))
            if modality == "rgb" and usual == 0:
                raise CalibrationInvalid(
                    "the colour images are all grey, so an infrared camera was named as the colour camera. "
                    "Swap the two."
                )
            if modality != "rgb" and usual > COLOURED:
                raise CalibrationInvalid(
                    f"the {MODALITY_NAMES[modality]} images are coloured, so a colour camera was named as the "
                    f"{MODALITY_NAMES[modality]} camera. Swap the two."
                )

    def trouble(self) -> str:
        """Return the likely cause if too few images show the board, otherwise an empty string."""
        rgb, ir = (self.found.get(m, 0) for m in self.modalities)
        if self.offered and rgb == ir == 0:
            return f"no image shows the board of {self.board.name}. Check --columns, --rows and the focus."
        if self.modalities[0] == "rgb" and rgb >= 5 and ir < rgb / 2:
            return (
                f"the colour camera sees the board in {rgb} images, the {MODALITY_NAMES[self.modalities[1]]} camera in "
                f"{ir}. Dye ink is invisible in near infrared: print with laser toner. Light the board evenly (a "
                "halogen lamp), and turn dot projectors off."
            )
        return ""

    def _is_same_view(self, view: BoardView, other: BoardView) -> bool:
        first = self.modalities[0]
        return mean_corner_distance(other.seen[first], view.seen[first]) * 640 / self.sizes[first][0] < NEW_PX

    def _require_not_mirrored(self, name: str, pictures: Mapping[Modality, BoardImage]) -> None:
        if self._mirror_tests >= MIRROR_TESTS:
            return
        self._mirror_tests += 1
        for modality, picture in pictures.items():
            if self._finder.is_mirrored(picture):
                raise CalibrationInvalid(
                    f"{name}: the {MODALITY_NAMES[modality]} image is mirrored, so faces would be expected on the "
                    "wrong side. Turn off mirroring in the camera or its driver."
                )


def mean_corner_distance(one: BoardDetection | None, other: BoardDetection) -> float:
    """Return the mean distance in pixels between common corners, or infinity if there are too few."""
    if one is None:
        return float("inf")
    numbers = np.intersect1d(one.numbers, other.numbers)
    if numbers.size < LEAST_CORNERS:
        return float("inf")
    return float(np.linalg.norm(one.of(numbers) - other.of(numbers), axis=1).mean())


def tint(picture: BoardImage) -> float:
    """Return the mean difference between the channels of an image in grey levels; 0 for a grey image.

    Noise is removed first.
    """
    if picture.ndim == 2 or picture.shape[2] == 1:
        return 0.0
    soft = cv2.resize(picture, (32, 24), interpolation=cv2.INTER_AREA).astype(np.float32)
    return float((soft.max(axis=2) - soft.min(axis=2)).mean())
