"""The meshes of a person with an expression: skin, eyes, teeth, brows, lashes, hair, clothes.

Axes: x to the image's right as seen from the front, y up, z out of the face, in millimetres, with the origin midway
between the eyes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from synthetic.arrays import Array
from synthetic.people.head import Expression
from synthetic.people.makehuman.files import Indices, ObjMesh
from synthetic.people.makehuman.head_shape import analytic, reshaped, scanned
from synthetic.people.makehuman.library import Library, LoadedProxy
from synthetic.people.makehuman.person import Person

TO_MM = 100.0
"""Millimetres per decimetre."""
BELOW_MM = -480.0
"""Everything lower is outside every image."""
EYES = (("helper-l-eye", 1), ("helper-r-eye", -1))
UNITS = "expression/units"
LANDMARKS = {"nose": [297], "mouth": [467, 495], "chin": [732], "crown": [882], "glabella": [169]}
"""Vertices of the base mesh."""


@dataclass(frozen=True, slots=True)
class FigurePart:
    """A mesh ready to render. ``vertices`` and ``normals`` float32 [n, 3], ``uv`` float32 [n, 2] V upwards,
    ``triangles`` int64 [m, 3]."""

    vertices: Array
    normals: Array
    uv: Array
    triangles: Indices

    def moved(self, turn: Array, shift: Array) -> FigurePart:
        """Return the part rotated by a matrix [3, 3], then moved by [3]."""
        return replace(
            self,
            vertices=(self.vertices @ turn.T + shift).astype(np.float32),
            normals=(self.normals @ turn.T).astype(np.float32),
        )

    def pushed(self, millimetres: float | Array) -> FigurePart:
        """Return the part moved along its normals."""
        return replace(self, vertices=(self.vertices + self.normals * np.float32(1) * millimetres).astype(np.float32))


@dataclass(frozen=True, slots=True)
class Eye:
    """An eyeball: ``centre`` [3] and ``radius`` mm; ``gaze`` the direction in which it looks [3]."""

    centre: Array
    radius: float
    gaze: Array


@dataclass(frozen=True, slots=True)
class Figure:
    """A person's parts. ``landmarks``: name → [3], see `LANDMARKS`, and the eyes."""

    person: Person
    skin: FigurePart
    eyes: tuple[Eye, Eye]
    teeth: FigurePart | None
    brows: FigurePart | None
    lashes: FigurePart | None
    hair: FigurePart | None
    clothes: FigurePart | None
    hat: FigurePart | None
    landmarks: dict[str, Array]


def strengths_of(person: Person, face: Expression) -> dict[str, float]:
    """Return strengths of a face's expression units, by name below ``expression/units/<ancestry>``."""
    closed = float(np.clip(0.8 * (1.0 - face.eyes), 0, 0.7))
    wide = float(np.clip((face.eyes - 1.0) * 4, 0, 0.5))
    found = {
        "mouth-corner-puller": 0.8 * face.smile,
        "mouth-elevation": 0.15 * face.smile,
        "mouth-open": 0.55 * face.open_mouth,
        "eye-left-closure": closed,
        "eye-right-closure": closed,
        "eye-left-opened-up": wide,
        "eye-right-opened-up": wide,
    }
    return {f"{UNITS}/{person.ancestry}/{name}": value for name, value in found.items() if value > 0}


def base_vertices(library: Library, person: Person, face: Expression | None) -> Array:
    """Return a person's base mesh in decimetres, float32 [n, 3]. Without ``face`` it has no expression."""
    vertices = _added(library, library.base.vertices.copy(), person.weights)
    if person.shape == "scan":
        vertices = reshaped(library, vertices, scanned(library, person.who.number))
    elif person.shape == "analytic":
        vertices = reshaped(library, vertices, analytic(library, person.who))
    if face is None:
        return vertices
    units = [(k, v) for k, v in strengths_of(person, face).items() if k in library.target_files]
    return _added(library, vertices, units)


def _added(library: Library, vertices: Array, weights: Iterable[tuple[str, float]]) -> Array:
    """Add morph targets to vertices in place."""
    for name, strength in weights:
        target = library.target(name)
        # A target names each vertex once, so plain addition is correct.
        vertices[target.at] += target.offset * np.float32(strength)
    return vertices


def figure_of(library: Library, person: Person, face: Expression, *, hat: str | None = None) -> Figure:
    """Build a person's meshes. ``hat``: a proxy of ``clothes`` worn on the head.

    Raises:
        MakeHumanError: one of the person's assets is missing or damaged.
    """
    base = base_vertices(library, person, face)
    still = base_vertices(library, person, None)
    balls = [still[library.base.corners[library.base.triangles[name]][:, :, 0].ravel()] for name, _ in EYES]
    centres = [(ball.min(0) + ball.max(0)) / 2 for ball in balls]
    origin = (centres[0] + centres[1]) / 2

    def ours(vertices: Array) -> Array:
        place: Array = ((vertices - origin) * np.float32(TO_MM)).astype(np.float32)
        return place

    def fitted(kind: str, name: str | None) -> tuple[FigurePart, LoadedProxy] | None:
        if name is None:
            return None
        worn = library.worn(kind, name)
        return part_of(worn.mesh, worn.mesh.all_triangles(), ours(worn.proxy.fit(base))), worn

    clothes = fitted("clothes", person.clothes)
    hidden = clothes[1].proxy.hidden if clothes else np.zeros(0, np.int64)
    vertices = ours(base)
    body = library.base.triangles["body"]
    owner = library.base.corners[:, 0]
    kept = ~np.isin(owner[body], hidden).all(1) & (vertices[owner[body], 1] > BELOW_MM).all(1)
    whole = part_of(library.base, body, vertices)
    skin = _only(whole, kept)
    mouth = [g for g in ("helper-upper-teeth", "helper-lower-teeth") if g in library.base.triangles]
    teeth = np.concatenate([library.base.triangles[g] for g in mouth]) if mouth else None
    eyes = tuple(
        Eye(
            centre=ours(centre[None])[0],
            radius=float(np.ptp(ball, 0).max() / 2 * TO_MM),
            gaze=_gaze(face),
        )
        for centre, ball in zip(centres, balls, strict=True)
    )
    hair = fitted("hair", person.hair)
    brows, lashes = fitted("eyebrows", person.brows), fitted("eyelashes", person.lashes)
    on_head = fitted("clothes", hat)
    return Figure(
        person=person,
        skin=skin,
        eyes=(eyes[0], eyes[1]),
        teeth=None if teeth is None else part_of(library.base, teeth, vertices),
        brows=brows[0] if brows else None,
        lashes=lashes[0] if lashes else None,
        hair=hair[0] if hair else None,
        clothes=clothes[0] if clothes else None,
        hat=on_head[0] if on_head else None,
        landmarks=_landmarks(ours(still), (eyes[0].centre, eyes[1].centre)),
    )


def _gaze(face: Expression) -> Array:
    """Return the direction of the eyes; the expression's gaze is in mm on the eyeball."""
    right, down = face.gaze
    direction = np.array([right / 12, -down / 12, 1.0], np.float32)
    gaze: Array = (direction / np.linalg.norm(direction)).astype(np.float32)
    return gaze


def _landmarks(still: Array, eyes: tuple[Array, Array]) -> dict[str, Array]:
    """Return landmarks of a face without expression [3]."""
    found = {name: still[at].mean(0).astype(np.float32) for name, at in LANDMARKS.items()}
    forward = np.array([0, 0, 12], np.float32)
    return {"left_eye": eyes[0] + forward, "right_eye": eyes[1] + forward, **found}


def part_of(mesh: ObjMesh, triangles: Indices, vertices: Array) -> FigurePart:
    """Return some triangles of a mesh at ``vertices`` [n, 3], with normals smooth across texture seams."""
    used, renumbered = np.unique(triangles, return_inverse=True)
    owner = mesh.corners[:, 0]
    normals = smooth_normals(vertices, owner[triangles])
    at = owner[used]
    return FigurePart(vertices[at], normals[at], mesh.uv[used], renumbered.reshape(-1, 3).astype(np.int64))


def smooth_normals(vertices: Array, triangles: Indices) -> Array:
    """Return unit normals at the vertices, float32 [n, 3], weighted by the triangles' areas."""
    a, b, c = (vertices[triangles[:, k]] for k in range(3))
    face = np.cross(b - a, c - a)
    corners = triangles.T.ravel()
    weights = np.tile(face, (3, 1))
    normals = np.stack([np.bincount(corners, weights[:, k], len(vertices)) for k in range(3)], 1)
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    unit: Array = (normals / np.maximum(length, 1e-12)).astype(np.float32)
    return unit


def _only(part: FigurePart, kept: np.ndarray) -> FigurePart:
    """Return some of a part's triangles; its vertices keep their order."""
    used, renumbered = np.unique(part.triangles[kept], return_inverse=True)
    return FigurePart(
        part.vertices[used], part.normals[used], part.uv[used], renumbered.reshape(-1, 3).astype(np.int64)
    )
