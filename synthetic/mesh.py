"""Triangle meshes: normals, and a z-buffer that gives the visible triangle of each pixel and the position in it.

All triangles are processed at once with NumPy: each contributes the pixel centres in its bounding box, mostly one to
four for the meshes used here, and the nearest hit wins.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthetic.arrays import Array

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Topology:
    """Topology shared by all shapes of one family. ``triangles`` int64 [m, 3], counter-clockwise seen from outside in
    axes with y down; ``canvas`` float32 [n, 2]: position of each vertex's paint on the canvas, mm."""

    triangles: Indices
    canvas: Array

    @cached_property
    def _by_corner(self) -> Indices:
        """Triangles [3, m], contiguous: gathering coordinates with them is twice as fast as gathering points."""
        return np.ascontiguousarray(self.triangles.T)

    @cached_property
    def _corners(self) -> tuple[Indices, Indices]:
        """Corners ordered by vertex, and the start index of each vertex."""
        order = np.argsort(self.triangles.ravel(), kind="stable")
        counts = np.bincount(self.triangles.ravel(), minlength=len(self.canvas))
        if counts.min() == 0:
            raise ValueError("every vertex of a mesh must belong to a triangle")
        return order // 3, np.concatenate([[0], np.cumsum(counts)[:-1]])

    def normals(self, vertices: Array) -> Array:
        """Return unit normals of the vertices [n, 3] → [n, 3], each face weighted by its area."""
        x, y, z = np.ascontiguousarray(vertices.T).take(self._by_corner, axis=1)
        ux, uy, uz, vx, vy, vz = x[1] - x[0], y[1] - y[0], z[1] - z[0], x[2] - x[0], y[2] - y[0], z[2] - z[0]
        faces = np.stack([uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx])
        owners, starts = self._corners
        total = np.add.reduceat(faces.take(owners, axis=1), starts, axis=1)
        length = np.sqrt(np.einsum("ij,ij->j", total, total))
        total /= np.maximum(length, 1e-12)
        return np.ascontiguousarray(total.T, np.float32)

    def averaged(self, vertices: Array) -> Array:
        """Replace each vertex by the mean of its triangles' centroids [n, 3] → [n, 3]."""
        middles = np.ascontiguousarray(vertices.T).take(self._by_corner, axis=1).sum(1)
        owners, starts = self._corners
        counts = np.diff(np.append(starts, len(owners))) * 3
        total = np.add.reduceat(middles.take(owners, axis=1), starts, axis=1) / counts
        return np.ascontiguousarray(total.T, np.float32)


@dataclass(slots=True)
class Mesh:
    """A shape: ``vertices`` float32 [n, 3], mm; x right, y down, z to the camera."""

    vertices: Array
    topology: Topology


@dataclass(frozen=True, slots=True)
class Fragments:
    """Result of a z-buffer, one entry per covered pixel: ``pixel`` flat index, ``corners`` [k, 3] vertices and
    ``weights`` [k, 3] barycentric coordinates."""

    pixel: Indices
    corners: Indices
    weights: Array

    def interpolate(self, values: Array) -> Array:
        """Interpolate vertex values [n, c] at the covered pixels [k, c]."""
        found: Array = values[self.corners[:, 0]] * self.weights[:, :1]
        found += values[self.corners[:, 1]] * self.weights[:, 1:2]
        found += values[self.corners[:, 2]] * self.weights[:, 2:]
        return found


def rasterise(points: Array, triangles: Indices, width: int, height: int) -> Fragments:
    """Return the visible triangles. ``points`` [n, 3]: x and y in pixels, z towards the viewer; pixel centres are at
    integers. Back faces are culled."""
    a, b, c = (points[triangles[:, k]] for k in range(3))
    ab, ac = b - a, c - a
    area = ab[:, 0] * ac[:, 1] - ab[:, 1] * ac[:, 0]
    low = np.ceil(np.minimum(np.minimum(a, b), c)[:, :2]).astype(np.int64)
    high = np.floor(np.maximum(np.maximum(a, b), c)[:, :2]).astype(np.int64)
    np.maximum(low, 0, out=low)
    np.minimum(high, [width - 1, height - 1], out=high)
    size = high - low + 1
    # Front faces are clockwise on a screen with y down, which gives a positive area here.
    kept = np.flatnonzero((area > 1e-9) & (size[:, 0] > 0) & (size[:, 1] > 0))
    ab, ac, area, a, low, size = ab[kept], ac[kept], area[kept], a[kept], low[kept], size[kept]
    counts = size[:, 0] * size[:, 1]
    owner = np.repeat(np.arange(len(kept)), counts)
    step = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
    column = low[owner, 0] + step % size[owner, 0]
    row = low[owner, 1] + step // size[owner, 0]
    dx, dy = column - a[owner, 0], row - a[owner, 1]
    scale = 1 / area[owner]
    second = (dx * ac[owner, 1] - dy * ac[owner, 0]) * scale
    third = (dy * ab[owner, 0] - dx * ab[owner, 1]) * scale
    inside = (second >= 0) & (third >= 0) & (second + third <= 1)
    owner, second, third = owner[inside], second[inside], third[inside]
    pixel = row[inside] * width + column[inside]
    near = a[owner, 2] + second * ab[owner, 2] + third * ac[owner, 2]
    buffer = np.full(width * height, -np.inf, near.dtype)
    np.maximum.at(buffer, pixel, near)
    seen = np.flatnonzero(near >= buffer[pixel])
    # Ties in distance go to the later triangle.
    last = np.full(width * height, -1, np.int64)
    last[pixel[seen]] = seen
    covered = np.flatnonzero(last >= 0)
    seen = last[covered]
    weights = np.stack([1 - second[seen] - third[seen], second[seen], third[seen]], 1).astype(np.float32)
    return Fragments(covered, triangles[kept[owner[seen]]], weights)


def scatter(fragments: Fragments, values: NDArray[Any], width: int, height: int) -> Array:
    """Return values of covered pixels [k, c] as an image [h, w, c], zero elsewhere."""
    out = np.zeros((height * width, values.shape[1]), np.float32)
    out[fragments.pixel] = values
    return out.reshape(height, width, -1)
