"""Infrared without the ambient light: a lit picture minus the dark one beside it, where that does more good than harm.

Sun and lamps wash out what the illuminator shows; what was there without it can be taken away. Between the two pictures
a frame's time passes, so whoever moves leaves edges of his own; and where a picture is clipped, the difference is of
nothing. A difference is therefore refused, with the reason, rather than made badly: the lit picture is always at hand.

Both pictures must have been taken with the same exposure and gain. Nothing in a picture shows that; lock them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from runtime.core.values import Image
from runtime.geometry.drift import LEAST_RESPONSE, shift_between
from runtime.pairing.illumination import LOCK_GAP, MAX_CLIPPED, FrameStats, frame_stats

MIN_DARK_MEAN = 5.0
"""Of a darker picture there is nothing to take away but noise."""
MIN_RESULT_MEAN = 12.0
MAX_MOTION = 0.005
"""Of the picture's width: 3 pixels of 640."""
_LOOK = 160
"""Longer edge of the pictures in which motion is looked for."""

Refusal = Literal["no_gap", "no_ambient", "too_dark", "clipped", "moved", "unclear"]
"""Why there is no difference.

``no_gap``: lit and dark are less than 8 grey levels apart. ``no_ambient``: the dark picture is so dark that the lit one
needs nothing taken away. ``too_dark``: what is left is. ``clipped``: too much of the lit picture is. ``moved``: the
scene did, between the two. ``unclear``: whether it did cannot be seen."""


@dataclass(frozen=True, slots=True)
class Difference:
    """``image``: uint8 [H, W, 1] lit minus dark, None when refused. ``ambient``: the dark picture's mean; ``contrast``:
    the lit one's less that; both in grey levels. ``motion_px``: how far the scene moved in between, None where
    not looked for or not seen."""

    image: Image | None
    ambient: float
    contrast: float
    refused: Refusal | None = None
    motion_px: float | None = None


def difference(lit: Image, dark: Image, *, max_motion: float = MAX_MOTION) -> Difference:
    """Take the dark picture off the lit one, both raw, uint8 [H, W, 1]; ``max_motion``: as a part of the width.

    Raises:
        ValueError: the pictures differ in shape or are no such pictures.
    """
    if lit.shape != dark.shape or lit.ndim != 3 or lit.shape[2] != 1 or lit.dtype != np.uint8 or dark.dtype != np.uint8:
        raise ValueError(f"two infrared pictures [H, W, 1] of one size are needed, not {lit.shape} and {dark.shape}.")
    # Clipping is measured before: 255 minus 1 is 254 and looks sound.
    bright, ambient = frame_stats(lit), frame_stats(dark)
    gap = bright.mean - ambient.mean
    refused = _by_level(bright, ambient, gap)
    if refused:
        return Difference(None, ambient.mean, gap, refused)
    result = cv2.subtract(lit, dark).reshape(lit.shape)
    if float(result.mean()) < MIN_RESULT_MEAN:
        return Difference(None, ambient.mean, gap, "too_dark")
    moved = motion(lit, dark)
    if moved is None:
        return Difference(None, ambient.mean, gap, "unclear")
    if moved > max_motion * lit.shape[1]:
        return Difference(None, ambient.mean, gap, "moved", moved)
    return Difference(result.astype(np.uint8, copy=False), ambient.mean, gap, None, moved)


def motion(lit: Image, dark: Image) -> float | None:
    """By how many pixels what is seen moved between two pictures uint8 [H, W, 1]; None where that is not clear.

    The light differs, the edges do not: their correlation peaks where they lie upon each other.
    """
    height, width = lit.shape[:2]
    scale = max(height, width) / _LOOK
    size = max(round(width / scale), 1), max(round(height / scale), 1)
    small = [cv2.resize(image, size, interpolation=cv2.INTER_AREA)[..., None] for image in (lit, dark)]
    shift = shift_between(small[0].astype(np.uint8, copy=False), small[1].astype(np.uint8, copy=False))
    if shift.response < LEAST_RESPONSE:
        return None
    return float(math.hypot(shift.x, shift.y) * scale)


def _by_level(lit: FrameStats, dark: FrameStats, gap: float) -> Refusal | None:
    if lit.clipped > MAX_CLIPPED:
        return "clipped"
    if dark.mean < MIN_DARK_MEAN:
        return "no_ambient"
    return "no_gap" if gap < LOCK_GAP else None
