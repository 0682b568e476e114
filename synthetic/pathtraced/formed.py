"""Sheets formed over a face, as height fields: a clear mask, a print on a relief."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np

from synthetic.arrays import Array, float32
from synthetic.pathtraced.eyes import ball_part
from synthetic.pathtraced.things import NECK, Window, plate
from synthetic.pathtraced.zbuffer import z_buffer
from synthetic.people.makehuman.figure import Figure, FigurePart, smooth_normals

BACK_MM = -70.0
"""Where a relief begins, mm behind the eyes."""
FAR_MM = 50000.0


def straight_window(half: tuple[float, float], middle: float, per_mm: float) -> Window:
    """Return a view without perspective of ``half`` width and height, mm, its centre ``middle`` mm above the eyes."""
    width, height = round(2 * half[0] * per_mm), round(2 * half[1] * per_mm)
    centre = (width / 2, height / 2 + middle * per_mm)
    return Window((0.0, 0.0, FAR_MM), width, height, FAR_MM * per_mm, centre)


def heights(parts: Sequence[FigurePart], window: Window) -> Array:
    """Return how far meshes stand out from `BACK_MM` at a window's pixels, mm [h, w]."""
    depth, owner = z_buffer(list(enumerate(parts)), window)
    return np.where(owner >= 0, np.clip(window.at[2] - depth - BACK_MM, 0, None), 0).astype(np.float32)


def head_parts(figure: Figure, *, hair: bool = False) -> list[FigurePart]:
    """Return skin, eyes and perhaps hair of a head."""
    parts = [figure.skin, *(ball_part(eye) for eye in figure.eyes)]
    if hair and figure.hair is not None:
        parts.append(figure.hair)
    return parts


def placed_part(part: FigurePart, turn: Array) -> FigurePart:
    """Return a part of a head rotated by a matrix [3, 3] about the neck."""
    about = np.array(NECK, np.float32)
    return part.moved(turn, about - turn @ about)


def sampled(values: Array, window: Window, points: Array) -> Array:
    """Return a map [h, w] of a window's pixels at points [n, 3] on its axis' plane, [n]."""
    at = window.project(points * np.array([1, 1, 0], np.float32)) - 0.5
    columns, rows = (np.ascontiguousarray(at[:, k : k + 1], np.float32) for k in (0, 1))
    return float32(cv2.remap(values, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))[:, 0]


def embossed(
    height: Array, window: Window, half: tuple[float, float], middle: float, scale: float, grid: tuple[int, int]
) -> FigurePart:
    """Return a sheet of ``half`` width and height with a relief: ``height`` mm at the window's pixels, ``scale`` times
    as large. Its rim stays flat, and its back is at z = 0."""
    part = plate(half, *grid).moved(np.eye(3, dtype=np.float32), np.array([0, middle, 0], np.float32))
    raised = sampled(height, window, part.vertices / np.float32(scale)) * np.float32(scale)
    rim = np.minimum(half[0] - np.abs(part.vertices[:, 0]), half[1] - np.abs(part.vertices[:, 1] - middle))
    vertices = part.vertices.copy()
    vertices[:, 2] = raised * np.clip(rim / 15, 0, 1)
    return replace(part, vertices=vertices, normals=smooth_normals(vertices, part.triangles))
