"""Thin instruments worn in front of a face: cut-out prints, paper masks, partial disguises."""

from __future__ import annotations

import numpy as np

from synthetic.arrays import Array
from synthetic.instruments.portrait import PICTURES, lift, sheet, stolen_picture
from synthetic.instruments.presented import Presented
from synthetic.instruments.prints import INKS
from synthetic.people.attributes import Attributes
from synthetic.people.eyewear import eyewear, eyewear_of
from synthetic.people.head import Glasses
from synthetic.people.identity import Identity, identity_of
from synthetic.people.shape import HeadShape, head_surface, put_medical_mask_on
from synthetic.surface import Surface, spread

WEARERS = 1 << 20
"""Identity numbers of attackers, disjoint from the subjects'."""


def wearer_of(rng: np.random.Generator) -> Identity:
    """Return the attacker: a person other than the subject."""
    return identity_of(int(rng.integers(WEARERS)) + WEARERS)


def printed(
    shape: HeadShape,
    subject: int,
    presentation: int,
    worn: Attributes,
    pitch: float,
    rng: np.random.Generator,
    *,
    curl: float,
    gap: float,
) -> Surface:
    """Return a life-size print of the subject bent about the vertical, ``gap`` mm in front of the foremost point."""
    picture = stolen_picture(shape.name, subject, presentation % PICTURES, pitch, worn)
    surface, lying = sheet(picture, (88.0, 122.0), float(rng.uniform(0.95, 1.06)), pitch, curl, 0.0)
    INKS[int(rng.integers(len(INKS)))](surface, lying, rng)
    lift(surface, gap)
    return surface


def outline(surface: Surface, half_width: float, top: float, bottom: float) -> tuple[Array, Array, Array]:
    """Return x and y of a surface's grid, and an egg-shaped cut-out on it."""
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


def real_glasses(who: Identity, worn: Attributes, pitch: float) -> tuple[Surface, ...]:
    """Return glasses worn over the instrument; none if its picture already shows them."""
    return eyewear_of(who, worn.glasses, pitch) if worn.glasses_on_picture else ()


def print_cutout(
    shape: HeadShape, subject: int, presentation: int, worn: Attributes, pitch: float, rng: np.random.Generator
) -> Presented:
    """A print cut along the face, held or tied in front of the wearer's: eyes, or eyes and nose, or eyes, nose and
    mouth cut out."""
    who = shape.features(identity_of(subject))
    head = head_surface(shape, wearer_of(rng), worn.face, pitch, rng)
    holes = int(rng.integers(0, 4))
    # With the nose cut out, the sheet lies closer.
    gap = float(rng.uniform(4, 10) if holes >= 2 else rng.uniform(20, 32))
    curl = float(rng.uniform(0, 0.0025))
    paper = printed(shape, subject, presentation, worn, pitch, rng, curl=curl, gap=gap)
    x, y, cover = outline(paper, float(rng.uniform(66, 80)), -float(rng.uniform(88, 112)), float(rng.uniform(80, 98)))
    if holes >= 1:
        for side in (-1, 1):
            cut(cover, x, y, side * who.eye_x, who.eye_y, who.eye_w + 2, who.eye_h + 3)
    if holes >= 2:
        cut(cover, x, y, 0, who.nose_len - 38, 15, 20)
    if holes >= 3:
        cut(cover, x, y, 0, who.mouth_y, who.mouth_w + 4, 11)
    paper.alpha = cover
    return Presented(head, before=(paper, *real_glasses(who, worn, pitch)))


def mask_paper(
    shape: HeadShape, subject: int, presentation: int, worn: Attributes, pitch: float, rng: np.random.Generator
) -> Presented:
    """A paper mask wrapped round the face, eyes cut out."""
    who = shape.features(identity_of(subject))
    head = head_surface(shape, wearer_of(rng), worn.face, pitch, rng)
    # Near the front of a cylinder of 80 to 110 mm the drop is x² / 2R.
    curl = 1 / (2 * float(rng.uniform(80, 110)))
    gap = float(rng.uniform(18, 24))
    paper = printed(shape, subject, presentation, worn, pitch, rng, curl=curl, gap=gap)
    x, y, cover = outline(paper, 80, -float(rng.uniform(95, 118)), float(rng.uniform(84, 100)))
    if rng.uniform() < 0.8:
        for side in (-1, 1):
            cut(cover, x, y, side * who.eye_x, who.eye_y, who.eye_w + 1, who.eye_h + 2)
    paper.alpha = cover
    return Presented(head, before=(paper, *real_glasses(who, worn, pitch)))


def partial(
    shape: HeadShape, subject: int, presentation: int, worn: Attributes, pitch: float, rng: np.random.Generator
) -> Presented:
    """A living face, partly disguised: printed eyes, a printed mouth, half a print, or solid glasses."""
    who = shape.features(identity_of(subject))
    wearer = wearer_of(rng)
    head = head_surface(shape, wearer, worn.face, pitch, rng, worn.hat)
    kind = int(rng.integers(4))
    # A printed mouth shows the mask of its picture; a real mask would hide the print.
    if kind in (0, 3):
        put_medical_mask_on(shape, head, shape.features(wearer), worn.medical_mask)
    if kind == 3:
        solid = Glasses(1.0, float(rng.uniform(0.05, 0.5)), float(rng.uniform(2, 5)), disc=False)
        glasses = eyewear(shape.features(wearer), solid, pitch)
        # Plastic lenses of any colour; IR does not see the eyes behind them.
        paint = rng.uniform(0.05, 0.7, 3)
        nir = float(rng.uniform(0.05, 0.7))
        plain = (glasses.albedo[:, :, 3:] < 0.05).astype(np.float32)
        glasses.albedo += plain * (np.array([*paint, nir], np.float32) - glasses.albedo)
        glasses.alpha = spread(np.ascontiguousarray(glasses.alpha[:, :, 0]), 4)
        return Presented(head, before=(glasses,), attacked=(glasses,))
    curl, gap = float(rng.uniform(0.001, 0.004)), float(rng.uniform(3, 8))
    paper = printed(shape, subject, presentation, worn, pitch, rng, curl=curl, gap=gap)
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
    # The picture's glasses are cut away with most of it, so the wearer has real ones.
    glasses_worn = eyewear_of(shape.features(wearer), worn.glasses, pitch)
    return Presented(head, before=(paper, *glasses_worn), attacked=(paper,))
