"""Transparent masks: clear plastic formed over the subject's face and worn by another person.

The wearer's own skin shows through in both bands, so colour and infrared reflectance are those of a living face. Gloss,
cut edges and paint are not.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from synthetic.arrays import Array, float32
from synthetic.pathtraced.formed import BACK_MM, embossed, head_parts, heights, straight_window
from synthetic.pathtraced.making import Making, glasses_before, in_front
from synthetic.pathtraced.medical_mask import medical_mask_things
from synthetic.pathtraced.people import dressed
from synthetic.pathtraced.presented import FLIP, Shown, face_of
from synthetic.pathtraced.things import Matter, Thing
from synthetic.people.attributes import Attributes
from synthetic.people.head import Expression
from synthetic.people.makehuman.figure import Figure, FigurePart
from synthetic.physics import CLEAR_PLASTIC_INDEX, clear_sheet
from synthetic.rendering import rotation
from synthetic.surface import noise

PAINTED = 0.5
"""Share of transparent masks with painted lips and brows, as sold for the stage."""
OPEN_EYES = 0.75
HALF_MM, MIDDLE_MM = (92.0, 124.0), -20.0
"""Half width and height of the sheet, and its middle above the eyes."""
GRID = (93, 125)
PX_PER_MM = 1.0
RAMP_PX = 128
EDGE_MM = 50.0
"""Millimetres inwards and outwards from the mask's edge that its texture spans."""


def reach_of(make: Making, sheet: FigurePart, owner: Figure) -> Array:
    """Return millimetres inwards from a mask's edge by vertex [n], negative outside: an egg, perhaps with holes for the
    eyes."""
    rng = make.rng
    x, y, z = sheet.vertices.T
    top = float(rng.uniform(70, 95))
    radius = np.sqrt(np.square(x / 74) + np.square((y + 28) / np.where(y > -28, top + 28, 86.0)))
    reach = np.minimum((1 - radius) * 75, z - (BACK_MM + 110))
    if rng.uniform() < OPEN_EYES:
        half = float(rng.uniform(16, 21)), float(rng.uniform(8, 13))
        for eye in owner.eyes:
            hole = np.hypot((x - eye.centre[0]) / half[0], (y - eye.centre[1]) / half[1])
            reach = np.minimum(reach, (hole - 1) * 12)
    return np.asarray(reach, np.float32)


def edge_uv(across: Array, reach: Array) -> Array:
    """Return texture coordinates [n, 2]: ``across`` 0 to 1, and the distance from the edge."""
    # Textures repeat: stay half a texel from their borders.
    least = 1 / RAMP_PX
    inwards = 0.5 + reach / (2 * EDGE_MM)
    return np.clip(np.stack([across, inwards], 1), least, 1 - least).astype(np.float32)


def rows_inwards() -> Array:
    """Return millimetres inwards from the edge for the rows of a texture, from its inner end outwards [RAMP_PX, 1]."""
    rows = (1 - (np.arange(RAMP_PX) + 0.5) / RAMP_PX) * 2 - 1
    return (rows[:, None] * EDGE_MM).astype(np.float32)


def clear_things(make: Making, sheet: FigurePart, reach: Array) -> list[Thing]:
    """Return a clear sheet: a mirror with the sheet's reflectance by angle, and the haze of its scratches and edges."""
    rng, what = make.rng, make.what
    turn: Array = (FLIP @ rotation(what.yaw, what.pitch, what.roll) @ FLIP).astype(np.float32)
    # The cameras look along -z from far away, so the angle of view hardly depends on the place.
    cosine = np.abs((sheet.normals @ turn.T)[:, 2])
    inside = np.clip(rows_inwards() / 1.6 + 0.5, 0, 1)
    angles = ((np.arange(RAMP_PX) + 0.5) / RAMP_PX).astype(np.float32)[None]
    # One opacity serves both bands: two plastics differ more than the visible and the infrared.
    reflected, absorbed = clear_sheet(angles, float(np.mean(CLEAR_PLASTIC_INDEX)), float(rng.uniform(0.3, 1.2)))
    stopped = reflected + absorbed
    mirror = Matter(
        np.tile((reflected / stopped)[:, :, None], (RAMP_PX, 1, 4)).astype(np.float32),
        roughness=float(rng.uniform(0.06, 0.16)),
        metallic=1.0,
        alpha=(stopped * inside).astype(np.float32),
        clear=True,
    )
    haze = float(rng.uniform(0.01, 0.09)) * (1 + 0.4 * noise(rng, (RAMP_PX, RAMP_PX), 12))
    # A cut edge sends out the light that runs inside the sheet.
    edge = float(rng.uniform(0.35, 0.8)) * np.exp(-np.square((rows_inwards() - 0.9) / 1.1))
    film = Matter(
        (0.8, 0.8, 0.8, 0.8),
        roughness=0.5,
        alpha=np.clip(np.maximum(haze, edge) * inside, 0, 1).astype(np.float32),
        clear=True,
    )
    across = 0.5 + sheet.vertices[:, 0] / (2.2 * HALF_MM[0])
    return [
        Thing(replace(sheet, uv=edge_uv(across, reach)), film, "instrument"),
        Thing(replace(sheet.pushed(0.3), uv=edge_uv(cosine, reach)), mirror, "instrument"),
    ]


def paint_thing(make: Making, sheet: FigurePart, owner: Figure) -> Thing:
    """Return lips and brows painted on the sheet."""
    rng = make.rng
    x = np.linspace(-HALF_MM[0], HALF_MM[0], 368, dtype=np.float32)[None]
    y = np.linspace(HALF_MM[1], -HALF_MM[1], 496, dtype=np.float32)[:, None] + MIDDLE_MM
    mouth, aside = float(owner.landmarks["mouth"][1]), abs(float(owner.eyes[0].centre[0]))
    lips = np.square(x / 27) + np.square((y - mouth) / np.where(y > mouth, 9.5, 11.5))
    arch = y - 17 + 0.006 * np.square(np.abs(x) - aside + 3)
    brow = np.square((np.abs(x) - aside) / 21) + np.square(arch / 3.5)
    strength = float(rng.uniform(0.5, 0.95))
    alpha = np.clip(np.maximum(1 - lips, 1 - brow) * 4, 0, 1) * strength
    albedo = np.empty((496, 368, 4), np.float32)
    albedo[:] = np.array(make.subject.who.hair, np.float32) * np.float32(0.6)
    red = (float(rng.uniform(0.3, 0.6)), 0.1, 0.12, float(rng.uniform(0.4, 0.65)))
    albedo[y[:, 0] < (mouth / 2)] = red
    return Thing(sheet.pushed(0.6), Matter(albedo, roughness=0.35, alpha=alpha.astype(np.float32)), "instrument")


def mask_transparent(make: Making) -> Shown:
    """A clear plastic mask of the subject, worn by another person whose face shows through."""
    rng, worn = make.rng, make.what.attributes
    figure, things = dressed(make.library, make.wearer(), replace(worn, medical_mask=None), glasses=False)
    smile = Expression(smile=worn.face.smile)
    owner, _ = dressed(make.library, make.subject, Attributes(smile))
    window = straight_window(HALF_MM, MIDDLE_MM, PX_PER_MM)
    # A sheet drawn over a mould loses its fine relief.
    round_off = float(rng.uniform(1.5, 4.0)) * PX_PER_MM
    height = float32(cv2.GaussianBlur(heights(head_parts(owner), window), (0, 0), round_off))
    plain = embossed(height, window, HALF_MM, MIDDLE_MM, 1.0, GRID)
    reach = reach_of(make, plain, owner)
    plain = plain.moved(np.eye(3, dtype=np.float32), np.array([0, 0, BACK_MM + 1.5], np.float32))
    sheet = in_front(plain, figure, float(rng.uniform(2, 5)))
    shift = float(sheet.vertices[0, 2] - plain.vertices[0, 2])
    things += clear_things(make, sheet, reach)
    if rng.uniform() < PAINTED:
        things.append(paint_thing(make, sheet, owner))
    if worn.medical_mask is not None:
        things += medical_mask_things(figure, worn.medical_mask, worn.face.open_mouth, [sheet])
    if worn.glasses is not None:
        things += glasses_before(figure, worn.glasses, float(sheet.vertices[:, 2].max()) - 12)
    (fx, fy, fz), size = face_of(owner)
    return Shown(tuple(things), (fx, fy, fz + shift), size, figure.person.who.melanin)
