"""Registration without a calibration: learnt from where the same face was found in both pictures.

What faces teach is scale and displacement, at the distance where they stood. That is less than a calibration knows, so
it says how much the faces agreed, for which widths it holds, and when it is not to be trusted.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

import numpy as np

from runtime.core.values import Box, Modality, Pair
from runtime.geometry.box_mapping import FACE_BOX_MM, Placed

FRAMES = 30
LARGEST_SPREAD = 0.06
"""Of a face's width: two detectors that are each off by 3 to 4 %. The median of thirty such is good to 1.4 %."""
LARGEST_SCALE_SPREAD = 0.08
WIDTH_RANGE = 1.25
"""A face this many times nearer or farther than those learnt from is displaced by another parallax: with cameras 25 mm
apart by 25/150·(1.25 − 1), 4 % of its width."""
ASSUMED_BASELINE_MM = 25.0


@dataclass(frozen=True, slots=True)
class Similarity:
    """``target = target_centre + scale·(source − source_centre)``, pixels. ``width``: of the source boxes that it was
    learnt from. ``spread_px``: standard deviation about it of the centres found in the target, robust."""

    scale: float
    source_centre: tuple[float, float]
    target_centre: tuple[float, float]
    width: float
    spread_px: float
    frames: int

    def inverse(self) -> Similarity:
        """From the target's pixels to the source's."""
        return Similarity(
            1 / self.scale,
            self.target_centre,
            self.source_centre,
            self.width * self.scale,
            self.spread_px / self.scale,
            self.frames,
        )

    def carry(self, box: Box) -> Box:
        x, y = (
            t + self.scale * (c - s)
            for c, s, t in zip(
                (box.x + box.w / 2, box.y + box.h / 2), self.source_centre, self.target_centre, strict=True
            )
        )
        w, h = box.w * self.scale, box.h * self.scale
        return Box(x - w / 2, y - h / 2, w, h)


@dataclass(frozen=True, slots=True)
class Learnt:
    """A `runtime.geometry.box_mapping.Registrar` for the two modalities that ``similarity`` was learnt for, in either
    direction."""

    similarity: Similarity
    source: Modality
    target: Modality

    def place(self, box: Box, source: Modality, target: Modality, pair: Pair) -> Placed | None:
        pair.image(source), pair.image(target)
        if (source, target) == (self.source, self.target):
            known = self.similarity
        elif (source, target) == (self.target, self.source):
            known = self.similarity.inverse()
        else:
            return None
        nearer = box.w / known.width
        if not 1 / WIDTH_RANGE <= nearer <= WIDTH_RANGE:
            return None
        placed = known.carry(box)
        parallax = ASSUMED_BASELINE_MM / FACE_BOX_MM * abs(1 - 1 / nearer) * placed.w
        return Placed(placed, "similarity", math.hypot(2 * known.spread_px, parallax))


@dataclass(slots=True)
class FacesInBoth:
    """The last pairs of boxes of one face found in both pictures, and what they teach. One thread owns it."""

    frames: int = FRAMES
    _boxes: deque[tuple[float, ...]] = field(init=False)

    def __post_init__(self) -> None:
        self._boxes = deque(maxlen=self.frames)

    def add(self, source: Box, target: Box) -> None:
        """Boxes of the same face in the same pair. Add none where a picture shows several faces."""
        values = (source.x, source.y, source.w, source.h, target.x, target.y, target.w, target.h)
        if all(map(math.isfinite, values)) and min(source.w, source.h, target.w, target.h) > 0:
            self._boxes.append(values)

    def learn(self) -> tuple[Similarity | None, str]:
        """The similarity, and why it is not to be trusted: empty when it is. None before the first boxes."""
        if not self._boxes:
            return None, "no face was found in both pictures yet"
        x, y, w, h, u, v, p, q = np.array(self._boxes).T
        scales = np.sqrt(p * q / (w * h))
        scale = float(np.median(scales))
        source = np.array([np.median(x + w / 2), np.median(y + h / 2)])
        left = np.column_stack([u + p / 2, v + q / 2]) - scale * (np.column_stack([x + w / 2, y + h / 2]) - source)
        target = np.median(left, axis=0)
        # 1.4826: from median absolute to standard deviation, for normal scatter.
        spread = 1.4826 * float(np.median(np.abs(left - target), axis=0).max())
        found = Similarity(
            scale,
            (float(source[0]), float(source[1])),
            (float(target[0]), float(target[1])),
            float(np.median(w)),
            spread,
            len(self._boxes),
        )
        scale_spread = 1.4826 * float(np.median(np.abs(np.log(scales / scale))))
        width = float(np.median(p))
        if found.frames < self.frames:
            return found, f"learnt from {found.frames} pairs; {self.frames} are needed"
        if scale_spread > LARGEST_SCALE_SPREAD:
            return found, f"the faces' sizes disagree by {scale_spread:.0%}; are both boxes of the same face?"
        if spread > LARGEST_SPREAD * width:
            return found, (
                f"the faces' places disagree by {spread:.1f} pixels, {spread / width:.1%} of their width (at most "
                f"{LARGEST_SPREAD:.0%}): they stood at different distances, or moved. Calibrate with: adsn-calib rig"
            )
        return found, ""
