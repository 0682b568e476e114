"""Screens that play the subject."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from synthetic.arrays import float32
from synthetic.instruments.portrait import PICTURES, sheet, stolen_picture
from synthetic.instruments.presented import Presented
from synthetic.people.attributes import Attributes
from synthetic.people.shape import HeadShape
from synthetic.physics import screen_nir
from synthetic.surface import grid, mixed, power, spread


def replay_screen(
    shape: HeadShape, subject: int, presentation: int, worn: Attributes, pitch: float, rng: np.random.Generator
) -> Presented:
    """A phone, tablet or monitor that plays the subject: it emits visible light and is dark in infrared."""
    phone = rng.uniform() < 0.4
    scale = float(rng.uniform(0.45, 0.62) if phone else rng.uniform(0.8, 1.15))
    half = (36.0, 76.0) if phone else (float(rng.uniform(85, 170)), float(rng.uniform(115, 170)))
    variant = presentation % PICTURES
    # Only two picture sizes, or the cache would never hit. No glasses are put on a screen: they are in the picture.
    shown_worn = replace(worn, glasses_on_picture=False)
    picture = stolen_picture(shape.name, subject, variant, pitch * (2 if phone else 1), shown_worn)
    surface, lying = sheet(picture, half, scale, pitch, 0.0, 0.0)
    x, y = grid(-half[0], half[0], -half[1], half[1], pitch)
    bezel = float(rng.uniform(2, 9))
    inside = (np.abs(x) < half[0] - bezel) & (np.abs(y) < half[1] - bezel * float(rng.uniform(1, 2)))
    shown = power(lying[:, :, :3], float(rng.uniform(0.85, 1.25)))
    # Moiré between panel and camera pixels: slow waves of brightness and tint.
    angle, wave = rng.uniform(0, np.pi), rng.uniform(4, 25)
    phase = (x * np.cos(angle) + y * np.sin(angle)) * np.float32(2 * np.pi / wave)
    # sin(phase + k) by the addition theorem: two maps serve three colours.
    shift = np.array([0.0, 0.7, 1.4])
    depth = float(rng.uniform(0, 0.06))
    waves = float32(cv2.merge([np.sin(phase), np.cos(phase)]))
    tint = rng.uniform(0.85, 1.1, 3) * float(rng.uniform(0.5, 1.6))
    weights = np.stack([depth * np.cos(shift) * tint, depth * np.sin(shift) * tint, tint], 1).astype(np.float32)
    surface.emission = shown * mixed(waves, weights) * spread(inside.astype(np.float32), 3)
    reflectance = screen_nir(rng)
    surface.albedo[:] = np.array([0.03, 0.03, 0.035, reflectance], np.float32)
    if rng.uniform() < 0.3:
        # Light-coloured bodies are bright round the dark panel.
        frame = np.array([0.6, 0.6, 0.6, 0.55], np.float32)
        surface.albedo[~inside] = frame
    surface.gloss = (float(rng.uniform(0.01, 0.08)), float(rng.uniform(0.05, 0.6)))
    surface.shine = float(rng.uniform(60, 300))
    return Presented(surface, scale)
