"""Attention maps drawn over the network's crops."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

FULL_AT = 4.0
"""Attention, as a multiple of the average over the crop, that gets the strongest colour. A map whose maximum is lower
is drawn fainter, and a uniform map is not drawn at all."""


def combined(maps: NDArray[np.float32]) -> NDArray[np.float32]:
    """Combine the attention maps [M, h, w] of one stream into one map [h, w] with sum 1.

    All maps have equal weight, as in the network, which normalises each map to sum 1 before it pools features. An
    all-zero map counts as uniform.
    """
    each = np.asarray(maps, np.float64)
    sums = each.sum((1, 2), keepdims=True)
    even = 1 / (each.shape[1] * each.shape[2])
    shares = np.where(sums > 0, each / np.where(sums > 0, sums, 1), even)
    return np.asarray(shares.mean(0), np.float32)


def cells(heat: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the sums of a map [h, w] over blocks of 2 × 2, which are the cells that the network distinguishes.

    The maps are pixel-shuffled from features of half the size, so the position within a block has no meaning. Older
    weights use only one of the four positions, which makes their maps look like a grid of dots.
    """
    height, width = heat.shape
    if height % 2 or width % 2:
        return heat
    summed: NDArray[np.float32] = heat.reshape(height // 2, 2, width // 2, 2).sum((1, 3))
    return summed


def grey_picture(crop: NDArray[Any]) -> NDArray[np.uint8]:
    """Return a crop as a displayable image, uint8 [S, S, C]. Depth in millimetres is converted to grey, with the
    nearest brightest."""
    if crop.dtype == np.uint8:
        return crop
    known = crop[crop > 0]
    near = float(np.percentile(known, 2)) if known.size else 0.0
    return np.where(crop > 0, np.clip(255 - (crop - near) * 2, 20, 255), 0).astype(np.uint8)


def displayable(crop: NDArray[Any]) -> NDArray[np.uint8]:
    """Return a crop [S, S, C] as uint8 RGB [S, S, 3]."""
    picture = grey_picture(crop)
    rgb: NDArray[np.uint8] = picture if picture.shape[2] == 3 else np.repeat(picture, 3, 2)
    return rgb


def overlay(crop: NDArray[Any], maps: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return a crop [S, S, C] with the attention [M, h, w] of its stream drawn over it, uint8 RGB [S, S, 3].

    Warmer colours mean more attention. Only cells above the average are drawn; elsewhere the crop is unchanged.
    """
    rgb = displayable(crop)
    size = (rgb.shape[1], rgb.shape[0])
    shares = cells(combined(maps))
    above = cv2.resize(shares * shares.size - 1, size, interpolation=cv2.INTER_CUBIC)
    heat = np.clip(above / max(float(above.max()), FULL_AT - 1), 0, 1)
    painted = cv2.applyColorMap((heat * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)[:, :, ::-1]
    share = (0.75 * heat)[:, :, None]
    mixed: NDArray[np.uint8] = (rgb * (1 - share) + painted * share).round().astype(np.uint8)
    return mixed
