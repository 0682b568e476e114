"""Thin things worn before a face: glasses, cut-out prints, paper masks, partial disguises."""

from __future__ import annotations

import numpy as np

from synthetic.arrays import Array
from synthetic.instruments.portrait import PICTURES, lift, sheet, stolen_picture
from synthetic.instruments.presented import Presented
from synthetic.instruments.prints import INKS
from synthetic.people.head import Expression, Glasses
from synthetic.people.identity import Identity, identity_of
from synthetic.people.shape import HeadShape, head_surface
from synthetic.surface import Painter, Surface, grid, spread

WEARERS = 1 << 20
"""Numbers of people who wear others' faces: apart from every subject's."""


def wearer_of(rng: np.random.Generator) -> Identity:
    """Somebody else, who presents the attack."""
    return identity_of(int(rng.integers(WEARERS)) + WEARERS)


def eyewear(who: Identity, glasses: Glasses, pitch: float) -> Surface:
    """Glasses for ``who``. Lenses stop ``tint`` of visible light; most tints pass the near infrared."""
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
            # The lens mirrors the illuminator as a small saturated disc.
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


def printed(
    shape: HeadShape, subject: int, presentation: int, pitch: float, rng: np.random.Generator, curl: float, gap: float
) -> Surface:
    """A life-size print of the subject bent about the vertical, ``gap`` mm before the foremost point."""
    picture = stolen_picture(shape.name, subject, presentation % PICTURES, pitch)
    surface, lying = sheet(picture, (88.0, 122.0), float(rng.uniform(0.95, 1.06)), pitch, curl, 0.0)
    INKS[int(rng.integers(len(INKS)))](surface, lying, rng)
    lift(surface, gap)
    return surface


def outline(surface: Surface, half_width: float, top: float, bottom: float) -> tuple[Array, Array, Array]:
    """x, y of a surface's grid, and an egg-shaped cut-out on it."""
    h, w = surface.alpha.shape[:2]
    x = (surface.x0 + np.arange(w, dtype=np.float32) * np.float32(surface.pitch))[None, :]
    y = (surface.y0 + np.arange(h, dtype=np.float32) * np.float32(surface.pitch))[:, None]
    egg = np.square(x / half_width) + np.square(y / np.where(y < 0, -top, bottom))
    cover: Array = np.clip((1 - egg) * 25, 0, 1).astype(np.float32)
    return x, y, cover


def cut(cover: Array, x: Array, y: Array, cx: float, cy: float, rx: float, ry: float) -> None:
    """Cut an elliptic hole."""
    spread_out = np.square((x - cx) / rx) + np.square((y - cy) / ry)
    cover *= 1 - np.clip((1.1 - spread_out) * 8, 0, 1).astype(np.float32)


def print_cutout(
    shape: HeadShape, subject: int, presentation: int, pitch: float, rng: np.random.Generator
) -> Presented:
    """A print cut along the face, held or tied before one: eyes, or eyes and nose, or eyes, nose and mouth cut out."""
    who = shape.features(identity_of(subject))
    face = Expression(smile=float(rng.uniform(0, 0.5)), eyes=float(rng.uniform(0.7, 1.1)))
    head = head_surface(shape, wearer_of(rng), face, pitch, rng)
    holes = int(rng.integers(0, 4))
    # Where the nose comes through, the sheet lies closer.
    gap = float(rng.uniform(4, 10) if holes >= 2 else rng.uniform(20, 32))
    paper = printed(shape, subject, presentation, pitch, rng, float(rng.uniform(0, 0.0025)), gap)
    x, y, cover = outline(paper, float(rng.uniform(66, 80)), -float(rng.uniform(88, 112)), float(rng.uniform(80, 98)))
    if holes >= 1:
        for side in (-1, 1):
            cut(cover, x, y, side * who.eye_x, who.eye_y, who.eye_w + 2, who.eye_h + 3)
    if holes >= 2:
        cut(cover, x, y, 0, who.nose_len - 38, 15, 20)
    if holes >= 3:
        cut(cover, x, y, 0, who.mouth_y, who.mouth_w + 4, 11)
    paper.alpha = cover
    return Presented(head, before=(paper,))


def mask_paper(shape: HeadShape, subject: int, presentation: int, pitch: float, rng: np.random.Generator) -> Presented:
    """A paper mask wrapped round the face, eyes cut out."""
    who = shape.features(identity_of(subject))
    face = Expression(eyes=float(rng.uniform(0.7, 1.1)))
    head = head_surface(shape, wearer_of(rng), face, pitch, rng)
    # A cylinder of 80 to 110 mm, near its front: the drop is x² / 2R.
    curl = 1 / (2 * float(rng.uniform(80, 110)))
    paper = printed(shape, subject, presentation, pitch, rng, curl, float(rng.uniform(18, 24)))
    x, y, cover = outline(paper, 80, -float(rng.uniform(95, 118)), float(rng.uniform(84, 100)))
    if rng.uniform() < 0.8:
        for side in (-1, 1):
            cut(cover, x, y, side * who.eye_x, who.eye_y, who.eye_w + 1, who.eye_h + 2)
    paper.alpha = cover
    return Presented(head, before=(paper,))


def partial(shape: HeadShape, subject: int, presentation: int, pitch: float, rng: np.random.Generator) -> Presented:
    """A living face, a part of it disguised: printed eyes, a printed mouth, half a print, or solid glasses."""
    who = shape.features(identity_of(subject))
    wearer = wearer_of(rng)
    face = Expression(smile=float(rng.uniform(0, 0.7)), eyes=float(rng.uniform(0.7, 1.1)))
    head = head_surface(shape, wearer, face, pitch, rng)
    kind = int(rng.integers(4))
    if kind == 3:
        solid = Glasses(1.0, float(rng.uniform(0.05, 0.5)), float(rng.uniform(2, 5)), disc=False)
        glasses = eyewear(shape.features(wearer), solid, pitch)
        # Plastic lenses of any colour; the infrared sees no eyes behind them.
        paint = rng.uniform(0.05, 0.7, 3)
        nir = float(rng.uniform(0.05, 0.7))
        plain = (glasses.albedo[:, :, 3:] < 0.05).astype(np.float32)
        glasses.albedo += plain * (np.array([*paint, nir], np.float32) - glasses.albedo)
        glasses.alpha = spread(np.ascontiguousarray(glasses.alpha[:, :, 0]), 4)
        return Presented(head, before=(glasses,), attacked=(glasses,))
    paper = printed(
        shape, subject, presentation, pitch, rng, float(rng.uniform(0.001, 0.004)), float(rng.uniform(3, 8))
    )
    x, y, cover = outline(paper, 74, -100.0, 92.0)
    if kind == 0:
        band = np.clip((18 - np.abs(y - who.eye_y + 4)) / 2, 0, 1) * np.clip((62 - np.abs(x)) / 2, 0, 1)
    elif kind == 1:
        band = np.clip((y - 12) / 2, 0, 1) * np.clip((52 - np.abs(x)) / 2, 0, 1) * np.clip((72 - y) / 2, 0, 1)
        lift(paper, 8.0)
    else:
        side = float(rng.choice((-1, 1)))
        band = np.clip((side * x - 8) / 2, 0, 1)
        lift(paper, 6.0)
    paper.alpha = (cover * band).astype(np.float32)
    return Presented(head, before=(paper,), attacked=(paper,))
