"""Things before the cameras, including the living person."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from synthetic.arrays import Array
from synthetic.pathtraced.description import Description
from synthetic.pathtraced.people import dressed
from synthetic.pathtraced.things import NECK, Thing
from synthetic.people.makehuman.figure import Figure
from synthetic.people.makehuman.library import Library
from synthetic.people.makehuman.person import person_of
from synthetic.presentation import Presentation, attributes_of

FLIP: Array = np.diag([1.0, -1.0, 1.0]).astype(np.float32)
"""Converts between this package's y (up) and the fast renderer's (down)."""
EYE_TO_MOUTH_MM = 72.0
SOMEBODY_BEHIND = 0.12
"""Share of presentations with a person in the background."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A presentation's things in a figure's axes, not yet rotated. ``face``: centre of the face box; ``face_scale``:
    its edge relative to that of a common head."""

    things: tuple[Thing, ...]
    face: tuple[float, float, float]
    face_scale: float
    melanin: float
    pivot: tuple[float, float, float] = NECK


def face_of(figure: Figure) -> tuple[tuple[float, float, float], float]:
    """Return the centre of a figure's face box and its size relative to that of a common head."""
    eyes = (figure.landmarks["left_eye"] + figure.landmarks["right_eye"]) / 2
    mouth = figure.landmarks["mouth"]
    x, y, z = (float(v) for v in eyes + 0.24 * (mouth - eyes))
    return (x, y, z), float(np.linalg.norm((mouth - eyes)[:2])) / EYE_TO_MOUTH_MM


def living(library: Library, what: Description) -> Shown:
    """Return the living person of a description."""
    person = person_of(library, what.presentation.subject, reserved=what.reserved)
    figure, things = dressed(library, person, what.attributes)
    face, scale = face_of(figure)
    return Shown(tuple(things), face, scale, person.who.melanin)


def others(library: Library, what: Description, rng: np.random.Generator) -> list[Thing]:
    """Return a person in the background, in some presentations of every species."""
    here, number = rng.uniform() < SOMEBODY_BEHIND, int(rng.integers(1 << 20))
    side, away, low = (
        float(rng.choice((-1, 1)) * rng.uniform(180, 620)),
        float(rng.uniform(450, 1500)),
        rng.normal(0, 80),
    )
    if not here:
        return []
    person = person_of(library, (1 << 22) + number, reserved=what.reserved)
    somebody = Presentation(seed=what.presentation.seed, subject=number, family=what.presentation.family)
    bare = replace(attributes_of(somebody), glasses=None, hat=None, medical_mask=None)
    _, things = dressed(library, person, bare)
    shift = np.array([side, low, -away], np.float32)
    turn = np.eye(3, dtype=np.float32)
    return [replace(t, part=t.part.moved(turn, shift), role="place") for t in things]


def placed(thing: Thing, turn: Array, pivot: tuple[float, float, float]) -> Thing:
    """Return a thing rotated by a matrix [3, 3] about a point."""
    about = np.array(pivot, np.float32)
    return replace(thing, part=thing.part.moved(turn, about - turn @ about))
