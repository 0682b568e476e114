"""Masks with a face's relief: rigid resin and silicone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from synthetic.arrays import Array
from synthetic.instruments.presented import Presented
from synthetic.instruments.worn import wearer_of
from synthetic.people.attributes import Attributes
from synthetic.people.eyewear import eyewear_of
from synthetic.people.head import Expression, paint_beard, paint_hair, skin, strands_of
from synthetic.people.identity import Identity, identity_of
from synthetic.people.shape import HeadShape, head_surface, put_hat_on, put_medical_mask_on
from synthetic.physics import mask_nir, skin_bands
from synthetic.surface import Surface, grid, spread


@dataclass(frozen=True, slots=True)
class Coat:
    """Paint on a mask's matter. ``nir``: infrared reflectance of the matter; ``ghost``: share of the paint visible
    there; ``strength``: contrast of the painted features."""

    nir: float
    ghost: float
    strength: float


def painted_matter(
    shape: HeadShape, who: Identity, face: Expression, x: Array, y: Array, coat: Coat, rng: np.random.Generator
) -> Array:
    """Return ``who`` painted on matter other than skin [h, w, 4]: right in the visible; IR shows mostly the matter."""
    true, base = skin(who, x, y), skin_bands(who.melanin)
    even = np.float32(rng.uniform(0.3, 0.9))
    painted = true + (base - true) * even
    painted *= rng.uniform(0.85, 1.15, 4).astype(np.float32)
    shape.paint_face(who, face, x, y, painted, coat.strength)
    relative = painted[:, :, 3] / base[3]
    painted[:, :, 3] = np.float32(coat.nir) * (1 + np.float32(coat.ghost) * (relative - 1))
    return painted


def eye_holes(who: Identity, x: Array, y: Array, cover: Array, margin: float) -> None:
    """Cut holes for the wearer's eyes."""
    for side in (-1, 1):
        hole = np.square((x - side * who.eye_x) / (who.eye_w + margin)) + np.square(
            (y - who.eye_y) / (who.eye_h + 0.5 + margin)
        )
        cover *= 1 - np.clip((1.15 - hole) * 6, 0, 1).astype(np.float32)


def put_on(
    shape: HeadShape, surface: Surface, who: Identity, face: Expression, painted: Array, cover: Array, round_off: float
) -> None:
    """Put the mask of ``who`` on a wearer's ``surface`` where ``cover`` is set."""
    x, y = grid(*shape.extent, surface.pitch)
    relief, _ = shape.relief(who, face, x, y)
    # Casting and printing smooth fine relief.
    relief = shape.smoothed(relief, round_off, surface.pitch)
    surface.albedo += spread(cover, 4) * (painted - surface.albedo)
    surface.relief = shape.worn(surface.relief, relief, cover, 3.0, surface.pitch)


def mask_rigid(
    shape: HeadShape, subject: int, presentation: int, worn: Attributes, pitch: float, rng: np.random.Generator
) -> Presented:
    """A painted resin mask of the subject, printed or cast, worn by another person: right relief, wrong matter."""
    subject_face = identity_of(subject)
    who = shape.features(subject_face)
    wearer = wearer_of(rng)
    face = worn.face
    surface = head_surface(shape, wearer, face, pitch, rng)
    x, y = grid(*shape.extent, pitch)
    coat = Coat(mask_nir(rng, skin_like=False), float(rng.uniform(0.1, 0.5)), float(rng.uniform(0.55, 1.0)))
    painted = painted_matter(shape, who, face, x, y, coat, rng)
    # A printed beard, in the mask's own matter.
    true = painted[:, :, 3].copy()
    paint_beard(who, x, y, painted, strands_of(who, (y.shape[0], x.shape[1]), rng), rng)
    painted[:, :, 3] = true + np.float32(rng.uniform(0, 0.5)) * (painted[:, :, 3] - true)
    edge = np.square(x / (who.width * 0.93)) + np.square((y - 4) / np.where(y < 4, 84, who.chin - 2))
    cover = np.clip((1 - edge) * 18, 0, 1).astype(np.float32)
    if rng.uniform() < 0.7:
        eye_holes(who, x, y, cover, 1.0)
        if shape.name == "analytic":
            # The wearer's eyes look through the subject's holes, wherever the wearer's own would be.
            shape.paint_eyes(who, face, x, y, surface.albedo)
    else:
        shape.paint_eyes(who, face, x, y, painted)
        painted[:, :, 3] = np.minimum(painted[:, :, 3], np.float32(coat.nir))
        cover = np.maximum(cover, shape.eyes_cover(x, y))
    cast = Expression(smile=face.smile, open_mouth=face.open_mouth)
    put_on(shape, surface, subject_face, cast, painted, cover, float(rng.uniform(1.5, 4)))
    surface.gloss = (float(rng.uniform(0.02, 0.16)),) * 2
    surface.shine = float(rng.uniform(8, 40))
    surface.diffusion = (0.2, 0.3)
    put_hat_on(shape, surface, shape.features(wearer), worn.hat)
    put_medical_mask_on(shape, surface, who, worn.medical_mask)
    return Presented(surface, before=eyewear_of(who, worn.glasses, pitch))


def mask_silicone(
    shape: HeadShape, subject: int, presentation: int, worn: Attributes, pitch: float, rng: np.random.Generator
) -> Presented:
    """A silicone mask of the whole head, with hair: soft, translucent, and in the infrared close to skin."""
    subject_face = identity_of(subject)
    who = shape.features(subject_face)
    wearer = wearer_of(rng)
    face = worn.face
    surface = head_surface(shape, wearer, face, pitch, rng)
    x, y = grid(*shape.extent, pitch)
    coat = Coat(mask_nir(rng, skin_like=True), float(rng.uniform(0.2, 0.6)), float(rng.uniform(0.6, 0.95)))
    painted = painted_matter(shape, who, face, x, y, coat, rng)
    cover = np.ones((y.shape[0], x.shape[1]), np.float32) - shape.eyes_cover(x, y)
    paint_hair(who, x, y, painted, rng)
    # A dark ring at the lids, where mask and eye do not meet.
    ring = cover.copy()
    eye_holes(who, x, y, ring, 2.5)
    painted *= spread(np.float32(0.55) + np.float32(0.45) * ring, 4)
    eye_holes(who, x, y, cover, 0.3)
    if shape.name == "analytic":
        shape.paint_eyes(who, face, x, y, surface.albedo)
    cast = Expression(smile=face.smile, open_mouth=face.open_mouth)
    put_on(shape, surface, subject_face, cast, painted, cover, float(rng.uniform(1.0, 2.5)))
    surface.gloss = (float(rng.uniform(0.03, 0.10)),) * 2
    surface.shine = float(rng.uniform(8, 25))
    surface.diffusion = (float(rng.uniform(0.3, 0.9)), float(rng.uniform(0.5, 1.8)))
    put_hat_on(shape, surface, who, worn.hat)
    put_medical_mask_on(shape, surface, who, worn.medical_mask)
    return Presented(surface, before=eyewear_of(who, worn.glasses, pitch))
