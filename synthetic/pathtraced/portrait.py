"""The attacker's picture of a subject, path-traced at another moment, and sheets that carry it."""

from __future__ import annotations

import functools

import cv2
import numpy as np

from synthetic.arrays import Array, float32
from synthetic.instruments.portrait import PICTURES, portrait_turn
from synthetic.pathtraced.people import dressed
from synthetic.pathtraced.presented import FLIP, face_of, placed
from synthetic.pathtraced.render import picture
from synthetic.pathtraced.surroundings import flash_of, lamps_of, place_things
from synthetic.pathtraced.things import NECK, Stage, Thing, Window, plate
from synthetic.people.attributes import Attributes
from synthetic.people.makehuman.figure import Figure, FigurePart
from synthetic.people.makehuman.library import Library
from synthetic.people.makehuman.person import person_of
from synthetic.rendering import Lights
from synthetic.surface import Surface

PICTURE_MM = (-125.0, 125.0, -160.0, 140.0)
"""Extent of the picture: left, right, bottom and top, mm from between the eyes."""
PIXELS_PER_MM = 0.8
SAMPLES = 12
LENS_MM = 1300.0


@functools.lru_cache(maxsize=64)
def stolen_picture(
    library: Library, subject: int, reserved: bool, variant: int, worn: Attributes
) -> tuple[Array, Figure]:
    """Return a portrait [h, w, 4], linear, 0 to 1, and its figure.

    ``variant``: which of the few pictures in circulation. ``worn``: the subject's attributes at that moment.
    """
    rng = np.random.default_rng([0x75, subject, variant])
    person = person_of(library, subject, reserved=reserved)
    figure, things = dressed(library, person, worn, glasses=not worn.glasses_on_picture)
    turn: Array = (FLIP @ portrait_turn(subject, variant) @ FLIP).astype(np.float32)
    behind, windows = place_things(rng)
    level, side = float(rng.uniform(0.7, 1.1)), float(rng.uniform(-0.8, 0.8))
    way = np.array([side, -0.5, 0.8], np.float32)
    lamp = np.array([0.6, 0.6, 0.6, 0.1], np.float32) * np.float32(level)
    ambient = np.array([0.4, 0.4, 0.4, 0.1], np.float32) * np.float32(level)
    lamps = lamps_of(Lights(ambient, ((way / np.linalg.norm(way), lamp),), 1.0), rng)
    at = picture_window().at
    r, g, b, nir = (float(v) for v in ambient)
    stage = Stage(
        (*(placed(t, turn, NECK) for t in things), *behind),
        (*lamps, *windows),
        flash_of(at, 8.0, 25.0, 0.0, 1.0),
        (r, g, b, nir),
    )
    window = picture_window()
    width, height = window.width, window.height
    seed = int(rng.integers(1 << 30))
    colour = picture(stage, window, "rgb", samples=SAMPLES, seed=seed)
    infrared = picture(stage, window, "ir", samples=SAMPLES, seed=seed)
    face = slice(round(0.42 * height), round(0.75 * height)), slice(round(0.3 * width), round(0.7 * width))
    taken = [light * (aim / max(float(light[face].mean()), 1e-6)) for light, aim in ((colour, 0.26), (infrared, 0.45))]
    found: Array = np.clip(np.concatenate(taken, 2), 0, 1).astype(np.float32)
    found.setflags(write=False)
    return found, figure


def picture_window() -> Window:
    """Return the attacker's camera."""
    x0, x1, y0, y1 = PICTURE_MM
    width, height = round((x1 - x0) * PIXELS_PER_MM), round((y1 - y0) * PIXELS_PER_MM)
    middle = (-x0 * PIXELS_PER_MM, y1 * PIXELS_PER_MM)
    return Window((0.0, 0.0, LENS_MM), width, height, PIXELS_PER_MM * (LENS_MM - 15), middle)


def variant_of(presentation: int) -> int:
    """Return the number of the subject's picture that a presentation shows."""
    return presentation % PICTURES


def lying_on(
    picture_shown: Array, half: tuple[float, float], middle: float, scale: float, pixels: tuple[int, int], margin: bool
) -> Array:
    """Return the picture laid out on a sheet [rows, columns, 4].

    ``half``: half width and height of the sheet, mm; its middle is ``middle`` mm above the pictured eyes. ``pixels``:
    columns and rows. ``margin``: the sheet is blank beyond the picture; otherwise the picture's border is continued.
    """
    columns, rows = pixels
    x = (np.linspace(-1, 1, columns) * half[0]) / scale
    y = (np.linspace(1, -1, rows) * half[1] + middle) / scale
    at_x = np.broadcast_to((x - PICTURE_MM[0]) * PIXELS_PER_MM, (rows, columns)).astype(np.float32)
    at_y = np.broadcast_to(((PICTURE_MM[3] - y) * PIXELS_PER_MM)[:, None], (rows, columns)).astype(np.float32)
    if margin:
        return float32(
            cv2.remap(picture_shown, at_x, at_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=(1,) * 4)
        )
    return float32(cv2.remap(picture_shown, at_x, at_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))


def blank_surface(lying: Array) -> Surface:
    """Return a surface for `synthetic.instruments.prints` to print on."""
    shape = lying.shape[:2]
    return Surface(
        0, 0, 1.0, np.zeros(shape, np.float32), np.empty((*shape, 4), np.float32), np.ones(shape, np.float32)
    )


def sheet_part(
    half: tuple[float, float], middle: float, curl: float, axis: float, waves: Array | None = None
) -> FigurePart:
    """Return a sheet whose middle is ``middle`` mm above the origin; ``waves`` [24 * 24]: slopes of an uneven surface,
    visible only in its gloss."""
    part = plate(half, 24, 24, curl=curl, axis=axis).moved(np.eye(3, dtype=np.float32), np.array([0, middle, 0]))
    if waves is not None:
        part.normals[:, 0] += waves
        part.normals[:] /= np.linalg.norm(part.normals, axis=1, keepdims=True)
    return part


def face_in_picture(figure: Figure, scale: float) -> tuple[tuple[float, float, float], float]:
    """Return the centre of the pictured face's box on the sheet and its size relative to a common head."""
    (x, y, _), size = face_of(figure)
    return (x * scale, y * scale, 0.0), size * scale


def before_sheet(things: list[Thing], scale: float, gap: float) -> list[Thing]:
    """Return worn things moved in front of a sheet at z = 0, in a picture's scale."""
    frame = things[0].part.vertices[:, 2].max() * scale
    shift = np.array([0, 0, gap - frame + 6], np.float32)
    return [
        Thing(t.part.moved(np.eye(3, dtype=np.float32) * np.float32(scale), shift), t.matter, t.role) for t in things
    ]
