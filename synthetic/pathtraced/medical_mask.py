"""Medical masks as meshes: cloth drawn over nose, mouth and chin, with loops behind the ears."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np

from synthetic.arrays import Array, float32
from synthetic.pathtraced.formed import BACK_MM, heights, sampled, straight_window
from synthetic.pathtraced.things import Matter, Thing, joined, plate, tube
from synthetic.people.head import MedicalMask
from synthetic.people.makehuman.figure import Figure, FigurePart, smooth_normals
from synthetic.surface import noise

GRID = (71, 61)
HALF_WIDTH_MM = 63.0
STAND_OFF_MM = 3.0
TENSION_MM = 46
"""Hollows narrower than this are bridged by the cloth."""
CLOTH_PX = 192


def medical_mask_things(
    figure: Figure, mask: MedicalMask, open_mouth: float, over: Sequence[FigurePart] = ()
) -> list[Thing]:
    """Return a mask on a figure: cloth and ear loops. ``open_mouth``: 0 to 1, lowers the chin.
    ``over``: what the figure already wears on its face."""
    top = float(figure.landmarks["nose"][1]) * (0.42 if mask.over_nose else 1.15)
    bottom = float(figure.landmarks["chin"][1]) - 6 - 22 * open_mouth
    half, middle = (HALF_WIDTH_MM, (top - bottom) / 2), (top + bottom) / 2
    window = straight_window((half[0] + 12, half[1] + 12), middle, 1.0)
    height = heights([figure.skin, *over], window)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (TENSION_MM, TENSION_MM))
    draped = float32(cv2.morphologyEx(height, cv2.MORPH_CLOSE, kernel))
    draped = float32(cv2.GaussianBlur(np.maximum(draped, height), (0, 0), 3.0))
    cloth = _cloth(mask, draped, half, middle)
    rng = np.random.default_rng(mask.texture_seed)
    fibres = 1 + 0.03 * noise(rng, (CLOTH_PX, CLOTH_PX), 90)
    v = np.linspace(0, 1, CLOTH_PX)[:, None]
    if mask.pleated:
        for at in (0.3, 0.5, 0.7):
            fibres = fibres * (1 - 0.3 * np.exp(-np.square((v - at) / 0.012)))
    seam = np.minimum(np.minimum(v, 1 - v), np.minimum(v.T, 1 - v.T))
    fibres = fibres * (1 - 0.18 * np.exp(-np.square((seam - 0.05) / 0.008)))
    albedo = np.array(mask.colour, np.float32) * np.clip(fibres, 0.3, 1.2)[:, :, None]
    matter = Matter(np.clip(albedo, 0.01, 0.92).astype(np.float32), roughness=0.95)
    return [Thing(cloth, matter, "worn"), Thing(_loops(figure, cloth), Matter((0.7,) * 4, roughness=0.9), "worn")]


def _cloth(mask: MedicalMask, draped: Array, half: tuple[float, float], middle: float) -> FigurePart:
    """Return the cloth, narrower at its corners; ``draped`` [h, w]: height of the face below it, mm."""
    part = plate(half, *GRID)
    u, v = 2 * part.uv[:, 0] - 1, 1 - part.uv[:, 1]
    # The upper edge dips beside the nose, the lower one rises beside the chin.
    v_bent = v * 2 - 1
    y = middle + part.vertices[:, 1] * (1 - 0.38 * np.square(u)) - 9 * np.square(u) * (v_bent < 0) * (-v_bent)
    # Jaws are narrower than cheekbones.
    x = part.vertices[:, 0] * (1 - 0.2 * (1 - v))
    flat = np.stack([x, y, np.zeros(len(y))], 1).astype(np.float32)
    window = straight_window((half[0] + 12, half[1] + 12), middle, 1.0)
    z = sampled(draped, window, flat) + BACK_MM + STAND_OFF_MM
    if mask.pleated:
        # Each pleat hangs over the next.
        z = z + 1.3 * np.mod(v * 4 - 0.2, 1.0) * (1 - np.power(np.abs(u), 4))
    else:
        # A folded mask has a ridge down its middle.
        z = z + 11 * np.clip(1 - np.abs(u) * 1.7, 0, 1) * np.sin(np.pi * np.clip(v, 0, 1))
    # Cloth does not follow the face into hollows at its sides.
    vertices = np.stack([x, y, np.maximum(z, -62)], 1).astype(np.float32)
    return replace(part, vertices=vertices, normals=smooth_normals(vertices, part.triangles))


def _loops(figure: Figure, cloth: FigurePart) -> FigurePart:
    """Return elastic loops from the cloth's corners to the ears."""
    skin = figure.skin.vertices
    ears = skin[(skin[:, 1] > -55) & (skin[:, 1] < 15) & (skin[:, 2] > -110) & (skin[:, 2] < -40)]
    wide = float(np.abs(ears[:, 0]).max()) if len(ears) else 74.0
    columns, rows = GRID
    corners = cloth.vertices.reshape(rows, columns, 3)
    loops = []
    for side, column in ((-1, 0), (1, columns - 1)):
        for row, ear_y in ((2, 4.0), (rows - 3, -44.0)):
            start = corners[row, column]
            end = np.array([side * (wide - 3), ear_y, -92.0])
            middle = (start + end) / 2 + np.array([side * 4, 0, 0])
            loops.append(tube(np.stack([start, middle, end]), 1.1, closed=False))
    return joined(loops)
