"""Attributes of a presented face, drawn in the same way for bona fide faces and for every PAI species.

An attribute that only one class has is a cue: a network that sees glasses only on living people learns that glasses
mean life. So the draws do not depend on the species, and every instrument shows the drawn attributes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from synthetic.people.head import Expression, Glasses, Hat

GLASSES, TINTED, ON_PICTURE = 0.3, 0.2, 0.5
"""Share of faces with glasses, of tinted glasses, and of glasses put in front of a picture instead of shown in it."""
HATS = 0.12


@dataclass(frozen=True, slots=True)
class Attributes:
    """Expression, glasses and hat of a presented face.

    ``glasses_on_picture``: where the instrument carries a picture, the glasses are real and in front of it.
    """

    face: Expression
    glasses: Glasses | None = None
    hat: Hat | None = None
    glasses_on_picture: bool = False


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
