"""Face shapes from scans: the principal components of the ICT Face Model, supplied by the user.

The model (ICT-VGL/ICT-FaceKit, MIT licence, Li et al., "Learning Formation of Physically-Based Face Attributes",
CVPR 2020) is not part of this project. Two forms are read: the published folder ``FaceXModel`` of OBJ files, and a
single ``.npz`` with the same arrays. Lengths there are centimetres with y up and z out of the face.
"""

from __future__ import annotations

import functools
import hashlib
import os
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from synthetic.arrays import Array
from synthetic.mesh import Mesh, Topology

VARIABLE = "ADSN_FACE_MODEL"
KEPT = ((0, 11248), (13294, 14062), (21451, 24591))
"""Vertex ranges used from the published model: face, head and neck; eye sockets; eyeballs. The rest is teeth, gums,
lashes and fluids."""
EYES = ((12016, 13586, 1.0), (13586, 15156, -1.0))
"""Vertices of the left and the right eyeball among those kept, and their side of the image."""
OFFSET_MM = (0.0, 3.5, -110.0)
"""Offset from the model's origin to this project's: between eyes and mouth, at the foremost point without the nose."""
AXIS_Z, RADIUS = -90.0, 76.0
"""Paint is on an unrolled cylinder about this axis: near the middle of the face its millimetres are the face's."""
EYE_AT = (150.0, 0.0)
"""Position of the eyeballs' paint on the canvas, apart from the lids in front of them."""
MOUTH_AT = (150.0, 40.0)
NECK_MM = 140.0
EXPRESSIONS = (
    *(f"{name}_{side}" for name in ("mouthSmile", "cheekSquint", "eyeBlink", "eyeWide") for side in "LR"),
    *(f"eyeLook{way}_{side}" for way in ("In", "Out", "Up", "Down") for side in "LR"),
    "jawOpen",
)


class FaceModelError(ValueError):
    """The face model cannot be read."""


@dataclass(frozen=True, slots=True)
class FaceModel:
    """Scan-derived shapes. ``neutral`` float32 [n, 3] mm in this project's axes, ``identity`` [k, n * 3] one standard
    deviation each, ``expression`` name → [n, 3] at full strength."""

    neutral: Array
    identity: Array
    expression: dict[str, Array]
    topology: Topology
    sha256: str

    def shape(self, subject: int) -> Array:
        """Return the neutral face of a subject [n, 3]: components drawn from the model's own distribution."""
        rng = np.random.default_rng([0x5C, subject])
        # Clip at 2.5 deviations: beyond them the model extrapolates outside the scanned shapes.
        weights = np.clip(rng.standard_normal(len(self.identity)), -2.5, 2.5).astype(np.float32)
        found: Array = self.neutral + (weights @ self.identity).reshape(-1, 3)
        return found

    def posed(self, subject: int, strengths: dict[str, float]) -> Mesh:
        """Return a subject with an expression: ``strengths`` by name, 0 to 1."""
        vertices = self.shape(subject)
        for name, strength in strengths.items():
            if strength:
                vertices += self.expression[name] * np.float32(strength)
        return Mesh(vertices, self.topology)


def model_path(path: str | None = None) -> Path:
    """Return the face model's path: ``path``, else the value of the environment variable.

    Raises:
        FaceModelError: neither is given.
    """
    named = path or os.environ.get(VARIABLE)
    if not named:
        raise FaceModelError(
            f"scan-derived faces need the ICT Face Model. Set {VARIABLE} to its folder FaceXModel (OBJ files) or to an "
            ".npz with the same arrays; or use analytic shapes."
        )
    return Path(named)


def load(path: str | None = None) -> FaceModel:
    """Read the face model; the same file is read once.

    Raises:
        FaceModelError: it is missing, or is not that model; the message names the file.
    """
    found = model_path(path)
    try:
        stamp = max(file.stat().st_mtime_ns for file in ([found] if found.is_file() else sorted(found.iterdir())))
    except (OSError, ValueError) as error:
        raise FaceModelError(f"{found}: the face model cannot be read: {error}") from error
    return _load(found, stamp)


@functools.lru_cache(maxsize=2)
def _load(path: Path, stamp: int) -> FaceModel:
    arrays = _read_npz(path) if path.is_file() else _read_objects(path)
    neutral, identity = arrays["neutral"], arrays["identity"]
    if neutral.shape != (EYES[1][1], 3) or identity.shape[1:] != neutral.shape:
        raise FaceModelError(f"{path}: {neutral.shape[0]} vertices; the face model has {EYES[1][1]} of those used.")
    h = hashlib.sha256()
    for name in sorted(arrays):
        h.update(name.encode() + np.ascontiguousarray(arrays[name]).tobytes())
    ours = np.array([10, -10, 10], np.float32)
    vertices = neutral * ours + np.array(OFFSET_MM, np.float32)
    triangles = arrays["triangles"].astype(np.int64)[:, [0, 2, 1]]
    canvas = _canvas(vertices)
    vertices, canvas, triangles = _with_mouth(vertices, canvas, triangles)
    keep = _worth_drawing(vertices, triangles)
    used = np.unique(triangles[keep])
    number = np.full(len(vertices), -1, np.int64)
    number[used] = np.arange(len(used))

    def ready(offsets: Array) -> Array:
        return np.concatenate([offsets * ours, np.zeros((4, 3), np.float32)])[used]

    return FaceModel(
        neutral=vertices[used],
        identity=np.stack([ready(o).ravel() for o in identity.astype(np.float32)]),
        expression={name: ready(arrays[name]) for name in EXPRESSIONS if name in arrays},
        topology=Topology(number[triangles[keep]], canvas[used]),
        sha256=h.hexdigest(),
    )


def _canvas(vertices: Array) -> Array:
    """Return the paint position of each vertex of the mean face."""
    x, y, z = vertices.T
    u = np.clip(np.arctan2(x, z - np.float32(AXIS_Z)) * np.float32(RADIUS), -128, 128)
    canvas = np.stack([u, y], 1)
    for start, stop, _ in EYES:
        ball = vertices[start:stop]
        centre = (ball.min(0) + ball.max(0)) / 2
        canvas[start:stop] = ball[:, :2] - centre[:2] + np.array(EYE_AT, np.float32)
        # The back of the ball would overlap its front.
        canvas[start:stop][ball[:, 2] < centre[2]] = np.array([EYE_AT[0] + 14, EYE_AT[1]], np.float32)
    return canvas.astype(np.float32)


def _with_mouth(vertices: Array, canvas: Array, triangles: NDArray[np.int64]) -> tuple[Array, Array, NDArray[np.int64]]:
    """Add a dark pane behind the lips: without teeth and gums one would see through an open mouth."""
    n = len(vertices)
    pane = np.array([(x, y, -24.0) for x, y in ((-20, 30), (20, 30), (20, 72), (-20, 72))], np.float32)
    paint = np.tile(np.array(MOUTH_AT, np.float32), (4, 1))
    faces = np.array([(n, n + 1, n + 2), (n, n + 2, n + 3)], np.int64)
    return np.concatenate([vertices, pane]), np.concatenate([canvas, paint]), np.concatenate([triangles, faces])


def _worth_drawing(vertices: Array, triangles: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Select the triangles to draw: not the shoulders, which clothes cover, nor those facing away in every presented
    pose."""
    a, b, c = (vertices[triangles[:, k]] for k in range(3))
    normal = np.cross(b - a, c - a)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
    front: NDArray[np.bool_] = (normal[:, 2] > -0.9) & (np.maximum(np.maximum(a, b), c)[:, 1] < NECK_MM)
    return front


def _read_npz(path: Path) -> dict[str, NDArray[np.float32]]:
    try:
        with np.load(path, allow_pickle=False) as file:
            names = [str(name) for name in file["expression_names"]]
            expression = file["expression"].astype(np.float32)
            return {
                "neutral": file["neutral"].astype(np.float32),
                "identity": file["identity"].astype(np.float32),
                "triangles": file["triangles"].astype(np.int32),
                **{name: expression[names.index(name)] for name in EXPRESSIONS if name in names},
            }
    except (OSError, ValueError, KeyError) as error:
        raise FaceModelError(f"{path}: not the face model's arrays: {error}") from error


def _read_objects(folder: Path) -> dict[str, NDArray[np.float32]]:
    """Read the published folder: ``generic_neutral_mesh.obj``, ``identityNNN.obj`` and one file for each expression."""
    vertices, triangles = read_obj(folder / "generic_neutral_mesh.obj", faces=True)
    if len(vertices) < KEPT[-1][1]:
        raise FaceModelError(
            f"{folder}: {len(vertices)} vertices; the published face model has at least {KEPT[-1][1]}."
        )
    number = np.full(len(vertices), -1, np.int64)
    order = np.concatenate([np.arange(*span) for span in KEPT])
    number[order] = np.arange(len(order))
    renumbered = number[triangles]
    neutral = vertices[order]

    def offsets(path: Path) -> Array:
        found, _ = read_obj(path, faces=False)
        if found.shape != vertices.shape:
            raise FaceModelError(f"{path}: {len(found)} vertices, where the neutral face has {len(vertices)}.")
        difference: Array = found[order] - neutral
        return difference

    identities = sorted(folder.glob("identity[0-9][0-9][0-9].obj"))
    if not identities:
        raise FaceModelError(f"{folder}: no identity000.obj and so on; is this the folder FaceXModel?")
    return {
        "neutral": neutral,
        "identity": np.stack([offsets(path) for path in identities]),
        "triangles": renumbered[(renumbered >= 0).all(1)].astype(np.int32),
        **{name: offsets(folder / f"{name}.obj") for name in EXPRESSIONS if (folder / f"{name}.obj").exists()},
    }


def read_obj(path: Path, *, faces: bool) -> tuple[Array, NDArray[np.int64]]:
    """Return vertices [n, 3] and triangles [m, 3] (polygons as fans) of a Wavefront OBJ file.

    Raises:
        FaceModelError: it cannot be read, or a line is malformed; the message names file and line.
    """
    vertices: list[tuple[float, ...]] = []
    triangles: list[tuple[int, int, int]] = []
    try:
        lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    except OSError as error:
        raise FaceModelError(f"{path}: the face model's file cannot be read: {error.strerror}") from error
    for number, line in enumerate(lines, 1):
        try:
            if line.startswith("v "):
                x, y, z = (float(word) for word in line.split()[1:4])
                vertices.append((x, y, z))
            elif faces and line.startswith("f "):
                corners = [int(word.split("/")[0]) - 1 for word in line.split()[1:]]
                triangles += [(corners[0], b, c) for b, c in pairwise(corners[1:])]
        except ValueError as error:
            raise FaceModelError(f"{path}:{number}: not a line of an OBJ file: {line[:60]!r}") from error
    return np.array(vertices, np.float32).reshape(-1, 3), np.array(triangles, np.int64).reshape(-1, 3)
