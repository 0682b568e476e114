"""Everything visible in a scene: room, body, head or instrument, and the hand that holds it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthetic.arrays import Array
from synthetic.people.eyewear import long_hair
from synthetic.physics import skin_bands
from synthetic.rendering import PIVOT_MM, Layer, View, flat_layer, over, render_surface
from synthetic.scene import Scene
from synthetic.surface import noise


def scenery(scene: Scene, view: View) -> tuple[Layer, NDArray[np.uint8]]:
    """Return light and depth of everything in a view, and a mask of a partial attack, 255 inside [h, w]."""
    scene = replace(scene, place=np.random.default_rng(scene.place_key))
    layer = surroundings(scene, view)
    pivot = 0.0 if scene.held else PIVOT_MM
    region = np.zeros((view.height, view.width), np.uint8)
    if scene.vacant:
        return layer, region
    for thing in (scene.shown.surface, *scene.shown.before):
        seen = render_surface(thing, scene.turn, view, scene.lights, scene.distance, pivot)
        layer = over(layer, seen)
        if any(thing is attacked for attacked in scene.shown.attacked):
            covered = seen.alpha if seen.alpha.ndim == 2 else seen.alpha[:, :, 0]
            region[covered > 0.5] = 255
    return (fingers if scene.held else clothes)(scene, view, layer), region


def surroundings(scene: Scene, view: View) -> Layer:
    """Return the background, the body parts behind a head, and the body behind a held instrument."""
    rng, who = scene.place, scene.who
    x, y = view.millimetres()
    near, shape = scene.distance, (view.height, view.width)
    # Walls are less saturated than paint charts.
    wall = np.array([*rng.uniform(0.06, 0.7) * rng.uniform(0.7, 1.3, 3), rng.uniform(0.15, 0.7)], np.float32)
    pattern = 1 + rng.uniform(0.05, 0.4) * noise(rng, shape, int(rng.integers(2, 9)))
    away = scene.distance + float(rng.uniform(300, 2500))
    ones = np.ones(shape, np.float32)
    layer = flat_layer(ones, wall, np.clip(pattern, 0.05, 3).astype(np.float32), scene.lights, away)
    furnish(layer, scene, rng, (x, y), away)
    if scene.vacant:
        return layer

    def add(cover: NDArray[Any], albedo: Array, shade: NDArray[Any] | float, behind: float) -> None:
        # Most of these cover a few rows at the bottom; the others are not computed.
        cover = np.broadcast_to(cover, shape).astype(np.float32)
        touched = np.flatnonzero(cover.any(axis=1))
        if touched.size:
            rows = slice(int(touched[0]), int(touched[-1]) + 1)
            part = np.broadcast_to(np.float32(shade), shape)[rows]
            over(layer, flat_layer(cover[rows], albedo, part, scene.lights, near + behind), rows)

    if scene.held:
        # The holder, half hidden behind the instrument.
        cover = np.clip((230 - np.abs(x + rng.uniform(-80, 80))) / 6, 0, 1) * np.clip(
            (y + rng.uniform(-40, 60)) / 6, 0, 1
        )
        add(cover, np.array([*rng.uniform(0.02, 0.6, 3), rng.uniform(0.1, 0.7)], np.float32), 0.7, 180)
        return layer
    if who.long_hair:
        add(long_hair(who, x, y), np.array(who.hair, np.float32), 0.75 + 0.2 * noise(rng, shape, 30), 105)
    if scene.shape.name == "analytic":
        # Scanned heads include the neck.
        cover = np.clip((50 - np.abs(x) + np.maximum(y - 105, 0) * 0.8) / 3, 0, 1) * np.clip((y - 40) / 5, 0, 1)
        add(cover, skin_bands(who.melanin), 0.65 - 0.32 * np.square(np.clip(x / 60, -1, 1)), 85)
    return layer


def furnish(layer: Layer, scene: Scene, rng: np.random.Generator, at: tuple[Array, Array], away: float) -> None:
    """Hang pictures, shelves, door frames and windows on the wall ``away`` mm off."""
    x, y = at
    for _ in range(int(rng.integers(0, 7))):
        half_w, half_h = rng.uniform(15, 160, 2)
        cx, cy = rng.uniform(-240, 240), rng.uniform(-240, 240)
        soft = float(rng.uniform(1, 8))
        across = np.clip((half_w - np.abs(x - cx)) / soft, 0, 1)
        along = np.clip((half_h - np.abs(y - cy)) / soft, 0, 1)
        albedo = np.array([*rng.uniform(0.02, 0.9) * rng.uniform(0.6, 1.4, 3), rng.uniform(0.05, 0.8)], np.float32)
        # One in eight is a window or a lamp, many times brighter than its neighbours.
        level = float(rng.uniform(3, 12) if rng.uniform() < 0.125 else rng.uniform(0.6, 1.2))
        cover = (across * along).astype(np.float32)
        over(layer, flat_layer(cover, albedo, np.full_like(cover, level), scene.lights, away - 5))


def clothes(scene: Scene, view: View, layer: Layer) -> Layer:
    """Draw shoulders and collar in front of the neck."""
    x, y = view.millimetres()
    rng = scene.place
    cloth = np.array([*rng.uniform(0.02, 0.6, 3), rng.uniform(0.1, 0.7)], np.float32)
    drop = (
        y - 122 - np.square(np.clip(np.abs(x) - 40, 0, None)) * 0.0016 + 0.0025 * np.square(np.minimum(np.abs(x), 40))
    )
    cover = np.clip(drop / 4, 0, 1) * np.clip((230 - np.abs(x)) / 4, 0, 1)
    touched = np.flatnonzero(cover.any(axis=1))
    if touched.size:
        rows = slice(int(touched[0]), int(touched[-1]) + 1)
        part = np.ascontiguousarray(cover[rows], np.float32)
        shade = np.full_like(part, 0.8)
        over(layer, flat_layer(part, cloth, shade, scene.lights, scene.distance + 75), rows)
    return layer


def fingers(scene: Scene, view: View, layer: Layer) -> Layer:
    """Draw fingers that hold a sheet at its edges, in front of it."""
    rng = scene.place
    half_w = -scene.shown.surface.x0
    half_h = -scene.shown.surface.y0
    x, y = view.millimetres()
    skin = skin_bands(float(rng.choice((0.04, 0.1, 0.2))))
    for side in (-1, 1):
        for _ in range(int(rng.integers(0, 3))):
            cx, cy = side * (half_w - rng.uniform(-8, 14)), rng.uniform(-0.2, 1) * half_h
            spread = np.square((x - cx) / rng.uniform(20, 30)) + np.square((y - cy) / rng.uniform(8, 11))
            cover = np.clip((1 - spread) * 4, 0, 1).astype(np.float32)
            shade = (0.6 + 0.4 * np.clip(1 - spread, 0, 1)).astype(np.float32)
            over(layer, flat_layer(cover, skin, shade, scene.lights, scene.distance - 8))
    return layer
