"""Parts that several instruments share: their inputs, inks, the hands that hold them, masks before a face."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np

from synthetic.arrays import Array, float32
from synthetic.instruments.prints import dye_ink, pigment_ink, toner
from synthetic.pathtraced import skin as paint
from synthetic.pathtraced.description import Description
from synthetic.pathtraced.eyewear import glasses_things
from synthetic.pathtraced.people import dressed
from synthetic.pathtraced.portrait import before_sheet, face_in_picture, stolen_picture, variant_of
from synthetic.pathtraced.presented import Shown
from synthetic.pathtraced.things import Matter, Thing, joined, present, tube
from synthetic.people.head import Glasses
from synthetic.people.makehuman.figure import Figure, FigurePart
from synthetic.people.makehuman.library import Library
from synthetic.people.makehuman.person import Person, person_of
from synthetic.physics import skin_bands

Ink = Callable[..., None]
INK_ROUGHNESS: dict[Ink, tuple[float, float]] = {dye_ink: (0.85, 1.0), toner: (0.35, 0.7), pigment_ink: (0.1, 0.35)}
"""Ink of the fast renderer → least and greatest roughness of its prints."""
IN_HANDS = 0.5
"""Share of held instruments with visible fingers of the holder."""
HELD_BEFORE_A_PERSON = 0.4
"""Share of held instruments with the holder visible behind them."""


@dataclass(frozen=True, slots=True)
class Making:
    """Inputs for making an instrument: assets, the description, the subject, and a generator of its own."""

    library: Library
    what: Description
    subject: Person
    rng: np.random.Generator

    def wearer(self) -> Person:
        """Return the attacker: a person other than the subject."""
        return person_of(self.library, self.what.wearer, reserved=self.what.reserved)

    def picture(self) -> tuple[Array, Figure]:
        """Return the stolen picture and its figure."""
        what, shown = self.what, self.what.presentation
        return stolen_picture(self.library, shown.subject, what.reserved, variant_of(shown.number), what.attributes)


def held(make: Making, things: list[Thing], figure: Figure, scale: float, *, glasses: bool = True) -> Shown:
    """Return a flat instrument at z = 0 that shows the subject, possibly with its holder behind it."""
    worn = make.what.attributes
    if glasses and worn.glasses is not None and worn.glasses_on_picture:
        things += before_sheet(glasses_things(figure, worn.glasses), scale, 2.0)
    if make.rng.uniform() < HELD_BEFORE_A_PERSON:
        _, holder = dressed(make.library, make.wearer(), replace(worn, glasses=None, hat=None, medical_mask=None))
        shift = np.array([make.rng.normal(0, 60), make.rng.normal(-30, 40), -make.rng.uniform(90, 220)], np.float32)
        things += [replace(t, part=t.part.moved(np.eye(3, dtype=np.float32), shift)) for t in holder]
    if make.rng.uniform() < IN_HANDS:
        things.append(_fingers(make, present(things[0])))
    face, size = face_in_picture(figure, scale)
    return Shown(tuple(things), face, size, make.subject.who.melanin, pivot=(0.0, 0.0, 0.0))


def _fingers(make: Making, sheet: FigurePart) -> Thing:
    """Return thumbs and fingers that hold a sheet at its sides."""
    rng = make.rng
    sheet_points = sheet.vertices[np.unique(sheet.triangles)]
    low, high = _span(sheet_points[:, 1])
    found = []
    for side in (-1, 1) if rng.uniform() < 0.6 else (int(rng.choice((-1, 1))),):
        at = float(rng.uniform(low, 0.5 * (low + high)))
        for k in range(int(rng.integers(1, 4))):
            reach, y = float(rng.uniform(12, 32)), at + 19 * k
            half = _half_at(sheet_points, y)
            x = side * np.array([half + 45, half + 14, half - 0.4 * reach, half - 0.8 * reach, half - reach])
            path = np.stack([x, y + np.array([-12, -4, 0, 1, 1]), np.array([-25, 3, 10, 10, 9])], 1)
            girth = np.array([10.5, 9.5, 8.5, 7.5, 1.5]) * rng.uniform(0.85, 1.1)
            found.append(tube(path, girth.astype(np.float32), closed=False))
    r, g, b, nir = (float(v) for v in skin_bands(make.wearer().who.melanin))
    return Thing(joined(found), Matter((r, g, b, nir), roughness=0.5), "instrument")


def _half_at(points: Array, height: float) -> float:
    """Return the half width of a sheet near a height, mm: a cut-out is narrow at its top and bottom."""
    away = np.abs(points[:, 1] - height)
    # Rows of a sheet's mesh lie up to 25 mm apart.
    near = points[away <= max(25.0, float(away.min()))]
    return float(np.abs(near[:, 0]).max())


def _span(values: Array) -> tuple[float, float]:
    return float(values.min()), float(values.max())


def glasses_before(figure: Figure, glasses: Glasses, z: float) -> list[Thing]:
    """Return glasses over something ``z`` mm in front of the eyes."""
    plain = glasses_things(figure, glasses)
    front = float(plain[0].part.vertices[:, 2].max())
    return glasses_things(figure, glasses, stand_off=max(0.0, z + 5 - front))


def map_of(make: Making) -> tuple[Array, Array, Array]:
    """Return x, y and z of the neutral face at the texels of a skin, mm; far away outside the head."""
    position = np.nan_to_num(paint.face_positions(make.library), nan=-999.0)
    return position[:, :, 0], position[:, :, 1], position[:, :, 2]


def soft(cover: Array) -> Array:
    return float32(cv2.GaussianBlur(np.clip(cover, 0, 1).astype(np.float32), (0, 0), 0.8))


def eye_holes(x: Array, y: Array, margin: float) -> Array:
    """Return 1 on the mask, 0 in the holes for the eyes."""
    hole = np.square((np.abs(x) - 31) / (15 + margin)) + np.square(y / (7 + margin))
    solid: Array = np.clip((hole - 0.9) * 5, 0, 1)
    return solid


def in_front(shell: FigurePart, wearer: Figure, gap: float) -> FigurePart:
    """Return a mask moved forward until its wearer's face is behind it."""
    here = wearer.skin.vertices
    face = here[(np.abs(here[:, 0]) < 45) & (np.abs(here[:, 1] + 35) < 60) & (here[:, 2] > 0)]
    front = shell.vertices[(np.abs(shell.vertices[:, 0]) < 50) & (shell.vertices[:, 2] > 0)]
    if not len(face) or not len(front):
        return shell
    # The nearest point has the smallest |b|² − 2·a·b, which one matrix product gives for all pairs of points.
    nearest = (np.square(front[:, :2]).sum(1) - 2 * face[:, :2] @ front[:, :2].T).argmin(1)
    ahead = float(np.percentile(face[:, 2] - front[nearest, 2], 96)) + gap
    return shell.moved(np.eye(3, dtype=np.float32), np.array([0, 0, max(0.0, ahead)]))
