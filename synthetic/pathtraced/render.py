"""Render a stage to linear images with Mitsuba."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from synthetic.arrays import Array, float32
from synthetic.pathtraced.atlas import atlas_of
from synthetic.pathtraced.backend import Band, select
from synthetic.pathtraced.things import (
    Bands,
    Flash,
    Lamp,
    Matter,
    Stage,
    Thing,
    Window,
    facing,
    joined,
    plate,
    present,
)
from synthetic.pathtraced.zbuffer import z_buffer
from synthetic.people.makehuman.figure import FigurePart

DEPTH_OF_PATHS, DEPTH_FROM_FLASH = 4, 3
"""Maximum path length in segments. Paths from the flash may be shorter, because its light is faint after a reflection
by a wall."""
SCREEN_SHARE = 0.15
"""Weight with which paths are sent to a screen; the weights of all lamps together are about 1. It is low because a
screen is mostly seen directly."""
GLINT = 8.0
"""Maximum ratio of a single pixel to its surroundings."""
CLEAR_GLINT = 2.0
"""The same limit in scenes with clear things. There, paths between skin and plastic reach the flash only by chance, and
these rare paths make pixels sparkle in a way that no camera sees."""
GRAIN_REMOVED = 1.1
"""Strength of the denoising filter, in standard deviations of the grain."""
BRIGHTEST = 12.0
"""Maximum radiance; more is clipped. Otherwise a single path that reaches a lamp by two mirror reflections would make a
white pixel."""
LAMPS = 3
"""Number of lamps in a scene that is not lit by the flash alone. If there are fewer, dark ones make up the number."""


def picture(stage: Stage, window: Window, band: Band, *, samples: int, seed: int) -> Array:
    """Return linear light [h, w, 3] in the visible, or [h, w, 1] in the infrared.

    The infrared image is the sum of two renderings, one with the flash's light and one with the room's. When the flash
    is the only lamp, all paths go to it.
    """
    if band == "rgb":
        return _traced(stage, window, band, samples, seed)
    room = Stage(stage.things, stage.lamps, None, stage.ambient)
    light = _traced(room, window, band, max(4, samples // 2), seed)
    if stage.flash is None:
        return light
    dark = Stage(stage.things, (), stage.flash, (0.0,) * 4)
    return light + _traced(dark, window, band, max(4, samples // 2), seed + 1)


def _traced(stage: Stage, window: Window, band: Band, samples: int, seed: int) -> Array:
    mi = select(band)
    scene = mi.load_dict(_scene(mi, stage, window, band))
    image = np.array(mi.render(scene, spp=samples, seed=seed), np.float32)
    image = image.reshape(window.height, window.width, -1)[:, :, : 3 if band == "rgb" else 1]
    image = np.clip(np.nan_to_num(image), 0, BRIGHTEST)
    # Fireflies: stray paths that reached a lamp by a mirror are brighter than a real one-pixel glint.
    around = float32(cv2.medianBlur(image, 3)).reshape(image.shape)
    glint = CLEAR_GLINT if any(thing.matter.clear for thing in stage.things) else GLINT
    return calmed(np.minimum(image, glint * around + np.float32(0.1 * float(image.mean()))))


def calmed(light: Array) -> Array:
    """Return linear light [h, w, c] with less path-tracing grain and edges preserved (non-local means).

    The sensor model adds its own noise later; the path tracer's grain would be extra noise that no camera has.
    """
    white = max(float(np.percentile(light, 99.5)) * 1.2, 1e-6)
    shown = np.power(np.clip(light / white, 0, 1), 1 / 2.2) * 255
    levels = np.ascontiguousarray(shown.astype(np.uint8))
    # Estimate the grain from second differences of neighbours (Immerkær 1996); the median ignores edges.
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
    grain = float(np.median(np.abs(cv2.filter2D(shown.mean(2).astype(np.float32), -1, kernel)))) / 0.6745 / 6
    strength = min(GRAIN_REMOVED * grain, 25.0)
    if strength < 0.5:
        return light
    if light.shape[2] == 3:
        smooth = cv2.fastNlMeansDenoisingColored(levels, None, strength, strength, 3, 11)
    else:
        smooth = cv2.fastNlMeansDenoising(levels, None, strength, 3, 11)
    back = np.power(float32(smooth).reshape(light.shape) / 255, 2.2) * np.float32(white)
    return np.where(light < white, back, light).astype(np.float32)


def distances(things: tuple[Thing, ...], window: Window) -> tuple[Array, NDArray[np.int64]]:
    """Return the distance along the optical axis of the first surface at each pixel's centre, mm [h, w], 0 for none,
    and the index of its thing in ``things``, -1 for none. Transparent panes do not count."""
    seen = [(k, t) for k, t in enumerate(things) if t.matter.opacity is None and not t.matter.clear]
    return z_buffer([(k, present(t)) for k, t in seen], window)


def _scene(mi: Any, stage: Stage, window: Window, band: Band) -> dict[str, Any]:
    flash_only = stage.flash is not None and band == "ir" and not stage.lamps
    scene: dict[str, Any] = {
        "type": "scene",
        "integrator": {
            "type": "volpath",
            "max_depth": DEPTH_FROM_FLASH if flash_only else DEPTH_OF_PATHS,
            "rr_depth": 8,
        },
        "sensor": _sensor(mi, window, band),
    }
    scene |= _meshes(mi, stage.things, band)
    if stage.flash is not None and flash_only:
        lit = [(_pane(_as_lamp(stage.flash)), (0.0, 0.0, 0.0, stage.flash.radiance), 1.0)]
    else:
        # The surroundings are a box of fixed size, not an infinite environment, so that they are a lamp like all
        # others. The number of lamps is always the same, as that of meshes is (see `_meshes`).
        unlit = Lamp((0.0, 9000.0, 0.0), (0.0, 0.0, 0.0), (1.0, 1.0), (0.0,) * 4)
        lamps = [*stage.lamps, *([unlit] * (LAMPS - len(stage.lamps)))]
        shares = _shares(stage.ambient, lamps, band)
        lit = [(_box(), stage.ambient, shares[0])]
        lit += [(_pane(lamp), lamp.radiance, share) for lamp, share in zip(lamps, shares[1:], strict=True)]
    black = _material(mi, [Thing(lit[0][0], Matter((0.0,) * 4))], band)[0]
    for k, (part, radiance, share) in enumerate(lit):
        shown = np.array(radiance[:3] if band == "rgb" else radiance[3:], np.float32)
        scene[f"lamp{k}"] = _mesh(mi, part, _from_top(part.uv), black, _lamp(mi, np.tile(shown, (2, 2, 1)), share))
    return scene


def _meshes(mi: Any, things: Sequence[Thing], band: Band) -> dict[str, Any]:
    """Return the things as three meshes: those that let no light through, the others, and those that emit light.

    The number of meshes and materials is compiled into the kernel, so it is the same in every scene. In place of a mesh
    without things there is an invisible speck.
    """
    dark, speck = (0.1,) * 4, plate((1.0, 1.0)).moved(np.eye(3, dtype=np.float32), np.array([0, -9500, 0], np.float32))
    kinds: dict[str, list[Thing]] = {"solid": [], "masked": [], "shining": []}
    for thing in things:
        matter = thing.matter
        masked = matter.alpha is not None or matter.opacity is not None
        kinds["shining" if matter.emission is not None else "masked" if masked else "solid"].append(thing)
    solid = kinds["solid"] or [Thing(speck, Matter(dark))]
    masked_things = kinds["masked"] or [Thing(speck, Matter(dark, opacity=(1.0, 1.0)))]
    shining = kinds["shining"] or [Thing(speck, Matter(dark, emission=np.zeros((2, 2, 3), np.float32)))]
    if len(shining) > 1:
        raise ValueError(f"a scene has at most one thing that emits light, not {len(shining)}")
    meshes = {}
    for name, merged in (("solid", solid), ("masked", masked_things)):
        material, uv = _material(mi, merged, band)
        meshes[name] = _mesh(mi, joined([thing.part for thing in merged]), uv, material)
    (screen,) = shining
    light = None
    if band == "rgb":
        assert screen.matter.emission is not None
        shown = screen.matter.emission.astype(np.float32)
        light = _lamp(mi, shown, SCREEN_SHARE if float(shown.max()) > 0 else 0.0)
    # The picture on a screen needs the texture coordinates of its own, so the rest of it is of one colour.
    plain = replace(screen.matter, albedo=_mean_colour(screen.matter))
    material, _ = _material(mi, [Thing(screen.part, plain)], band)
    meshes["shining"] = _mesh(mi, screen.part, _from_top(screen.part.uv), material, light)
    return meshes


def _mean_colour(matter: Matter) -> Bands:
    """Return the mean of an albedo over its texture."""
    if isinstance(matter.albedo, tuple):
        return matter.albedo
    r, g, b, ir = (float(v) for v in matter.albedo.reshape(-1, 4).mean(0))
    return r, g, b, ir


def _from_top(uv: Array) -> Array:
    """Return texture coordinates from the top left. Images start at the top here, V at the bottom."""
    return np.stack([uv[:, 0], 1 - uv[:, 1]], 1).astype(np.float32)


def _shares(ambient: Bands, lamps: list[Lamp], band: Band) -> list[float]:
    """Return the weights with which paths are sent to the surroundings and to each lamp.

    Each is roughly the share of light that the surroundings or the lamp give the subject.
    """

    def mean(bands: Bands) -> float:
        return float(np.mean(bands[:3])) if band == "rgb" else bands[3]

    weights = [np.pi * mean(ambient)]
    for lamp in lamps:
        away = np.array(lamp.at, np.float64)
        weights.append(mean(lamp.radiance) * 4 * lamp.half[0] * lamp.half[1] / max(float(away @ away), 1.0))
    total = sum(weights)
    # Even a weak lamp must get some paths.
    floors = [0.05 if w > 0 else 0.0 for w in weights]
    return [max(w / total, floor) if total > 0 else 1.0 for w, floor in zip(weights, floors, strict=True)]


def _lamp(mi: Any, radiance: Array, share: float) -> Any:
    """Return a lamp with a texture [h, w, c] as radiance, so that no value of it is compiled into the kernel.

    ``share``: weight with which paths are sent to the lamp.
    """
    return mi.load_dict({"type": "area", "radiance": _texture(mi, radiance), "sampling_weight": share})


@functools.cache
def _box() -> FigurePart:
    """Return the box around the scene; its walls face inwards."""
    far = np.float32(11000)
    sides = []
    for axis in range(3):
        for sign in (-1, 1):
            inward = np.zeros(3, np.float32)
            inward[axis] = -sign
            turn = facing(inward)
            side = plate((float(far), float(far))).moved(turn, -inward * far)
            # The renderer picks a point on the texture and sends a path to the surface there, so each side needs a part
            # of the texture of its own.
            cell = np.array([axis / 3, 0 if sign < 0 else 0.5], np.float32)
            part_of_texture: Array = (side.uv * np.array([1 / 3, 1 / 2], np.float32) + cell).astype(np.float32)
            sides.append(replace(side, uv=part_of_texture))
    return joined(sides)


def _as_lamp(flash: Flash) -> Lamp:
    """Return the flash as a square lamp of the disc's area."""
    x, y, z = flash.at
    edge = flash.radius * math.sqrt(math.pi) / 2
    return Lamp(flash.at, (x, y, z - 1), (edge, edge), (0.0, 0.0, 0.0, flash.radiance))


def _pane(lamp: Lamp) -> FigurePart:
    """Return a lamp's rectangle."""
    way = np.array(lamp.to, np.float32) - np.array(lamp.at, np.float32)
    return plate(lamp.half).moved(facing(way / np.linalg.norm(way)), np.array(lamp.at, np.float32))


def _sensor(mi: Any, window: Window, band: Band) -> dict[str, Any]:
    transform = mi.ScalarTransform4f()
    x, y, z = window.at
    return {
        "type": "perspective",
        "fov_axis": "x",
        "fov": 2 * math.degrees(math.atan(window.width / 2 / window.focal)),
        # Mitsuba measures from the axis to the image centre.
        "principal_point_offset_x": (window.width / 2 - window.middle[0]) / window.width,
        "principal_point_offset_y": (window.height / 2 - window.middle[1]) / window.height,
        "near_clip": 1.0,
        "far_clip": 40000.0,
        "to_world": transform.look_at(origin=[x, y, z], target=[x, y, z - 1], up=[0, 1, 0]),
        "film": {
            "type": "hdrfilm",
            "width": window.width,
            "height": window.height,
            "rfilter": {"type": "box"},
            "pixel_format": "rgb" if band == "rgb" else "luminance",
        },
        "sampler": {"type": "independent"},
    }


def _mesh(mi: Any, part: FigurePart, uv: Array, material: Any, lamp: Any = None) -> Any:
    """Return a mesh with texture coordinates ``uv`` from the top left."""
    properties = mi.Properties()
    properties["bsdf"] = material
    if lamp is not None:
        properties["emitter"] = lamp
    mesh = mi.Mesh(
        "mesh",
        vertex_count=len(part.vertices),
        face_count=len(part.triangles),
        has_vertex_normals=True,
        has_vertex_texcoords=True,
        props=properties,
    )
    data = mi.traverse(mesh)
    data["vertex_positions"] = np.ascontiguousarray(part.vertices, np.float32).ravel()
    data["vertex_normals"] = np.ascontiguousarray(part.normals, np.float32).ravel()
    data["vertex_texcoords"] = np.ascontiguousarray(uv, np.float32).ravel()
    data["faces"] = part.triangles.astype(np.uint32).ravel()
    data.update()
    return mesh


def _material(mi: Any, things: Sequence[Thing], band: Band) -> tuple[Any, Array]:
    """Return one material for all ``things``, and the texture coordinates of their vertices [n, 2]."""
    atlas = atlas_of(things, band)
    surface: dict[str, Any] = {
        "type": "twosided",
        "inner": {
            "type": "principled",
            "base_color": _texture(mi, atlas.colour),
            "roughness": _texture(mi, atlas.roughness, smooth=False),
            "metallic": _texture(mi, atlas.metallic, smooth=False),
            "specular": 0.5,
        },
    }
    if atlas.opacity is not None:
        surface = {"type": "mask", "opacity": _texture(mi, atlas.opacity), "inner": surface}
    return mi.load_dict(surface), atlas.uv


def _texture(mi: Any, array: Array, *, smooth: bool = True) -> Any:
    """Return an array [h, w, c] as a texture. ``smooth``: whether it is interpolated between pixels."""
    bitmap = mi.Bitmap(np.ascontiguousarray(array, np.float32))
    filtered = "bilinear" if smooth else "nearest"
    return mi.load_dict({"type": "bitmap", "bitmap": bitmap, "raw": True, "filter_type": filtered})
