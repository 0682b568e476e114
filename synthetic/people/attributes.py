"""Attributes of a presented face, drawn in the same way for bona fide faces and for every PAI species.

An attribute that only one class has is a cue: a network that sees glasses only on living people learns that glasses
mean life. So the draws do not depend on the species, and every instrument shows the drawn attributes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from synthetic.people.head import Expression, Glasses, Hat, MedicalMask
from synthetic.physics import fleece_nir

GLASSES, TINTED, ON_PICTURE = 0.3, 0.2, 0.5
"""Share of faces with glasses, of tinted glasses, and of glasses put in front of a picture instead of shown in it."""
HATS = 0.12
MEDICAL_MASKS, UNDER_NOSE = 0.08, 0.12
"""Share of faces with a medical mask, and of masks worn under the nose."""
FLEECES = ((0.27, 0.51, 0.67), (0.74, 0.74, 0.72), (0.03, 0.03, 0.032), (0.45, 0.62, 0.5), (0.7, 0.45, 0.5))
"""Colours of medical masks, linear: blue, white, black, green, pink."""


@dataclass(frozen=True, slots=True)
class Attributes:
    """Expression, glasses, hat and medical mask of a presented face.

    ``glasses_on_picture``: where the instrument carries a picture, the glasses are real and in front of it.
    """

    face: Expression
    glasses: Glasses | None = None
    hat: Hat | None = None
    glasses_on_picture: bool = False
    medical_mask: MedicalMask | None = None


def draw_attributes(rng: np.random.Generator) -> Attributes:
    """Draw the attributes of one presented face."""
    # Draw everything, worn or not, so that changing one attribute leaves the others unchanged.
    face = Expression(
        smile=float(max(0, rng.uniform(-0.6, 1))),
        open_mouth=float(max(0, rng.uniform(-2, 1))),
        eyes=float(rng.uniform(0.55, 1.1)),
        gaze=(float(rng.normal(0, 1.6)), float(rng.normal(0, 0.7))),
    )
    has_glasses, tinted, on_picture, has_hat = rng.uniform(size=4) < (GLASSES, TINTED, ON_PICTURE, HATS)
    glasses = draw_glasses(rng, tinted=bool(tinted))
    hat = draw_hat(rng)
    return Attributes(
        face=face,
        glasses=glasses if has_glasses else None,
        hat=hat if has_hat else None,
        glasses_on_picture=bool(on_picture),
    )


def draw_glasses(rng: np.random.Generator, *, tinted: bool = False) -> Glasses:
    """Draw glasses, clear unless ``tinted``."""
    tint, frame, thickness, disc = rng.uniform(size=4)
    return Glasses(
        tint=float(0.5 + 0.42 * tint) if tinted else 0.0,
        dark_frame=0.015 + 0.35 * float(frame) ** 3,
        thickness=float(0.8 + 3.2 * thickness),
        disc=bool(disc < 0.6),
    )


def draw_hat(rng: np.random.Generator) -> Hat:
    """Draw a cap of any colour."""
    dark = float(rng.uniform(0.02, 0.5))
    red, green, blue = (dark * rng.uniform(0.5, 1.5, 3)).tolist()
    return Hat(
        colour=(red, green, blue, float(rng.uniform(0.1, 0.7))),
        brim=float(rng.uniform(0, 14)),
        texture_seed=int(rng.integers(1 << 31)),
    )


def draw_medical_mask(rng: np.random.Generator) -> MedicalMask:
    """Draw a surgical mask or a respirator."""
    colour = FLEECES[int(rng.choice(len(FLEECES), p=(0.5, 0.28, 0.12, 0.05, 0.05)))]
    bright = float(rng.uniform(0.85, 1.15))
    red, green, blue = (min(bright * part, 0.85) for part in colour)
    carbon = max(colour) < 0.1 and rng.uniform() < 0.5
    pleated, under = rng.uniform(size=2) < (0.75, UNDER_NOSE)
    return MedicalMask(
        colour=(red, green, blue, fleece_nir(rng, carbon=carbon)),
        pleated=bool(pleated),
        over_nose=not under,
        texture_seed=int(rng.integers(1 << 31)),
    )
