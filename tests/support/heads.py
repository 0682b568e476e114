"""Full frames of simulated heads in a chosen pose, with ground-truth landmarks."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from runtime.core.values import Box, Image
from synthetic.mesh import Mesh
from synthetic.people.attributes import Attributes
from synthetic.people.head import Expression, Hat
from synthetic.people.scan import EYE_AT
from synthetic.presentation import Presentation
from synthetic.raster.take import face_box, take
from synthetic.rendering import PIVOT_MM, View, rotation
from synthetic.scene import Scene, compose, room
from synthetic.surface import Surface

SEED = 77
NOSE_TO_TIP_MM = 36.0
"""Subtracted from the nose length of an identity to get the y coordinate, in mm, of the tip of the analytic nose."""


@dataclass(frozen=True, slots=True)
class PosedHead:
    """Frames of both cameras with ground truth.

    ``box``, ``ir_box``: the face box in each image. ``landmarks``, ``ir_landmarks`` float32 [5, 2], in the order of
    `runtime.face.detector.Face`. ``forward``: unit vector in which the head faces, x right, y down, z towards the
    camera.
    """

    rgb: Image
    ir: Image
    box: Box
    ir_box: Box
    landmarks: NDArray[np.float32]
    ir_landmarks: NDArray[np.float32]
    forward: NDArray[np.float32]


def posed_head(
    subject: int,
    angles: tuple[float, float, float] = (0.0, 0.0, 0.0),
    *,
    species: str = "bona_fide",
    shape: str = "analytic",
    distance_mm: float | None = None,
    attributes: Attributes | None = None,
    vacant: bool = False,
) -> PosedHead:
    """Render the frames of ``subject``'s head, or of an instrument that shows it, in a lit room.

    ``angles``: yaw, pitch and roll in degrees, as in `synthetic.rendering.rotation`. ``distance_mm``: distance;
    None for the randomly drawn one. ``attributes``: attributes worn on the face; None for the randomly drawn ones.
    """
    width, height = 640, 480
    shown = Presentation(
        seed=SEED,
        subject=subject,
        species=species,
        family="AB"[subject % 2],
        number=subject,
        attributes=attributes,
    )
    scene = compose(shown, 1.2, shape)
    scene.angles, scene.turn = angles, rotation(*angles)
    if distance_mm is not None:
        scene.distance = distance_mm
    scene.vacant = vacant
    number = 0
    while scene.lux < 80:
        scene.lights, scene.lux = room(np.random.default_rng([SEED, subject, number]))
        number += 1
    scale = scene.camera.focal_px / scene.distance
    view = View(width, height, scale, width * (0.5 + scene.centre[0]), height * (0.5 + scene.centre[1]))
    taken = take(scene, view, (width / 2, height / 2, math.hypot(width, height) / 2), 1.0)
    box = Box(*face_box(scene, view))
    worn = attributes.face if attributes is not None else Expression()
    marks = project(scene, landmarks_mm(scene, worn), view)
    aside = np.array([taken.shift, 0], np.float32)
    ir_box = replace(box, x=box.x - taken.shift)
    return PosedHead(taken.rgb, taken.ir, box, ir_box, marks, marks - aside, scene.turn[:, 2])


def landmarks_mm(scene: Scene, face: Expression) -> NDArray[np.float32]:
    """Return eyes, nose and corners of the mouth on the surface of the head, float32 [5, 3], mm."""
    who, surface = scene.shape.features(scene.who), scene.shown.surface
    if isinstance(surface.relief, Mesh):
        return _on_mesh(surface.relief, who.mouth_w, who.mouth_y)
    wide = who.mouth_w * (1 + 0.18 * face.smile)
    points = (
        (-who.eye_x, who.eye_y),
        (who.eye_x, who.eye_y),
        (0.0, who.nose_len - NOSE_TO_TIP_MM),
        (-wide, who.mouth_y),
        (wide, who.mouth_y),
    )
    return np.array([(x, y, _height(surface, x, y)) for x, y in points], np.float32)


def project(scene: Scene, points: NDArray[np.float32], view: View) -> NDArray[np.float32]:
    """Project points on a head [N, 3], mm, to pixels [N, 2] of the RGB camera."""
    turned: NDArray[np.float32] = (points + np.array([0, 0, PIVOT_MM], np.float32)) @ scene.turn.T
    at = turned[:, :2] * view.scale + np.array([view.cx, view.cy], np.float32)
    return np.asarray(at, np.float32)


def bare_face(smile: float = 0.0, hat: Hat | None = None) -> Attributes:
    """Return the attributes of a face without glasses that looks straight ahead."""
    return Attributes(Expression(smile=smile), None, hat)


def _height(surface: Surface, x: float, y: float) -> float:
    assert not isinstance(surface.relief, Mesh)
    row, column = round((y - surface.y0) / surface.pitch), round((x - surface.x0) / surface.pitch)
    return float(surface.relief[row, column])


def _on_mesh(mesh: Mesh, mouth_w: float, mouth_y: float) -> NDArray[np.float32]:
    canvas, vertices = mesh.topology.canvas, mesh.vertices
    apart = canvas[:, 0] > EYE_AT[0] - 16
    found = []
    for side in (-1, 1):
        ball = vertices[apart & (np.abs(canvas[:, 1] - EYE_AT[1]) < 16) & (vertices[:, 0] * side > 0)]
        found.append([*((ball.min(0) + ball.max(0)) / 2)[:2], ball[:, 2].max()])
    skin = ~apart
    middle = vertices[skin & (np.abs(canvas[:, 0]) < 4) & (np.abs(canvas[:, 1]) < 30)]
    found.append(list(middle[middle[:, 2].argmax()]))
    for side in (-1, 1):
        off = np.square(canvas - np.array([side * mouth_w, mouth_y], np.float32)).sum(1)
        found.append(list(vertices[np.where(skin, off, np.inf).argmin()]))
    return np.array(found, np.float32)
