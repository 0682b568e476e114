"""Eyeballs as meshes."""

from __future__ import annotations

import numpy as np

from synthetic.pathtraced.things import facing
from synthetic.people.makehuman.figure import Eye, FigurePart


def ball_part(eye: Eye) -> FigurePart:
    """Return the front half of an eyeball turned in the eye's gaze direction; the cornea bulges."""
    polar, around = np.meshgrid(np.linspace(0, np.pi * 0.52, 15), np.linspace(0, 2 * np.pi, 33), indexing="ij")
    x, y, z = np.sin(polar) * np.cos(around), np.sin(polar) * np.sin(around), np.cos(polar)
    bulge = 1 + 0.055 * np.clip(1 - np.square(np.sin(polar) / 0.5), 0, 1) * (polar < 0.6)
    points = np.stack([x, y, z], 2).reshape(-1, 3)
    uv = np.stack([0.5 + 0.5 * x, 0.5 + 0.5 * y], 2).reshape(-1, 2)
    i, j = np.meshgrid(np.arange(14), np.arange(32), indexing="ij")
    a, b, c, d = i * 33 + j, (i + 1) * 33 + j, (i + 1) * 33 + j + 1, i * 33 + j + 1
    triangles = np.concatenate([np.stack([v.ravel() for v in t], 1) for t in ((a, b, c), (a, c, d))])
    turn = facing(eye.gaze)
    vertices = (points * bulge.reshape(-1, 1) * eye.radius) @ turn.T + eye.centre
    return FigurePart(
        vertices.astype(np.float32), (points @ turn.T).astype(np.float32), uv.astype(np.float32), triangles
    )
