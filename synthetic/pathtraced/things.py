"""Renderer-independent parts of a scene: meshes with matter, lamps, and cameras."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from synthetic.arrays import Array
from synthetic.people.makehuman.figure import FigurePart

NECK = (0.0, -40.0, -60.0)
"""The point about which a head turns, in a figure's axes."""
Bands = tuple[float, float, float, float]
"""Red, green, blue and infrared."""


@dataclass(frozen=True, slots=True)
class Matter:
    """Material of a surface.

    ``albedo``: reflectance in R, G, B and infrared, linear: one colour, or a texture [h, w, 4]. ``alpha`` [h, w]: mask
    of the matter. ``opacity``: share of light stopped or mirrored in the visible and the infrared; the rest passes
    without refraction. ``emission`` [h, w, 3]: visible radiance; nothing here shines at 850 nm. ``clear``: depth
    cameras see through it.
    """

    albedo: Bands | Array
    roughness: float = 0.6
    metallic: float = 0.0
    alpha: Array | None = None
    opacity: tuple[float, float] | None = None
    emission: Array | None = None
    clear: bool = False


@dataclass(frozen=True, slots=True)
class Thing:
    """A mesh with its matter. ``role``: ``person``, ``instrument``, ``worn`` or ``place``; ``attack``: it is the
    attack, where a living face is also before the cameras."""

    part: FigurePart
    matter: Matter
    role: str = "place"
    attack: bool = False


@dataclass(frozen=True, slots=True)
class Lamp:
    """A luminous rectangle of half sizes ``half`` mm at ``at``, facing ``to``. ``radiance`` in R, G, B, infrared."""

    at: tuple[float, float, float]
    to: tuple[float, float, float]
    half: tuple[float, float]
    radiance: Bands


@dataclass(frozen=True, slots=True)
class Flash:
    """The infrared illuminator: a disc of ``radius`` mm at ``at``, facing along -z."""

    at: tuple[float, float, float]
    radius: float
    radiance: float


@dataclass(frozen=True, slots=True)
class Stage:
    """A scene. ``ambient``: radiance of the background, R, G, B and infrared."""

    things: tuple[Thing, ...]
    lamps: tuple[Lamp, ...]
    flash: Flash | None
    ambient: Bands


@dataclass(frozen=True, slots=True)
class Window:
    """A rectangular part of a camera's image.

    ``at``: the lens; the camera looks along -z with y up. ``focal``: pixels of this image per unit of tangent.
    ``middle``: where the optical axis meets the image, in pixels from the left and the top.
    """

    at: tuple[float, float, float]
    width: int
    height: int
    focal: float
    middle: tuple[float, float] = field(default=(0.0, 0.0))

    def project(self, points: Array) -> Array:
        """Return the image coordinates of points [n, 3], pixels [n, 2]."""
        away = np.asarray(points, np.float32) - np.array(self.at, np.float32)
        scale = self.focal / -away[:, 2]
        return np.stack([self.middle[0] + away[:, 0] * scale, self.middle[1] - away[:, 1] * scale], 1)


def present(thing: Thing) -> FigurePart:
    """Return a thing's mesh without the triangles that its mask cuts away."""
    alpha, part = thing.matter.alpha, thing.part
    if alpha is None:
        return part
    corners = part.uv[part.triangles]
    at = np.concatenate([corners, corners.mean(1, keepdims=True)], 1) % 1.0
    rows = np.minimum((1 - at[:, :, 1]) * alpha.shape[0], alpha.shape[0] - 1).astype(np.int64)
    columns = np.minimum(at[:, :, 0] * alpha.shape[1], alpha.shape[1] - 1).astype(np.int64)
    return replace(part, triangles=part.triangles[(alpha[rows, columns] > 0.5).any(1)])


def plate(
    half: tuple[float, float], columns: int = 2, rows: int = 2, *, curl: float = 0.0, axis: float = 0.0
) -> FigurePart:
    """Return a sheet in the x-y plane, facing +z, bent back by ``curl`` per mm² across ``axis`` (radians)."""
    x, y = np.meshgrid(np.linspace(-1, 1, columns), np.linspace(1, -1, rows))
    u, v = (x.ravel() + 1) / 2, (y.ravel() + 1) / 2
    px, py = x.ravel() * half[0], y.ravel() * half[1]
    across = px * np.cos(axis) + py * np.sin(axis)
    slope = 2 * curl * across
    normals = np.stack([slope * np.cos(axis), slope * np.sin(axis), np.ones_like(px)], 1)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    k = np.arange(columns * rows).reshape(rows, columns)
    a, b, c, d = k[:-1, :-1].ravel(), k[1:, :-1].ravel(), k[1:, 1:].ravel(), k[:-1, 1:].ravel()
    return FigurePart(
        vertices=np.stack([px, py, -curl * across**2], 1).astype(np.float32),
        normals=normals.astype(np.float32),
        uv=np.stack([u, v], 1).astype(np.float32),
        triangles=np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)]).astype(np.int64),
    )


def tube(path: Array, radius: float | Array, *, closed: bool, sides: int = 8) -> FigurePart:
    """Return a tube along points [n, 3]; ``radius``: one, or one for each point [n]."""
    n = len(path)
    along = np.roll(path, -1, 0) - np.roll(path, 1, 0) if closed else np.gradient(path, axis=0)
    along = along / np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
    up = np.where(np.abs(along[:, 2:]) > 0.8, [[0.0, 1.0, 0.0]], [[0.0, 0.0, 1.0]])
    first = np.cross(along, up)
    first /= np.maximum(np.linalg.norm(first, axis=1, keepdims=True), 1e-9)
    second = np.cross(along, first)
    angle = np.linspace(0, 2 * np.pi, sides, endpoint=False)
    normals = np.cos(angle)[None, :, None] * first[:, None] + np.sin(angle)[None, :, None] * second[:, None]
    vertices = path[:, None] + np.broadcast_to(radius, n)[:, None, None] * normals
    rings = n if closed else n - 1
    i, j = np.meshgrid(np.arange(rings), np.arange(sides), indexing="ij")
    a, b = i * sides + j, ((i + 1) % n) * sides + j
    c, d = ((i + 1) % n) * sides + (j + 1) % sides, i * sides + (j + 1) % sides
    triangles = np.concatenate(
        [np.stack([a.ravel(), b.ravel(), c.ravel()], 1), np.stack([a.ravel(), c.ravel(), d.ravel()], 1)]
    )
    flat = vertices.reshape(-1, 3).astype(np.float32)
    return FigurePart(
        flat, normals.reshape(-1, 3).astype(np.float32), np.full((len(flat), 2), 0.5, np.float32), triangles
    )


def joined(parts: list[FigurePart]) -> FigurePart:
    """Return several parts merged into one."""
    starts = np.cumsum([0, *(len(p.vertices) for p in parts[:-1])])
    return FigurePart(
        np.concatenate([p.vertices for p in parts]),
        np.concatenate([p.normals for p in parts]),
        np.concatenate([p.uv for p in parts]),
        np.concatenate([p.triangles + s for p, s in zip(parts, starts, strict=True)]),
    )


def facing(direction: Array) -> Array:
    """Return a rotation [3, 3] that takes z to a unit direction and keeps x level."""
    level = np.array([0, 1, 0], np.float32) if abs(float(direction[1])) < 0.99 else np.array([0, 0, -1], np.float32)
    right = np.cross(level, direction)
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(direction, right), direction], 1).astype(np.float32)
