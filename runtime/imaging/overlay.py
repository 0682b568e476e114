"""Where the network looked, drawn over the crops that it saw."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray


def combined(maps: NDArray[np.float32]) -> NDArray[np.float32]:
    """Attention [M, h, w] of one stream → one map [h, w] whose sum is 1; even where the network looked nowhere.

    Every map counts alike, however bright, because that is how the network uses them: each is brought to the sum 1
    before features are pooled with it.
    """
    each = np.asarray(maps, np.float64)
    sums = each.sum((1, 2), keepdims=True)
    even = 1 / (each.shape[1] * each.shape[2])
    shares = np.where(sums > 0, each / np.where(sums > 0, sums, 1), even)
    return np.asarray(shares.mean(0), np.float32)


def cells(heat: NDArray[np.float32]) -> NDArray[np.float32]:
    """Sum a map [h, w] over blocks of 2 × 2: what the network tells apart.

    Its maps are pixel-shuffled from features of half the size, and training lets each map use one place of the four in
    every block. Drawn as they are they show a grid of dots, whose places within a block mean nothing.
    """
    height, width = heat.shape
    if height % 2 or width % 2:
        return heat
    summed: NDArray[np.float32] = heat.reshape(height // 2, 2, width // 2, 2).sum((1, 3))
    return summed


def grey_picture(crop: NDArray[Any]) -> NDArray[np.uint8]:
    """A crop as something to look at, uint8 [S, S, C]: depth in millimetres becomes grey, nearest bright."""
    if crop.dtype == np.uint8:
        return crop
    known = crop[crop > 0]
    near = float(np.percentile(known, 2)) if known.size else 0.0
    return np.where(crop > 0, np.clip(255 - (crop - near) * 2, 20, 255), 0).astype(np.uint8)


def overlay(crop: NDArray[Any], maps: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Attention [M, h, w] of one stream over its crop [S, S, C], as colour: uint8 RGB [S, S, 3]. Warm is more."""
    picture = grey_picture(crop)
    colour = picture if picture.shape[2] == 3 else np.repeat(picture, 3, 2)
    size = (colour.shape[1], colour.shape[0])
    heat = cv2.resize(cells(combined(maps)), size, interpolation=cv2.INTER_CUBIC)
    heat = np.clip(heat / max(float(heat.max()), 1e-12), 0, 1)
    painted = cv2.applyColorMap((heat * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)[:, :, ::-1]
    share = (0.25 + 0.5 * heat)[:, :, None]
    return (colour * (1 - share) + painted * share).round().astype(np.uint8)
