"""Appearance of a head: paint by region and band, and an analytic relief.

Axes: x to the image's right, y down, origin between the eye line and the mouth, millimetres.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from synthetic.arrays import Array
from synthetic.people.identity import Identity
from synthetic.physics import skin_bands
from synthetic.surface import Painter, mixed, noise, spread, streaks

DEPTH_MM = 92.0
"""From the rim of the head's outline to its foremost point, without the nose."""
EXTENT = (-96.0, 96.0, -134.0, 108.0)


@dataclass(frozen=True, slots=True)
class Expression:
    """``smile`` and ``open_mouth`` 0 to 1; ``eyes`` 0.3 (narrow) to 1.1; ``gaze`` in mm."""

    smile: float = 0.0
    open_mouth: float = 0.0
    eyes: float = 1.0
    gaze: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Glasses:
    """``tint``: share of visible light that the lenses stop; most tints transmit NIR."""

    tint: float
    dark_frame: float
    thickness: float
    disc: bool


@dataclass(frozen=True, slots=True)
class Hat:
    """``colour``: R, G, B and infrared; cloth dyed black is dark in the visible and bright in the infrared."""

    colour: tuple[float, float, float, float]
    brim: float
    texture_seed: int = 0


@dataclass(frozen=True, slots=True)
class MedicalMask:
    """A medical mask. ``colour``: R, G, B and infrared. ``pleated``: a surgical mask, else a folded respirator.
    ``over_nose``: whether it covers the nose."""

    colour: tuple[float, float, float, float]
    pleated: bool = True
    over_nose: bool = True
    texture_seed: int = 0


def relief(who: Identity, face: Expression, x: Array, y: Array) -> tuple[Array, Array]:
    """Return height in mm and coverage of the head's outline, both [h, w]."""
    below = np.clip(y / who.chin, 0, 1)
    half = who.width * (1 - who.jaw * below**2)
    across, along = np.abs(x) / half, np.where(y < 0, -y / who.crown, y / who.chin)
    reach = np.power(across, 2.3) + np.power(along, 2.4)
    alpha = np.clip((1 - reach) * 14, 0, 1)
    height = (DEPTH_MM * np.power(np.clip(1 - reach, 0, 1), 0.5) - DEPTH_MM).astype(np.float32)
    p = Painter(x, y)
    ex, ey = who.eye_x, who.eye_y
    for side in (-1, 1):
        p.bump(height, side * ex, ey, 13, 9, -who.socket)
        p.bump(height, side * ex, ey, 7.5, 6.5, 4.5)
        p.bump(height, side * 42, 4, 15, 13, who.cheek)
        p.bump(height, side * who.nose_w, who.nose_len - 33, 5, 5.5, 5.5)
        p.bump(height, side * (who.mouth_w + 4 + 3 * face.smile), who.mouth_y - 2, 5, 7, -2.5 - 2 * face.smile)
        p.bump(height, side * 26, who.brow_y + 2, 13, 6, 3.5)
    # The nose: a ridge that rises and widens from the root to the tip.
    tip = who.nose_len - 36
    for step in np.linspace(0, 1, 6):
        p.bump(height, 0, -30 + step * (tip + 30), 5.5 + 2.5 * step, 8, who.nose_h * (0.14 + 0.30 * step))
    p.bump(height, 0, tip, 7, 6, who.nose_h * 0.25)
    p.bump(height, 0, tip + 13, 10, 5, -3)
    p.bump(height, 0, who.mouth_y - who.lip * 0.7, who.mouth_w * 0.6, who.lip * 0.8, 4)
    p.bump(height, 0, who.mouth_y + who.lip, who.mouth_w * 0.5, who.lip, 5)
    p.bump(height, 0, who.mouth_y + who.lip * 2.6, 16, 4, -3.5)
    p.bump(height, 0, who.chin - 16, 17, 11, who.chin_bump)
    return height, alpha.astype(np.float32)


def skin(who: Identity, x: Array, y: Array) -> Array:
    """Return the reflectance of bare skin [h, w, 4]: melanin, blood, and texture that fades in the infrared."""
    rng = np.random.default_rng(who.texture_seed)
    shape = (y.shape[0], x.shape[1])
    base = skin_bands(who.melanin)
    blotch = noise(rng, shape, 7)
    grain = noise(rng, shape, 44)
    fine = np.float32(0.035) * blotch + np.float32(0.02 + 0.03 * who.age) * grain
    # Melanin and blood vary from place to place; both have a quarter of the effect at 850 nm.
    paint = mixed(fine, np.stack([base * np.array([0.8, 1.1, 1.2, 0.3], np.float32), base], 1))
    p = Painter(x, y)
    flush = base * np.array([1.0, 0.80, 0.82, 1.0], np.float32)
    for cx, cy, r in ((-42.0, 8.0, 17.0), (42.0, 8.0, 17.0), (0.0, who.nose_len - 34, 10.0)):
        at, coverage = p.ellipse(cx, cy, r, r * 0.8, r)
        p.paint(paint, at, coverage * np.float32(0.7), flush)
    for _ in range(int(who.freckles * 45)):
        cx, cy = rng.normal(0, 34), rng.normal(0, 22)
        at, coverage = p.ellipse(float(cx), float(cy), 1.2, 1.1, 1.2)
        p.paint(paint, at, coverage * np.float32(0.6), base * np.array([0.65, 0.55, 0.5, 0.93], np.float32))
    return paint


def paint_features(who: Identity, face: Expression, x: Array, y: Array, albedo: Array, strength: float = 1.0) -> None:
    """Paint eye surroundings, brows, lips and nostrils over ``albedo`` [h, w, 4]; ``strength`` scales them all."""
    p = Painter(x, y)
    base = skin_bands(who.melanin)
    # Brows are dense and short, so darker than scalp hair.
    hair = np.array(who.hair, np.float32) * np.array([0.45, 0.45, 0.45, 0.7], np.float32)
    s = np.float32(strength)
    for side in (-1, 1):
        at, c = p.ellipse(side * (who.eye_x - 2), who.eye_y - 1, who.eye_w + 5, 11, 9)
        p.paint(
            albedo, at, c * s * np.float32(0.6 + 0.3 * who.age), base * np.array([0.60, 0.50, 0.50, 0.82], np.float32)
        )
        # The brow: three arched strokes.
        for k, (dx, dy) in enumerate(((-0.62, 1.0), (0.0, -1.2), (0.62, 0.2))):
            at, c = p.ellipse(
                side * (who.eye_x + 1) + side * dx * who.brow_w,
                who.brow_y + dy,
                who.brow_w * 0.52,
                who.brow_t * (0.75 if k == 2 else 1),
                2.2,
            )
            p.paint(albedo, at, c * s * np.float32(0.85), hair)
        at, c = p.ellipse(side * (who.nose_w * 0.55), who.nose_len - 28.5, 4.2, 2.6, 2)
        p.paint(albedo, at, c * s * np.float32(0.85), base * np.array([0.22, 0.16, 0.15, 0.4], np.float32))
    red = who.lip_red
    lips = base * np.array([0.92 - 0.1 * red, 0.72 - 0.25 * red, 0.75 - 0.22 * red, 0.96], np.float32)
    wide = who.mouth_w * (1 + 0.18 * face.smile)
    gap = 1.0 + 9 * face.open_mouth
    for dy, ry in ((-who.lip * 0.55 - gap / 2, who.lip * 0.75), (who.lip * 0.6 + gap / 2, who.lip)):
        at, c = p.ellipse(0, who.mouth_y + dy, wide, ry + 0.5, 2)
        p.paint(albedo, at, c * s * np.float32(0.9), lips)
    at, c = p.ellipse(0, who.mouth_y, wide * 0.93, max(gap / 2, 0.9), 1.2)
    p.paint(albedo, at, c * s, base * np.array([0.25, 0.14, 0.14, 0.45], np.float32))
    if face.open_mouth > 0.25 or face.smile > 0.7:
        at, c = p.ellipse(0, who.mouth_y - gap * 0.2, wide * 0.6, max(gap * 0.25, 1), 1)
        p.paint(albedo, at, c * s, (0.7, 0.68, 0.6, 0.6))


def eyeball(who: Identity, dx: Array, dy: Array) -> Array:
    """Return the reflectance of an eye [h, w, 4] at distances from its centre, mm."""
    distance = np.sqrt(np.square(dx) + np.square(dy))
    eye = np.empty((*distance.shape, 4), np.float32)
    eye[:] = (0.30, 0.28, 0.26, 0.38)
    iris = np.clip((6.4 - distance) / 0.9 + 0.5, 0, 1)[:, :, None]
    eye += iris * (np.array([*who.iris, 0.30], np.float32) - eye)
    pupil = np.clip((2.5 - distance) / 0.8 + 0.5, 0, 1)[:, :, None]
    eye += pupil * (np.array([0.015, 0.015, 0.015, 0.05], np.float32) - eye)
    return eye


def paint_eyes(who: Identity, face: Expression, x: Array, y: Array, albedo: Array) -> None:
    """Paint open eyes over ``albedo``. In the infrared the white is darker and the iris brighter than in the
    visible."""
    p = Painter(x, y)
    gx, gy = face.gaze
    opening = who.eye_h * face.eyes
    for side in (-1, 1):
        cx, cy = side * who.eye_x, who.eye_y
        at, lid = p.ellipse(cx, cy, who.eye_w, opening, 1.6)
        dx, dy = p.local(at, cx + gx, cy + gy)
        eye = eyeball(who, dx, dy)
        p.paint(albedo, at, lid, eye)
        # Lashes and the shadow of the upper lid.
        at, c = p.ellipse(cx, cy - opening * 0.9, who.eye_w * 1.02, 1.7, 1.4)
        p.paint(albedo, at, c * np.float32(0.85), (0.05, 0.04, 0.035, 0.2))
        # The cornea reflects a lamp beside the lens: small, and brighter than anything white.
        at, c = p.ellipse(cx + gx * 0.7, cy + gy * 0.7 - 0.6, 1.0, 1.0, 0.8)
        p.paint(albedo, at, c, (0.75, 0.75, 0.75, 3.0))


def strands_of(who: Identity, shape: tuple[int, int], rng: np.random.Generator) -> Array:
    """Return the reflectance of a mat of hair [h, w, 4]."""
    hair = np.array(who.hair, np.float32)
    return mixed(streaks(rng, shape, 70), np.stack([hair * np.float32(0.22), hair], 1))


def paint_beard(who: Identity, x: Array, y: Array, albedo: Array, strands: Array, rng: np.random.Generator) -> None:
    """Paint a beard over ``albedo`` [h, w, 4] if the person has one."""
    if not who.beard:
        return
    shape = (y.shape[0], x.shape[1])
    cheeks = np.clip((np.abs(x) - 34) / 10, 0, 1) * np.clip((y - 2) / 14, 0, 1)
    lower = np.clip((y - (who.mouth_y - 17)) / 7, 0, 1) * (1 - np.clip((np.abs(x) - 60) / 20, 0, 1))
    mouth = np.square(x / (who.mouth_w + 2)) + np.square((y - who.mouth_y) / (who.lip * 1.7 + 2))
    cover = np.maximum(cheeks, lower) * np.clip(mouth - 0.9, 0, 1) * who.beard
    cover *= np.clip(0.75 + 0.3 * noise(rng, shape, 50), 0, 1)
    albedo += spread(cover.astype(np.float32), 4) * (strands - albedo)


def paint_hair(who: Identity, x: Array, y: Array, albedo: Array, rng: np.random.Generator) -> Array:
    """Paint scalp hair and beard over ``albedo``; return the hair's density [h, w]."""
    shape = (y.shape[0], x.shape[1])
    strands = strands_of(who, shape, rng)
    scalp = np.zeros(shape, np.float32)
    if not who.bald:
        wave = 3 * noise(rng, (1, shape[1]), 1)[0] if shape[0] else 0
        line = who.hairline + 0.0065 * np.square(x) + wave
        top = np.clip((line - y) / 5 + 0.5, 0, 1)
        sides = np.clip((np.abs(x) - who.width * who.hair_side) / 4 + 0.5, 0, 1) * np.clip((-12 - y) / 12 + 0.5, 0, 1)
        scalp = np.maximum(top, sides).astype(np.float32)
        albedo += spread(scalp, 4) * (strands - albedo)
    paint_beard(who, x, y, albedo, strands, rng)
    return scalp


def paint_hat(who: Identity, hat: Hat, x: Array, y: Array, albedo: Array) -> Array:
    """Paint a cap over ``albedo``; return its cover [h, w]."""
    # A separate generator: putting on a hat must change nothing else.
    rng = np.random.default_rng(hat.texture_seed)
    knit = spread(1 + 0.12 * noise(rng, (y.shape[0], x.shape[1]), 30), 4)
    line = who.hairline + 6 + hat.brim + 0.002 * np.square(x)
    cover: Array = np.clip((line - y) / 3 + 0.5, 0, 1).astype(np.float32)
    albedo += spread(cover, 4) * (np.array(hat.colour, np.float32) * knit - albedo)
    return cover


def paint_medical_mask(who: Identity, mask: MedicalMask, x: Array, y: Array, albedo: Array) -> Array:
    """Paint a medical mask over ``albedo``; return its cover [h, w]."""
    # A separate generator: putting on a mask must change nothing else.
    rng = np.random.default_rng(mask.texture_seed)
    fibres = 1 + 0.03 * noise(rng, (y.shape[0], x.shape[1]), 90)
    top = who.eye_y + 18 if mask.over_nose else who.nose_len - 24
    bottom, half = who.chin + 4, 0.84 * who.width
    upper, lower = top + 0.005 * np.square(x), bottom - 0.004 * np.square(x)
    if mask.pleated:
        for at in (0.3, 0.5, 0.7):
            fold = top + at * (bottom - top) + 0.002 * np.square(x)
            fibres = fibres * (1 - 0.3 * np.exp(-np.square((y - fold) / 0.9)))
    cover = np.clip((y - upper) / 2 + 0.5, 0, 1) * np.clip((lower - y) / 2 + 0.5, 0, 1)
    cover = cover * np.clip((half - np.abs(x)) / 2 + 0.5, 0, 1)
    # Ear loops run from its corners backwards.
    loop = np.clip(1.4 - np.abs(y - upper - 5 + 0.2 * (np.abs(x) - half)), 0, 1) * (np.abs(x) > half - 1)
    for where, colour in ((loop, (0.7, 0.7, 0.7, 0.7)), (cover, mask.colour)):
        shade = spread(fibres.astype(np.float32), 4) * np.array(colour, np.float32)
        albedo += spread(where.astype(np.float32), 4) * (shade - albedo)
    return np.asarray(cover, np.float32)
