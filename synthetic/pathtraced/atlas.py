"""Merge the textures of many things into one, so that they can be one mesh with one material.

Dr.Jit traces the code of every material again for every image. When each thing had its own material, tracing took as
long as computing the paths.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from synthetic.arrays import Array, float32
from synthetic.pathtraced.backend import Band
from synthetic.pathtraced.things import Matter, Thing

CELL = 16
"""Edge in pixels of the grid to which places in the atlas are aligned. Roughness and metallic, which are constant for a
thing, have one pixel for each cell."""
WIDTH = 1024
"""Width of the atlas in pixels, unless a texture needs more."""
WHITEST = 0.95
RIM = 1
"""Pixels around each texture that repeat its opposite edge, as the renderer does where it interpolates at an edge."""


@dataclass(frozen=True, slots=True)
class Atlas:
    """Textures of several things in one band.

    ``colour`` [h, w, 3 or 1]; ``opacity`` [h, w, 1], None if every thing is solid; ``roughness`` and ``metallic``
    [h / CELL, w / CELL, 1]; ``uv`` [n, 2]: texture coordinates of the vertices of all things, from the top left.
    """

    colour: Array
    opacity: Array | None
    roughness: Array
    metallic: Array
    uv: Array


def atlas_of(things: Sequence[Thing], band: Band) -> Atlas:
    """Lay out the textures of ``things`` in one atlas. Either all of them have an opacity, or none has."""
    colours = [_colour(thing.matter, band) for thing in things]
    opacities = [_opacity(thing.matter, band) for thing in things]
    sizes = []
    for colour, opacity in zip(colours, opacities, strict=True):
        shapes = [colour.shape, *([opacity.shape] if opacity is not None else [])]
        sizes.append((max(shape[0] for shape in shapes), max(shape[1] for shape in shapes)))
    places, (height, width) = _places(sizes)
    whole = np.zeros((height, width, colours[0].shape[2]), np.float32)
    opaque = None if opacities[0] is None else np.ones((height, width, 1), np.float32)
    roughness = np.zeros((height // CELL, width // CELL, 1), np.float32)
    metallic = np.zeros_like(roughness)
    uvs = []
    for thing, colour, opacity, size, (top, left) in zip(things, colours, opacities, sizes, places, strict=True):
        _put(whole, colour, size, (top, left))
        if opaque is not None and opacity is not None:
            _put(opaque, opacity, size, (top, left))
        cells = tuple(
            slice(start // CELL, (start + _padded(edge)) // CELL) for start, edge in zip((top, left), size, strict=True)
        )
        roughness[cells], metallic[cells] = thing.matter.roughness, thing.matter.metallic
        u, v = thing.part.uv[:, 0], 1 - thing.part.uv[:, 1]
        uvs.append(np.stack([(left + RIM + u * size[1]) / width, (top + RIM + v * size[0]) / height], 1))
    return Atlas(whole, opaque, roughness, metallic, np.concatenate(uvs).astype(np.float32))


def _colour(matter: Matter, band: Band) -> Array:
    """Return the albedo [h, w, 3 or 1]; one pixel for a single colour."""
    albedo = np.array(matter.albedo, np.float32)[None, None] if isinstance(matter.albedo, tuple) else matter.albedo
    return float32(np.clip(albedo[:, :, :3] if band == "rgb" else albedo[:, :, 3:], 0, WHITEST))


def _opacity(matter: Matter, band: Band) -> Array | None:
    """Return the opacity [h, w, 1], or None for a solid thing."""
    if matter.alpha is not None:
        return float32(matter.alpha)[:, :, None]
    if matter.opacity is not None:
        return np.full((1, 1, 1), matter.opacity[0 if band == "rgb" else 1], np.float32)
    return None


def _padded(edge: int) -> int:
    return -(-(edge + 2 * RIM) // CELL) * CELL


def _places(sizes: Sequence[tuple[int, int]]) -> tuple[list[tuple[int, int]], tuple[int, int]]:
    """Return top and left of each texture in rows of decreasing height, and height and width of the atlas."""
    width = max(WIDTH, *(_padded(columns) for _, columns in sizes))
    places = [(0, 0)] * len(sizes)
    top = left = bottom = 0
    for k in sorted(range(len(sizes)), key=lambda k: -sizes[k][0]):
        rows, columns = (_padded(edge) for edge in sizes[k])
        if left + columns > width:
            top, left = bottom, 0
        places[k] = (top, left)
        left, bottom = left + columns, max(bottom, top + rows)
    return places, (bottom, width)


def _put(atlas: Array, texture: Array, size: tuple[int, int], place: tuple[int, int]) -> None:
    """Write a texture with its rim into ``atlas``, enlarged to ``size`` if it is smaller."""
    rows, columns = size
    top, left = place
    if texture.shape[:2] == (1, 1):
        atlas[top : top + rows + 2 * RIM, left : left + columns + 2 * RIM] = texture[0, 0]
        return
    if texture.shape[:2] != size:
        texture = float32(cv2.resize(texture, (columns, rows))).reshape(rows, columns, -1)
    atlas[top : top + rows + 2 * RIM, left : left + columns + 2 * RIM] = np.pad(
        texture, ((RIM, RIM), (RIM, RIM), (0, 0)), mode="wrap"
    )
