"""Identity of a subject: everything that stays the same from one presentation to the next."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

FITZPATRICK_MELANIN = (0.03, 0.06, 0.10, 0.17, 0.26, 0.40)
"""Melanosome volume fractions of six skin tones, light to dark (Jacques 1998 gives 1.3 to 43 %)."""


@dataclass(frozen=True, slots=True)
class Identity:
    """``number``: the subject. Lengths in mm, melanin as a volume fraction, ``hair`` as reflectance in R, G, B and
    infrared."""

    number: int
    melanin: float
    width: float
    chin: float
    crown: float
    jaw: float
    eye_x: float
    eye_y: float
    eye_w: float
    eye_h: float
    brow_y: float
    brow_w: float
    brow_t: float
    nose_len: float
    nose_w: float
    nose_h: float
    mouth_y: float
    mouth_w: float
    lip: float
    lip_red: float
    socket: float
    cheek: float
    chin_bump: float
    hairline: float
    hair_side: float
    hair: tuple[float, float, float, float]
    bald: bool
    long_hair: bool
    beard: float
    iris: tuple[float, float, float]
    freckles: float
    age: float
    texture_seed: int


def identity_of(subject: int) -> Identity:
    """Return the person with number ``subject``; the same number always gives the same person."""
    rng = np.random.default_rng([0x1D, subject])
    u = rng.uniform
    tone = FITZPATRICK_MELANIN[int(rng.integers(6))] * float(u(0.8, 1.25))
    # Hair melanin falls about fourfold from the visible to the near infrared, so dark hair is brighter there.
    # The darker the skin, the rarer light hair.
    darkness = float(u(0, 1)) ** (1 / (0.9 + 16 * tone))
    light = np.array([0.42, 0.30, 0.17]) * u(0.8, 1.1)
    dark = np.array([0.020, 0.017, 0.015])
    grey = u() < 0.1
    hair = np.full(3, u(0.12, 0.34)) if grey else light * (1 - darkness) + dark * darkness
    hair_ir = float(u(0.45, 0.6) if grey else 0.22 + 0.3 * (1 - darkness) + u(-0.06, 0.1))
    irises = ((0.05, 0.03, 0.02), (0.10, 0.06, 0.03), (0.12, 0.14, 0.08), (0.12, 0.18, 0.26))
    iris = irises[int(rng.integers(2 if tone > 0.12 else 4))]
    male = u() < 0.5
    return Identity(
        number=subject,
        melanin=min(tone, 0.43),
        width=float(u(66, 78)),
        chin=float(u(84, 102)),
        crown=float(u(112, 128)),
        jaw=float(u(0.12, 0.28)),
        eye_x=float(u(29, 35)),
        eye_y=float(u(-34, -28)),
        eye_w=float(u(12.5, 16)),
        eye_h=float(u(4.2, 6.6)),
        brow_y=float(u(-53, -46)),
        brow_w=float(u(15, 20)),
        brow_t=float(u(2.2, 4.5)),
        nose_len=float(u(38, 50)),
        nose_w=float(u(11, 18)),
        nose_h=float(u(15, 25)),
        mouth_y=float(u(38, 47)),
        mouth_w=float(u(20, 29)),
        lip=float(u(3.5, 7.5)),
        lip_red=float(u(0.5, 1.0)),
        socket=float(u(6, 11)),
        cheek=float(u(2, 7)),
        chin_bump=float(u(4, 9)),
        hairline=float(u(-92, -72)),
        hair_side=float(u(0.80, 0.93)),
        hair=(float(hair[0]), float(hair[1]), float(hair[2]), hair_ir),
        bald=bool(u() < 0.1),
        long_hair=bool(u() < (0.12 if male else 0.75)),
        beard=float(u(0.3, 1.0)) if male and u() < 0.45 else 0.0,
        iris=iris,
        freckles=float(max(0.0, u(-0.5, 1.0))) if tone < 0.12 else 0.0,
        age=float(u(0, 1)),
        texture_seed=int(rng.integers(1 << 31)),
    )
