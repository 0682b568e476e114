"""Flat or bent prints held before the cameras."""

from __future__ import annotations

import numpy as np

from synthetic.arrays import Array
from synthetic.instruments.portrait import PICTURES, eyes_in_picture, lift, sheet, stolen_picture
from synthetic.instruments.presented import Presented
from synthetic.people.attributes import Attributes
from synthetic.people.eyewear import eyewear_at
from synthetic.people.identity import identity_of
from synthetic.people.shape import HeadShape
from synthetic.physics import dye_print_nir, toner_print_nir, vinyl_print_nir
from synthetic.surface import Surface, grey, mixed, noise, power, spread


def paper(
    shape: HeadShape, subject: int, presentation: int, worn: Attributes, pitch: float, rng: np.random.Generator
) -> tuple[Surface, Array, float]:
    """Return a sheet of paper of a common size with a stolen picture, that picture on it, and its scale."""
    big = rng.uniform() < 0.4
    scale = float(rng.uniform(0.8, 1.15))
    half = (float(rng.uniform(130, 200)), float(rng.uniform(160, 220))) if big else (105.0, 148.5)
    curl = float(rng.uniform(0, 0.0012)) * (rng.uniform() < 0.6)
    axis = float(rng.choice((0.0, np.pi / 2)) + rng.normal(0, 0.15))
    picture = stolen_picture(shape.name, subject, presentation % PICTURES, pitch, worn)
    surface, lying = sheet(picture, half, scale, pitch, curl, axis)
    return surface, lying, scale


def dye_ink(surface: Surface, lying: Array, rng: np.random.Generator) -> None:
    """Print ``lying`` with an inkjet's dye inks on matte paper."""
    white = float(rng.uniform(0.72, 0.88))
    # Dyes reach neither deep black nor full saturation, and the printer driver lifts the mid-tones.
    tone = power(lying[:, :, :3], float(rng.uniform(0.8, 1.1)))
    saturation = float(rng.uniform(0.7, 1.0))
    ink = mixed(tone, (np.full((3, 3), (1 - saturation) / 3) + saturation * np.eye(3)).astype(np.float32))
    surface.albedo[:, :, :3] = white * (0.05 + 0.95 * ink)
    surface.albedo[:, :, 3] = dye_print_nir(ink, white, float(rng.uniform(0, 0.1)), float(rng.uniform(0.3, 0.9)))
    surface.albedo *= spread(1 + 0.012 * noise(rng, surface.alpha.shape, 60), 4)
    surface.gloss = (0.004, 0.004)


def toner(surface: Surface, lying: Array, rng: np.random.Generator) -> None:
    """Print ``lying`` with toner, which holds carbon. Sometimes an infrared picture is printed, which looks right in IR
    and grey in RGB."""
    white = float(rng.uniform(0.72, 0.88))
    contrast = float(rng.uniform(0.6, 1.0))
    kind = rng.uniform()
    if kind < 0.35:
        tone = spread(np.clip(lying[:, :, 3] * np.float32(rng.uniform(1.0, 1.6)), 0, 1), 3)
    elif kind < 0.6:
        tone = spread(grey(lying[:, :, :3]), 3)
    else:
        tone = lying[:, :, :3]
    tone = power(tone, float(rng.uniform(0.75, 1.1)))
    surface.albedo[:, :, :3] = white * (0.03 + 0.97 * tone)
    surface.albedo[:, :, 3] = toner_print_nir(grey(tone), white, contrast)
    surface.albedo *= spread(1 + 0.02 * noise(rng, surface.alpha.shape, 80), 4)
    surface.gloss = (float(rng.uniform(0.005, 0.06)),) * 2
    surface.shine = float(rng.uniform(10, 40))


def pigment_ink(surface: Surface, lying: Array, rng: np.random.Generator) -> None:
    """Print ``lying`` with pigments on glossy vinyl: in infrared the face has a living face's contrast."""
    white = float(rng.uniform(0.75, 0.9))
    tone = power(lying[:, :, :3], float(rng.uniform(0.8, 1.1)))
    surface.albedo[:, :, :3] = white * (0.04 + 0.96 * tone)
    nir = vinyl_print_nir(
        np.clip(lying[:, :, 3] * np.float32(rng.uniform(1.0, 1.6)), 0, 1),
        grey(tone),
        white,
        float(rng.uniform(0.8, 0.95)),
        float(rng.uniform(0, 1)),
    )
    surface.albedo[:, :, 3] = nir
    surface.gloss = (float(rng.uniform(0.05, 0.25)), float(rng.uniform(0.05, 0.25)))
    surface.shine = float(rng.uniform(30, 150))


INKS = (dye_ink, toner, pigment_ink)


def glasses_before(
    shape: HeadShape, subject: int, presentation: int, worn: Attributes, pitch: float, scale: float
) -> tuple[Surface, ...]:
    """Return real glasses before the pictured eyes; none if the picture already shows them."""
    if worn.glasses is None or not worn.glasses_on_picture:
        return ()
    who = identity_of(subject)
    eyes = eyes_in_picture(who, presentation % PICTURES)
    return (eyewear_at(shape.features(who), worn.glasses, pitch, eyes, scale, 2.0),)


def print_matte(
    shape: HeadShape, subject: int, presentation: int, worn: Attributes, pitch: float, rng: np.random.Generator
) -> Presented:
    """An inkjet print with dye inks on matte paper."""
    surface, lying, scale = paper(shape, subject, presentation, worn, pitch, rng)
    dye_ink(surface, lying, rng)
    return Presented(surface, scale, before=glasses_before(shape, subject, presentation, worn, pitch, scale))


def print_toner(
    shape: HeadShape, subject: int, presentation: int, worn: Attributes, pitch: float, rng: np.random.Generator
) -> Presented:
    """A laser print; its toner is visible in IR."""
    surface, lying, scale = paper(shape, subject, presentation, worn, pitch, rng)
    toner(surface, lying, rng)
    return Presented(surface, scale, before=glasses_before(shape, subject, presentation, worn, pitch, scale))


def print_vinyl(
    shape: HeadShape, subject: int, presentation: int, worn: Attributes, pitch: float, rng: np.random.Generator
) -> Presented:
    """A life-size banner of glossy vinyl, hung or slightly bent."""
    scale = float(rng.uniform(0.92, 1.1))
    half = (float(rng.uniform(130, 220)), float(rng.uniform(160, 220)))
    picture = stolen_picture(shape.name, subject, presentation % PICTURES, pitch, worn)
    curl = float(rng.uniform(0, 0.0015)) * (rng.uniform() < 0.7)
    surface, lying = sheet(picture, half, scale, pitch, curl, float(rng.choice((0.0, np.pi / 2))))
    # Vinyl hangs in waves of a few millimetres, visible in its gloss.
    lift(surface, np.float32(rng.uniform(0, 1.5)) * noise(rng, surface.alpha.shape, 5))
    pigment_ink(surface, lying, rng)
    return Presented(surface, scale, before=glasses_before(shape, subject, presentation, worn, pitch, scale))
