"""Distances of the nearest surfaces, as measured by depth cameras; does not need Mitsuba."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from synthetic.arrays import Array
from synthetic.pathtraced.things import Window
from synthetic.people.makehuman.figure import FigurePart

NEAREST_MM = 10.0


def z_buffer(parts: Sequence[tuple[int, FigurePart]], window: Window) -> tuple[Array, NDArray[np.int64]]:
    """Return distances along the optical axis at the pixel centres, mm [h, w], 0 for none, and the number of the
    nearest part [h, w], -1 for none. ``parts``: numbers and meshes."""
    depth = np.full(window.height * window.width, np.inf, np.float64)
    owner = np.full(depth.shape, -1, np.int64)
    for number, part in parts:
        away = window.at[2] - part.vertices[:, 2].astype(np.float64)
        # Lamps and walls may reach behind the lens; such triangles are skipped.
        near = (away[part.triangles] > NEAREST_MM).all(1)
        at = window.project(np.where(away[:, None] > NEAREST_MM, part.vertices, [0, 0, window.at[2] - 1e4]))
        pixel, found = _covered(at[part.triangles[near]].astype(np.float64), away[part.triangles[near]], window)
        best = np.full(depth.shape, np.inf)
        np.minimum.at(best, pixel, found)
        nearer = best < depth
        depth[nearer], owner[nearer] = best[nearer], number
    shape = window.height, window.width
    return np.where(np.isfinite(depth), depth, 0).astype(np.float32).reshape(shape), owner.reshape(shape)


def _covered(
    corners: NDArray[np.float64], away: NDArray[np.float64], window: Window
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return pixels [k] whose centres lie in triangles [n, 3, 2], and the distances there [k]."""
    low = np.floor(corners.min(1) + 0.5).clip(0, None)
    high = np.minimum(np.floor(corners.max(1) + 0.5), [window.width, window.height])
    width, height = (high - low).clip(0).astype(np.int64).T
    area = _cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    count = np.where(np.abs(area) > 1e-9, width * height, 0)
    triangle = np.repeat(np.arange(len(corners)), count)
    within = np.arange(len(triangle)) - np.repeat(np.cumsum(count) - count, count)
    column = (low[triangle, 0] + within % width[triangle]).astype(np.int64)
    row = (low[triangle, 1] + within // width[triangle]).astype(np.int64)
    point = np.stack([column + 0.5, row + 0.5], 1) - corners[triangle, 0]
    v = _cross(point, (corners[:, 2] - corners[:, 0])[triangle]) / area[triangle]
    w = _cross((corners[:, 1] - corners[:, 0])[triangle], point) / area[triangle]
    inside = (v >= 0) & (w >= 0) & (v + w <= 1)
    v, w, triangle = v[inside], w[inside], triangle[inside]
    # On a plane, 1 / distance is linear in image coordinates.
    inverse = 1 / away[triangle]
    found = 1 / (inverse[:, 0] * (1 - v - w) + inverse[:, 1] * v + inverse[:, 2] * w)
    return row[inside] * window.width + column[inside], found


def _cross(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    cross: NDArray[np.float64] = a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
    return cross
