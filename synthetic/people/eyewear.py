"""Glasses on a face, and long hair behind it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from synthetic.arrays import Array
from synthetic.mesh import Mesh
from synthetic.people.head import Glasses
from synthetic.people.identity import Identity
from synthetic.surface import Painter, Surface, grid


def eyewear(who: Identity, glasses: Glasses, pitch: float) -> Surface:
    """Return glasses for ``who``. Lenses stop ``tint`` of visible light; most tints transmit NIR."""
    x, y = grid(-78, 78, -64, 10, pitch)
    p = Painter(x, y)
    shape = (y.shape[0], x.shape[1])
    albedo = np.zeros((*shape, 4), np.float32)
    albedo[:] = (0.02, 0.02, 0.02, 0.04)
    alpha = np.zeros((*shape, 4), np.float32)
    dark = glasses.dark_frame
    frame = (dark, dark * 0.9, dark * 0.85, dark + 0.12)
    lens_alpha = (glasses.tint, glasses.tint, glasses.tint, 0.25 * glasses.tint)
    for side in (-1, 1):
        cx, cy = side * (who.eye_x + 0.5), who.eye_y + 3
        at, lens = p.ellipse(cx, cy, 24, 18, 1.2)
        p.paint(alpha, at, lens, lens_alpha)
        at, outer = p.ellipse(cx, cy, 24 + glasses.thickness, 18 + glasses.thickness, 1.2)
        dx, dy = p.local(at, cx, cy)
        inner = np.clip((1 - np.sqrt(np.square(dx / 24) + np.square(dy / 18))) * 15 + 0.5, 0, 1)
        rim = np.clip(outer - inner, 0, 1)
        p.paint(albedo, at, rim, frame)
        p.paint(alpha, at, rim, (1.0, 1.0, 1.0, 1.0))
        if glasses.disc:
            # The lens reflects the illuminator as a small saturated disc.
            at, c = p.ellipse(cx + 3, cy - 4, 2.4, 2.4, 1.5)
            p.paint(albedo, at, c, (0.5, 0.5, 0.5, 3.0))
            p.paint(alpha, at, c, (0.6, 0.6, 0.6, 1.0))
        at, c = p.ellipse(side * 66, cy - 6, 12, 1 + glasses.thickness * 0.6, 1.2)
        p.paint(albedo, at, c, frame)
        p.paint(alpha, at, c, (1.0, 1.0, 1.0, 1.0))
    at, c = p.ellipse(0, who.eye_y, 9, 1 + glasses.thickness * 0.7, 1.2)
    p.paint(albedo, at, c, frame)
    p.paint(alpha, at, c, (1.0, 1.0, 1.0, 1.0))
    height = (2.0 - 0.0045 * np.square(x) + 0 * y).astype(np.float32)
    return Surface(-78, -64, pitch, height, albedo, alpha, gloss=(0.02, 0.02), shine=60)


def eyewear_of(who: Identity, glasses: Glasses | None, pitch: float) -> tuple[Surface, ...]:
    """Return the surfaces of glasses for ``who``: one, or none."""
    return () if glasses is None else (eyewear(who, glasses, pitch),)


def eyewear_at(
    who: Identity, glasses: Glasses, pitch: float, eyes: tuple[float, float], scale: float, gap: float
) -> Surface:
    """Return glasses centred at ``eyes``, mm, ``gap`` mm in front of a picture of ``scale``."""
    lying = eyewear(who, glasses, pitch)
    assert not isinstance(lying.relief, Mesh)
    return replace(
        lying,
        x0=(lying.x0 + eyes[0]) * scale,
        y0=(lying.y0 + eyes[1] - who.eye_y) * scale,
        pitch=lying.pitch * scale,
        relief=lying.relief * np.float32(scale) + np.float32(gap),
    )


def long_hair(who: Identity, x: Array, y: Array) -> Array:
    """Return the mask of long hair around a head [h, w], 0 to 1, at ``x`` [1, w] and ``y`` [h, 1] mm."""
    cover = np.clip((1 - np.square(x / (who.width + 18)) - np.square((y - 5) / 128)) * 10, 0, 1)
    return np.asarray(cover, np.float32)
