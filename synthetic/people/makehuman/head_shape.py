"""Head shapes of MakeHuman people from the project's other sources: scans and analytic heads.

MakeHuman's mesh is moved onto the other head, so skin, eyes, hair, brows and clothes fit all three sources alike. The
scan-derived mean face is registered once; a person then gets the scan model's own offsets at the nearest points.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synthetic.arrays import Array
from synthetic.people import scan
from synthetic.people.head import Expression
from synthetic.people.head import relief as analytic_relief
from synthetic.people.identity import Identity
from synthetic.people.makehuman.library import Library

TO_MM = 100.0
"""Millimetres per decimetre."""
HEAD_MM, ASIDE_MM = -165.0, 120.0
"""Vertices above this height and within this width belong to the head and neck; heights are from the eyes."""
FADE_MM = (-112.0, -150.0)
"""Between these heights the other head turns into MakeHuman's neck."""
LID_MM = (15.0, 30.0)
"""Up to the first distance from an eye's centre everything moves with the eyeball; from the second on nothing does."""
EYE_SURFACE_MM = 13.0
SPREADS_MM = (28.0, 18.0, 12.0, 9.0)
"""Reach of each registration step's smoothing."""
FARTHEST_MM = 16.0
MEAN = {
    **{f"macrodetails/{a}-{s}-young": 1 / 6 for a in ("african", "asian", "caucasian") for s in ("male", "female")},
    **{f"macrodetails/universal-{s}-young-averagemuscle-averageweight": 1 / 2 for s in ("male", "female")},
}
"""Weights of the mean person."""


@dataclass(frozen=True, slots=True, eq=False)
class MeanHead:
    """The mean person's head. ``rows``: its vertices of the base mesh [n]; ``points`` mm from between the eyes [n, 3];
    ``skin``: whether a vertex belongs to the body, not to a helper mesh [n]; ``normals`` [n, 3]."""

    rows: NDArray[np.int64]
    points: Array
    skin: NDArray[np.bool_]
    normals: Array
    eyes: Array


@dataclass(frozen=True, slots=True, eq=False)
class Registration:
    """MakeHuman's mean head on the scan model's. ``points`` [n, 3]; ``nearest`` [n, 4] vertices of the scan model and
    their ``weights``; ``balls``: the vertices of its two eyeballs, at the image's right and left."""

    points: Array
    nearest: NDArray[np.int64]
    weights: Array
    balls: tuple[NDArray[np.int64], NDArray[np.int64]]


def eye_centres(library: Library, vertices: Array) -> Array:
    """Return the centres of the eyeballs [2, 3], in the units of ``vertices``."""
    base = library.base
    owner = base.corners[:, 0]
    balls = [vertices[owner[base.triangles[name]].ravel()] for name in ("helper-l-eye", "helper-r-eye")]
    return np.stack([(ball.min(0) + ball.max(0)) / 2 for ball in balls])


@functools.lru_cache(maxsize=2)
def mean_head(library: Library) -> MeanHead:
    """Return the mean person's head."""
    vertices = library.base.vertices.copy()
    for name, weight in MEAN.items():
        if name in library.target_files:
            target = library.target(name)
            vertices[target.at] += target.offset * np.float32(weight)
    centres = eye_centres(library, vertices)
    points = (vertices - centres.mean(0)) * np.float32(TO_MM)
    rows = np.flatnonzero((points[:, 1] > HEAD_MM) & (np.abs(points[:, 0]) < ASIDE_MM))
    owner = library.base.corners[:, 0]
    body = owner[library.base.triangles["body"]]
    skin = np.zeros(len(points), bool)
    skin[body.ravel()] = True
    normals = _normals(points, body)
    eyes = (centres - centres.mean(0)) * np.float32(TO_MM)
    return MeanHead(rows, points[rows], skin[rows], normals[rows], eyes.astype(np.float32))


def _normals(points: Array, triangles: NDArray[np.int64]) -> Array:
    a, b, c = (points[triangles[:, k]] for k in range(3))
    face = np.cross(b - a, c - a)
    total = np.stack([np.bincount(triangles.T.ravel(), np.tile(face[:, k], 3), len(points)) for k in range(3)], 1)
    unit: Array = (total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-9)).astype(np.float32)
    return unit


def _spread(at: Array, moves: Array, points: Array, reach: float) -> Array:
    """Return moves [k, 3], known at ``at``, at other points [n, 3], smoothed over ``reach`` mm."""
    out = np.empty((len(points), 3), np.float32)
    for start in range(0, len(points), 1024):
        part = points[start : start + 1024]
        distance = np.square(part).sum(1)[:, None] + np.square(at).sum(1)[None] - 2 * part @ at.T
        # Far from every known point, the nearest ones decide.
        distance -= distance.min(1, keepdims=True)
        weight = np.exp(-distance / (2 * reach**2))
        out[start : start + 1024] = weight @ moves / weight.sum(1, keepdims=True)
    return out


def _nearest(points: Array, among: Array, count: int) -> tuple[NDArray[np.int64], Array]:
    """Return the ``count`` nearest of ``among`` to each point [n, count], and their distances."""
    rows, away = [], []
    for start in range(0, len(points), 1024):
        part = points[start : start + 1024]
        distance = np.square(part).sum(1)[:, None] + np.square(among).sum(1)[None] - 2 * part @ among.T
        best = distance.argmin(1)[:, None] if count == 1 else np.argpartition(distance, count - 1, axis=1)[:, :count]
        rows.append(best)
        away.append(np.take_along_axis(distance, best, 1))
    return np.concatenate(rows), np.sqrt(np.maximum(np.concatenate(away), 0)).astype(np.float32)


def _rigid_lids(points: Array, eyes: Array, moves: Array, eye_moves: Array) -> Array:
    """Return moves [n, 3] that carry lids with their eyeballs."""
    out = moves.copy()
    for eye, move in zip(eyes, eye_moves, strict=True):
        away = np.linalg.norm(points - eye, axis=1)
        free = np.clip((away - LID_MM[0]) / (LID_MM[1] - LID_MM[0]), 0, 1)[:, None]
        free = free * free * (3 - 2 * free)
        out = move + free * (out - move)
    return out.astype(np.float32)


def _anchors(head: MeanHead) -> NDArray[np.int64]:
    """Return the vertices by which heads are matched: outer skin of the face, without lids."""
    away = np.min([np.linalg.norm(head.points - eye, axis=1) for eye in head.eyes], axis=0)
    outer = head.skin & (head.normals[:, 2] > 0.1) & (head.points[:, 2] > -45) & (np.abs(head.points[:, 0]) < 68)
    return np.flatnonzero(outer & (away > 18) & (head.points[:, 1] > -125))


def _scan_points(model: scan.FaceModel, shape: Array) -> tuple[Array, tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Return a scan-derived face in MakeHuman's axes [n, 3] from between its eyes, and the vertices of the eyeballs."""
    canvas = model.topology.canvas
    ball = (canvas[:, 0] > scan.EYE_AT[0] - 16) & (canvas[:, 1] < (scan.EYE_AT[1] + scan.MOUTH_AT[1]) / 2)
    right, left = (np.flatnonzero(ball & (side * model.neutral[:, 0] > 0)) for side in (1, -1))
    points = shape * np.array([1, -1, 1], np.float32)
    return points, (right, left)


def _ball_centre(points: Array) -> Array:
    # Only the front of an eyeball is kept: its widest place gives x and y, its front the depth.
    low, high = points.min(0), points.max(0)
    radius = float(high[0] - low[0]) / 2
    return np.array([(low[0] + high[0]) / 2, (low[1] + high[1]) / 2, high[2] - radius], np.float32)


def _model(library: Library) -> scan.FaceModel:
    assert library.face_model is not None, "scan-derived shapes are drawn only with a face model"
    return library.face_model


@functools.lru_cache(maxsize=2)
def registration(library: Library) -> Registration:
    """Register MakeHuman's mean head on the face model's mean: nearest points, ever less smoothed."""
    model = _model(library)
    head = mean_head(library)
    mean, balls = _scan_points(model, model.neutral)
    centres = np.stack([_ball_centre(mean[b]) for b in balls])
    mean = mean - centres.mean(0)
    outside = np.ones(len(mean), bool)
    outside[np.concatenate(balls)] = False
    outside &= model.topology.canvas[:, 0] < scan.EYE_AT[0] - 16
    surface = np.flatnonzero(outside)
    facing = model.topology.normals(model.neutral)[surface] * np.array([1, -1, 1], np.float32)
    anchors = _anchors(head)
    points = head.points.copy()
    eye_moves = (centres - centres.mean(0))[[0, 1]] - head.eyes
    for reach in SPREADS_MM:
        here = points[anchors]
        row, away = _nearest(here, mean[surface], 1)
        found, normal = mean[surface][row[:, 0]], facing[row[:, 0]]
        matched = (away[:, 0] < FARTHEST_MM) & ((normal * head.normals[anchors]).sum(1) > 0.5)
        # Points may slide along the surface: only the distance from it counts.
        step = ((found - here) * normal).sum(1, keepdims=True) * normal
        moves = _spread(head.points[anchors][matched], step[matched].astype(np.float32), head.points, reach)
        points = points + moves
    moved = _rigid_lids(head.points, head.eyes, points - head.points, eye_moves)
    points = head.points + moved
    # The scan model's offsets are smooth: every third of its vertices will do.
    surface = surface[::3]
    nearest, away = _nearest(points, mean[surface], 4)
    weights = 1 / np.maximum(away, 0.5)
    weights = (weights / weights.sum(1, keepdims=True)).astype(np.float32)
    return Registration(points, surface[nearest], weights, balls)


@functools.lru_cache(maxsize=64)
def scanned(library: Library, subject: int) -> Array:
    """Return the head of a scan-derived subject at the vertices of `mean_head` [n, 3], mm from between its eyes."""
    head, fit, model = mean_head(library), registration(library), _model(library)
    offset = (model.shape(subject) - model.neutral) * np.array([1, -1, 1], np.float32)
    moves = (offset[fit.nearest] * fit.weights[:, :, None]).sum(1)
    eye_moves = np.stack([offset[ball].mean(0) for ball in fit.balls])
    moved = _rigid_lids(fit.points, head.eyes, moves, eye_moves)
    centred: Array = (fit.points + moved - eye_moves.mean(0)).astype(np.float32)
    return centred


@functools.lru_cache(maxsize=64)
def analytic(library: Library, who: Identity) -> Array:
    """Return an analytic head at the vertices of `mean_head` [n, 3], mm from between its eyes: its proportions, and
    its relief below MakeHuman's finer detail."""
    head = mean_head(library)
    points = head.points.copy()
    aside = float(head.eyes[:, 0].max())
    x = np.abs(points[:, 0])
    width = who.width * 73 / 72
    points[:, 0] = np.sign(points[:, 0]) * np.where(x < 73, np.interp(x, [0, aside, 73], [0, who.eye_x, width]), x)
    points[x >= 73, 0] += np.sign(points[x >= 73, 0]) * (width - 73)
    # The skull above the eyes keeps its height.
    known = [HEAD_MM, -111.0, -67.0, -37.5, 0.0, 200.0]
    chin, mouth, nose = who.eye_y - who.chin + 9, who.eye_y - who.mouth_y, who.eye_y - who.nose_len + 36
    points[:, 1] = np.interp(points[:, 1], known, [HEAD_MM, chin, mouth, nose, 0.0, 200.0])
    anchors = _anchors(head)
    at = points[anchors]
    height = _analytic_height(who, at[:, 0], who.eye_y - at[:, 1])
    eye = _analytic_height(who, np.array([who.eye_x]), np.array([who.eye_y]))[0]
    deep = np.clip(height - eye + EYE_SURFACE_MM - at[:, 2], -18, 18)
    inside = np.abs(at[:, 0]) < 0.8 * who.width
    moves = np.zeros((int(inside.sum()), 3), np.float32)
    moves[:, 2] = deep[inside]
    points = points + _spread(head.points[anchors][inside], moves, head.points, SPREADS_MM[-1])
    eye_moves = np.stack([np.array([np.sign(e[0]) * who.eye_x, 0, 0], np.float32) - e for e in head.eyes])
    return head.points + _rigid_lids(head.points, head.eyes, points - head.points, eye_moves)


def _analytic_height(who: Identity, x: Array, y: Array) -> Array:
    """Return the analytic relief at points, mm [n]; ``y`` downwards."""
    across = np.arange(-90, 91, 1.5, dtype=np.float32)[None]
    down = np.arange(-130, 106, 1.5, dtype=np.float32)[:, None]
    height, _ = analytic_relief(who, Expression(), across, down)
    column = np.clip(np.round((x + 90) / 1.5), 0, height.shape[1] - 1).astype(np.int64)
    row = np.clip(np.round((y + 130) / 1.5), 0, height.shape[0] - 1).astype(np.int64)
    return height[row, column]


def reshaped(library: Library, vertices: Array, target: Array) -> Array:
    """Return a person's base mesh, decimetres, with its head moved to ``target`` [n, 3], mm at `mean_head`'s rows; the
    neck fades into the person's own."""
    head = mean_head(library)
    origin = eye_centres(library, vertices).mean(0)
    own = (vertices[head.rows] - origin) * np.float32(TO_MM)
    share = np.clip((head.points[:, 1] - FADE_MM[1]) / (FADE_MM[0] - FADE_MM[1]), 0, 1)[:, None]
    share = share * share * (3 - 2 * share)
    out = vertices.copy()
    out[head.rows] = origin + (own + share * (target - own)) / np.float32(TO_MM)
    return out.astype(np.float32)
