"""The attacker's portrait of the subject, and sheets that carry it."""

from __future__ import annotations

import functools

import cv2
import numpy as np

from synthetic.arrays import Array, float32
from synthetic.mesh import Mesh
from synthetic.people.attributes import Attributes
from synthetic.people.eyewear import eyewear_of, long_hair
from synthetic.people.identity import Identity, identity_of
from synthetic.people.shape import head_shape, head_surface
from synthetic.physics import skin_bands
from synthetic.rendering import PIVOT_MM, Lights, View, flat_layer, over, render_surface, rotation
from synthetic.surface import Surface, grid

PICTURE_MM = (-125.0, 125.0, -155.0, 135.0)
"""Extent of a stolen picture."""
PICTURES = 3
"""Number of different pictures of each person in circulation."""


def picture_key(subject: int, presentation: int) -> list[int]:
    """Return the seed of the attributes in the picture that a presentation uses."""
    return [0x51, subject, presentation % PICTURES]


def portrait_turn(subject: int, variant: int) -> Array:
    """Return the head rotation in a stolen picture, a matrix [3, 3]."""
    rng = np.random.default_rng([0x52, subject, variant])
    return rotation(float(rng.uniform(-8, 8)), float(rng.uniform(-6, 6)), float(rng.uniform(-3, 3)))


def eyes_in_picture(who: Identity, variant: int) -> tuple[float, float]:
    """Return the midpoint between the eyes in a stolen picture, mm from the picture's origin."""
    # Eyes lie about 18 mm behind a face's foremost point.
    x, y, _ = portrait_turn(who.number, variant) @ np.array([0, who.eye_y, PIVOT_MM - 18], np.float32)
    return float(x), float(y)


@functools.lru_cache(maxsize=512)
def stolen_picture(shape: str, subject: int, variant: int, pitch: float, worn: Attributes) -> Array:
    """Return a portrait of a subject [h, w, 4], linear, 0 to 1: colour as photographed, and infrared.

    ``worn``: the subject's attributes at that moment; glasses put in front of the picture are not in it. Cached,
    because a set of attacks shows the same few pictures in many ways. Callers must not modify it.
    """
    rng = np.random.default_rng([0x53, subject, variant])
    who = identity_of(subject)
    source = head_shape(shape)
    x0, x1, y0, y1 = PICTURE_MM
    view = View(round((x1 - x0) / pitch), round((y1 - y0) / pitch), 1 / pitch, -x0 / pitch, -y0 / pitch)
    side = rng.uniform(-0.7, 0.7)
    direction = np.array([side, -0.5, 0.8], np.float32)
    direction /= np.linalg.norm(direction)
    level = float(rng.uniform(0.7, 1.1))
    lights = Lights(
        ambient=np.array([0.45, 0.45, 0.45, 0.15], np.float32) * np.float32(level),
        lamps=((direction, np.array([0.6, 0.6, 0.6, 0.1], np.float32) * np.float32(level)),),
        flash=0.9,
    )
    turn = portrait_turn(subject, variant)
    wall = np.array([*rng.uniform(0.1, 0.8, 3), 0.4], np.float32)
    blank = np.ones((view.height, view.width), np.float32)
    scene = flat_layer(blank, wall, blank, lights, 1500)
    clothes = np.array([*rng.uniform(0.03, 0.5, 3), rng.uniform(0.2, 0.6)], np.float32)
    x, y = view.millimetres()
    body = np.clip((y - 118 - np.square(x) * 0.0012) / 6, 0, 1)
    neck = np.clip((46 - np.abs(x)) / 4, 0, 1) * np.clip((y - 50) / 6, 0, 1)
    if who.long_hair:
        scene = over(scene, flat_layer(long_hair(who, x, y), np.array(who.hair, np.float32), blank, lights, 605))
    scene = over(
        scene, flat_layer(neck.astype(np.float32), skin_bands(who.melanin), blank * np.float32(0.6), lights, 560)
    )
    cloth = flat_layer(body.astype(np.float32), clothes, blank * np.float32(0.8), lights, 560)
    things = [head_surface(source, who, worn.face, pitch, rng, worn.hat, worn.medical_mask)]
    if not worn.glasses_on_picture:
        things += eyewear_of(source.features(who), worn.glasses, pitch)
    for thing in things:
        scene = over(scene, render_surface(thing, turn, view, lights, 500))
    scene = over(scene, cloth)
    picture: Array = np.clip(scene.light, 0, 1)
    picture.setflags(write=False)
    return picture


def sheet(
    picture: Array, half: tuple[float, float], scale: float, pitch: float, curl: float, axis: float
) -> tuple[Surface, Array]:
    """Return a sheet of ``half`` width and height, mm, and the picture laid out on it [h, w, 4].

    ``scale``: size of the pictured head relative to life. ``curl``: bend per mm² across ``axis`` (radians), so that the
    surface stays developable. The picture's border is continued beyond its edge.
    """
    x, y = grid(-half[0], half[0], -half[1], half[1], pitch)
    per = picture.shape[1] / (PICTURE_MM[1] - PICTURE_MM[0])
    columns = np.broadcast_to((x / scale - PICTURE_MM[0]) * per, (y.shape[0], x.shape[1])).astype(np.float32)
    rows = np.broadcast_to((y / scale - PICTURE_MM[2]) * per, columns.shape).astype(np.float32)
    lying = float32(cv2.remap(picture, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))
    across = x * np.float32(np.cos(axis)) + y * np.float32(np.sin(axis))
    height = (-curl * np.square(across)).astype(np.float32)
    surface = Surface(
        x0=-half[0],
        y0=-half[1],
        pitch=pitch,
        relief=height,
        albedo=np.empty((*columns.shape, 4), np.float32),
        alpha=np.ones(columns.shape, np.float32),
    )
    return surface, lying


def lift(surface: Surface, millimetres: Array | float) -> None:
    """Move a sheet towards the camera, all of it or by a map [h, w]."""
    assert not isinstance(surface.relief, Mesh)
    surface.relief = surface.relief + np.float32(1) * millimetres
