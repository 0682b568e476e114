"""Renders a surface, a pose and lights to linear colour, infrared and depth, without a sensor model."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from synthetic.arrays import Array, float32
from synthetic.mesh import Mesh, rasterise, scatter
from synthetic.physics import flash_falloff
from synthetic.surface import Surface, mixed, power, spread

PIVOT_MM = 70.0
"""Distance of a head's pivot behind its foremost point."""
ITERATIONS = 4


@dataclass(frozen=True, slots=True)
class View:
    """A window on the image plane: ``scale`` pixels per mm at the subject, ``cx``/``cy`` the origin's position in
    pixels."""

    width: int
    height: int
    scale: float
    cx: float
    cy: float

    def millimetres(self) -> tuple[Array, Array]:
        """x [1, w] and y [h, 1] of the pixels in the subject's plane."""
        x = (np.arange(self.width, dtype=np.float32) - np.float32(self.cx)) / np.float32(self.scale)
        y = (np.arange(self.height, dtype=np.float32) - np.float32(self.cy)) / np.float32(self.scale)
        return x[None, :], y[:, None]


@dataclass(frozen=True, slots=True)
class Lights:
    """``ambient`` and ``lamps`` colour [4] (R, G, B, NIR); lamps with unit directions towards them. ``flash``: the
    infrared illuminator beside the lens, its irradiance at 500 mm."""

    ambient: Array
    lamps: tuple[tuple[Array, Array], ...]
    flash: float


@dataclass(slots=True)
class Layer:
    """One rendered thing in a view: ``light`` [h, w, 4] linear, ``depth`` mm [h, w], ``alpha`` [h, w] or [h, w, 4]."""

    light: Array
    depth: Array
    alpha: Array


def rotation(yaw: float, pitch: float, roll: float) -> Array:
    """Return the rotation matrix, float32 [3, 3], of angles in degrees; x right, y down, z to the camera."""
    a, b, c = (math.radians(v) for v in (yaw, pitch, roll))
    ry = np.array([[math.cos(a), 0, math.sin(a)], [0, 1, 0], [-math.sin(a), 0, math.cos(a)]])
    rx = np.array([[1, 0, 0], [0, math.cos(b), -math.sin(b)], [0, math.sin(b), math.cos(b)]])
    rz = np.array([[math.cos(c), -math.sin(c), 0], [math.sin(c), math.cos(c), 0], [0, 0, 1]])
    matrix: Array = (rz @ rx @ ry).astype(np.float32)
    return matrix


@dataclass(frozen=True, slots=True)
class ProjectedSurface:
    """A surface as seen by each pixel of a view: ``column`` and ``row`` on its grid, ``towards``: distance from the
    pivot towards the camera, mm, ``relief``: normal and sky visibility, [h, w, 4]. ``mask``: 1 on a mesh, None for a
    height field, which has its own alpha."""

    column: Array
    row: Array
    towards: Array
    relief: Array
    mask: Array | None


def project_surface(surface: Surface, turn: Array, view: View, pivot: float) -> ProjectedSurface:
    """Project a surface."""
    if isinstance(surface.relief, Mesh):
        return project_mesh(surface, surface.relief, turn, view, pivot)
    column, row, towards = unproject(surface, surface.relief, turn, view, pivot)
    edge = cv2.BORDER_CONSTANT
    maps = relief_maps(surface.relief, surface.pitch)
    relief = float32(cv2.remap(maps, column, row, cv2.INTER_LINEAR, borderMode=edge, borderValue=0))
    return ProjectedSurface(column, row, towards, relief, None)


def project_mesh(surface: Surface, mesh: Mesh, turn: Array, view: View, pivot: float) -> ProjectedSurface:
    """Project a mesh by z-buffer."""
    turned = (mesh.vertices + np.array([0, 0, pivot], np.float32)) @ turn.T
    points = turned * np.float32(view.scale)
    points[:, 0] += np.float32(view.cx)
    points[:, 1] += np.float32(view.cy)
    found = rasterise(points, mesh.topology.triangles, view.width, view.height)
    paint = (mesh.topology.canvas - np.array([surface.x0, surface.y0], np.float32)) / np.float32(surface.pitch)
    known = np.concatenate([paint, turned[:, 2:], mesh.topology.normals(mesh.vertices)], 1)
    maps = scatter(found, found.interpolate(known), view.width, view.height)
    mask = scatter(found, np.ones((len(found.pixel), 1), np.float32), view.width, view.height)[:, :, 0]
    towards = np.ascontiguousarray(maps[:, :, 2])
    # Find hollows in the visible surface only, not in the air around the head.
    reach = 7 * view.scale
    around = cv2.GaussianBlur(towards, (0, 0), reach) / np.maximum(cv2.GaussianBlur(mask, (0, 0), reach), 1e-3)
    openness = np.clip(1 - 0.11 * np.maximum(around - towards, 0), 0.3, 1).astype(np.float32)
    relief = float32(cv2.merge([*(np.ascontiguousarray(maps[:, :, k]) for k in (3, 4, 5)), openness]))
    return ProjectedSurface(
        np.ascontiguousarray(maps[:, :, 0]),
        np.ascontiguousarray(maps[:, :, 1]),
        towards,
        relief * spread(mask, 4),
        mask,
    )


def unproject(surface: Surface, height: Array, turn: Array, view: View, pivot: float) -> tuple[Array, Array, Array]:
    """Return column and row on the surface's grid for every pixel, and its point's distance towards the camera, mm.

    Solves turn · (u, v, z(u, v) + pivot) = (x, y, ·) by fixed-point iteration: z enters only through the turn's small
    off-axis terms, so four iterations are enough for the angles at which faces are presented.
    """
    x, y = view.millimetres()
    inverse = np.linalg.inv(turn[:2, :2]).astype(np.float32)
    bx, by = inverse @ turn[:2, 2]
    u0 = inverse[0, 0] * x + inverse[0, 1] * y
    v0 = inverse[1, 0] * x + inverse[1, 1] * y
    per = np.float32(1 / surface.pitch)
    z = np.full((view.height, view.width), pivot * 0.6, np.float32)
    column = row = z
    for _ in range(ITERATIONS):
        column = (u0 - bx * z - np.float32(surface.x0)) * per
        row = (v0 - by * z - np.float32(surface.y0)) * per
        z = float32(cv2.remap(height, column, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))
        z += np.float32(pivot)
    u, v = u0 - bx * z, v0 - by * z
    towards: Array = turn[2, 0] * u + turn[2, 1] * v + turn[2, 2] * z
    return column, row, towards


def relief_maps(h: Array, pitch: float) -> Array:
    """Return normals and sky visibility [h, w, 4] of a height field, on its own grid."""
    dx = cv2.Sobel(h, cv2.CV_32F, 1, 0, ksize=3, scale=1 / (8 * pitch))
    dy = cv2.Sobel(h, cv2.CV_32F, 0, 1, ksize=3, scale=1 / (8 * pitch))
    # Hollows get less of the room's light: nostrils, eye sockets, under the lip.
    hollow = cv2.GaussianBlur(h, (0, 0), 7 / pitch) - h
    inverse = 1 / np.sqrt(dx * dx + dy * dy + 1)
    openness = np.clip(1 - 0.11 * np.maximum(hollow, 0), 0.3, 1)
    return float32(cv2.merge([-dx * inverse, -dy * inverse, inverse, openness.astype(np.float32, copy=False)]))


def render_surface(
    surface: Surface, turn: Array, view: View, lights: Lights, distance: float, pivot: float = PIVOT_MM
) -> Layer:
    """Render a surface whose foremost point is ``distance`` mm away."""
    seen = project_surface(surface, turn, view, pivot)
    relief = seen.relief

    def sample(values: Array) -> Array:
        edge = cv2.BORDER_CONSTANT if seen.mask is None else cv2.BORDER_REPLICATE
        return float32(cv2.remap(values, seen.column, seen.row, cv2.INTER_LINEAR, borderMode=edge, borderValue=0))

    alpha = sample(surface.alpha)
    if seen.mask is not None:
        alpha *= seen.mask
    shape = alpha.shape[:2]
    albedo = sample(surface.albedo)

    def along(direction: Array) -> Array:
        """Return the cosine between the rotated normals and a direction [h, w]."""
        return mixed(relief, np.append(direction @ turn, 0).astype(np.float32)[None, :])

    openness = np.ascontiguousarray(relief[:, :, 3])
    depth = np.float32(distance + pivot) - seen.towards
    # Each light source gives an irradiance map; one product at the end mixes the colours.
    arriving = [openness]
    mirrored = []
    for direction, _ in lights.lamps:
        arriving.append(np.maximum(along(direction), 0) * openness)
        half = direction + np.array([0, 0, 1], np.float32)
        mirrored.append(power(along(half / np.linalg.norm(half)), surface.shine))
    colours = [lights.ambient, *(colour for _, colour in lights.lamps)]
    lit = mixed(float32(cv2.merge(arriving)), np.stack(colours, 1))
    facing = np.maximum(along(np.array([0, 0, 1], np.float32)), 0)
    flash = flash_falloff(depth, 500.0) * np.float32(lights.flash)
    lit[:, :, 3] += flash * facing
    gloss = np.array([*[surface.gloss[0]] * 3, surface.gloss[1]], np.float32)
    shine = mixed(float32(cv2.merge(mirrored)), np.stack(colours[1:], 1) * gloss[:, None])
    shine[:, :, 3] += flash * power(facing, surface.shine * 3) * gloss[3]
    for channels, reach in ((slice(0, 3), surface.diffusion[0]), (slice(3, 4), surface.diffusion[1])):
        if reach * view.scale > 0.4:
            part = cv2.GaussianBlur(np.ascontiguousarray(lit[:, :, channels]), (0, 0), reach * view.scale)
            lit[:, :, channels] = part.reshape(*shape, -1)
    light = albedo
    light *= lit
    light += shine
    if surface.emission is not None:
        light[:, :, :3] += sample(surface.emission)
    return Layer(light, depth, alpha)


def over(below: Layer, top: Layer, rows: slice = slice(None)) -> Layer:
    """Composite ``top`` over ``below`` in place; ``rows``: rows of ``top`` if it covers only those.

    Depth does not blend: each pixel takes the distance of one of the two.
    """
    light = below.light[rows]
    alpha = top.alpha if top.alpha.ndim == 3 else spread(top.alpha, 4)
    light += alpha * (top.light - light)
    np.copyto(below.depth[rows], top.depth, where=alpha[:, :, 0] > 0.5)
    return below


def flat_layer(alpha: Array, albedo: Array, shade: Array, lights: Lights, distance: float) -> Layer:
    """Return a plain layer facing the camera: ``albedo`` [4] or [h, w, 4], ``shade`` [h, w] multiplies its light."""
    total = lights.ambient + sum((colour * np.float32(0.5) for _, colour in lights.lamps), np.zeros(4, np.float32))
    total = total.astype(np.float32)
    total[3] += lights.flash * (500.0 / distance) ** 2
    if albedo.ndim == 1:
        light = mixed(np.ascontiguousarray(shade, np.float32), (albedo * total)[:, None])
    else:
        light = spread(shade, 4) * (albedo * total)
    return Layer(
        light,
        np.full(alpha.shape, distance, np.float32),
        alpha,
    )


def vignette_map(view: View, strength: float, whole: tuple[float, float, float]) -> Array:
    """Return the fall-off towards the corners [h, w]; ``whole``: centre x, y and half diagonal of the full frame, in
    view pixels."""
    cx, cy, reach = whole
    x = (np.arange(view.width, dtype=np.float32) - np.float32(cx)) / np.float32(reach)
    y = (np.arange(view.height, dtype=np.float32) - np.float32(cy)) / np.float32(reach)
    out: NDArray[np.float32] = 1 - np.float32(strength) * (np.square(x)[None, :] + np.square(y)[:, None])
    return np.maximum(out, np.float32(0.2))
