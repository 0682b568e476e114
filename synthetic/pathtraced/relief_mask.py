"""2.5-D masks: a picture of the subject printed on a sheet with a shallow relief of the face."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from synthetic.arrays import Array, float32
from synthetic.instruments.portrait import portrait_turn
from synthetic.instruments.prints import INKS
from synthetic.pathtraced.formed import embossed, head_parts, heights, placed_part
from synthetic.pathtraced.making import INK_ROUGHNESS, Making, glasses_before, held, in_front
from synthetic.pathtraced.medical_mask import medical_mask_things
from synthetic.pathtraced.people import dressed
from synthetic.pathtraced.portrait import (
    PIXELS_PER_MM,
    blank_surface,
    face_in_picture,
    lying_on,
    picture_window,
    variant_of,
)
from synthetic.pathtraced.presented import FLIP, Shown
from synthetic.pathtraced.things import Matter, Thing

WORN = 0.5
"""Share of 2.5-D masks worn before a face; the others are held up."""
FLATTENED = (0.15, 0.5)
"""Depth of the relief relative to the face's."""
SHEET_PX = (256, 320)
GRID = (81, 101)


def egg(half: tuple[float, float], middle: float, *, holes: bool, rng: np.random.Generator) -> Array:
    """Return the mask of a cut-out face on a sheet [rows, columns], with or without holes for the eyes."""
    x = np.linspace(-half[0], half[0], SHEET_PX[0], dtype=np.float32)[None]
    y = np.linspace(half[1], -half[1], SHEET_PX[1], dtype=np.float32)[:, None] + middle
    top, bottom, wide = float(rng.uniform(70, 95)), float(rng.uniform(110, 128)), float(rng.uniform(70, 82))
    reach = np.square(x / wide) + np.square((y + 20) / np.where(y > -20, top + 20, bottom - 20))
    cover = np.clip((1 - reach) * 25, 0, 1)
    if holes:
        hole = np.square((np.abs(x) - 31) / 15) + np.square(y / 8)
        cover = cover * (1 - np.clip((1.1 - hole) * 8, 0, 1))
    return np.asarray(cover, np.float32)


def mask_relief(make: Making) -> Shown:
    """A 2.5-D mask: the subject's picture on a sheet formed over a shallow relief of the face, held up or worn."""
    rng = make.rng
    what, shown = make.what, make.what.presentation
    picture, figure = make.picture()
    turn: Array = (FLIP @ portrait_turn(shown.subject, variant_of(shown.number)) @ FLIP).astype(np.float32)
    worn = bool(rng.uniform() < WORN)
    scale = float(rng.uniform(0.95, 1.06) if worn else rng.uniform(0.85, 1.1))
    half, middle = (88.0 * scale, 122.0 * scale), -22.0 * scale
    depth, blur = float(rng.uniform(*FLATTENED)), float(rng.uniform(2.0, 5.0))
    # The relief lies under the picture, which was taken from the same place.
    window = picture_window()
    parts = head_parts(figure, hair=True)
    if what.attributes.medical_mask is not None:
        cloth, _ = medical_mask_things(figure, what.attributes.medical_mask, what.attributes.face.open_mouth)
        parts.append(cloth.part)
    height = heights([placed_part(part, turn) for part in parts], window) * np.float32(depth)
    height = float32(cv2.GaussianBlur(height, (0, 0), blur * PIXELS_PER_MM))
    part = embossed(height, window, half, middle, scale, GRID)
    lying = lying_on(picture, half, middle, scale, SHEET_PX, margin=False)
    surface = blank_surface(lying)
    ink = INKS[int(rng.integers(len(INKS)))]
    ink(surface, lying, rng)
    cut = egg(half, middle, holes=worn and rng.uniform() < 0.5, rng=rng)
    alpha = cut if worn or rng.uniform() < 0.6 else None
    matter = Matter(surface.albedo, roughness=float(rng.uniform(*INK_ROUGHNESS[ink])), alpha=alpha)
    (fx, fy, _), size = face_in_picture(figure, scale)
    front = float(np.median(part.vertices[np.abs(part.vertices[:, 0]) < 20, 2]))
    if not worn:
        found = held(make, [Thing(part, matter, "instrument")], figure, scale)
        return replace(found, face=(fx, fy, front))
    bare = replace(what.attributes, hat=None, medical_mask=None)
    wearer, things = dressed(make.library, make.wearer(), bare, glasses=False)
    on = in_front(part, wearer, float(rng.uniform(2, 6)))
    shift = float(on.vertices[0, 2] - part.vertices[0, 2])
    things.append(Thing(on, matter, "instrument"))
    glasses = what.attributes.glasses
    if glasses is not None and what.attributes.glasses_on_picture:
        things += glasses_before(wearer, glasses, float(on.vertices[:, 2].max()) - 8)
    return Shown(tuple(things), (fx, fy, front + shift), size, make.subject.who.melanin)
