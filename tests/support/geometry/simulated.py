"""Simulate a rig whose cameras are further apart than those of `synthetic.render_frame`."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np

from runtime.core.values import Box, Modality, Pair
from runtime.geometry.box_mapping import CameraModel, RigGeometry
from synthetic.presentation import Presentation
from synthetic.raster.take import face_box, take
from synthetic.rendering import View
from synthetic.scene import compose


@dataclass(frozen=True, slots=True)
class Shot:
    """A pair, the position of the face in it, and its rig. The depth map is registered to the IR image."""

    pair: Pair
    rgb_box: Box
    ir_box: Box
    geometry: RigGeometry
    distance_mm: float


def shoot(
    subject: int,
    *,
    seed: int = 107,
    species: str = "bona_fide",
    family: str = "A",
    presentation: int = 0,
    frame: int = 0,
    baseline_mm: float = 25.0,
    depth: bool = False,
) -> Shot:
    """Return the images of `synthetic.render_frame`, but with the IR camera ``baseline_mm`` to the side."""
    width, height = 640, 480
    shown = Presentation(seed=seed, subject=subject, species=species, family=family, number=presentation, frame=frame)
    scene = compose(shown, 1.2, "analytic")
    scene.camera = dataclasses.replace(scene.camera, baseline_mm=baseline_mm)
    focal = scene.camera.focal_px
    centre = width * (0.5 + scene.centre[0]), height * (0.5 + scene.centre[1])
    view = View(width, height, focal / scene.distance, *centre)
    taken = take(scene, view, (width / 2, height / 2, math.hypot(width, height) / 2), 1.0)
    x, y, w, h = face_box(scene, view)
    matrix = np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]], np.float64)

    def camera(identity: str, shift_mm: float) -> CameraModel:
        return CameraModel(identity, width, height, matrix, np.zeros(5), np.eye(3), np.array([shift_mm, 0.0, 0.0]))

    cameras: dict[Modality, CameraModel] = {
        "rgb": camera("rgb", 0.0),
        "ir": camera("ir", -baseline_mm),
        "depth": camera("depth", -baseline_mm),
    }
    return Shot(
        Pair(rgb=taken.rgb, ir=taken.ir, depth=taken.depth if depth else None),
        Box(x, y, w, h),
        Box(x - taken.shift, y, w, h),
        RigGeometry(cameras, rms_px=0.0, held_out_px=0.0, views=0, date="2026-01-01T00:00:00Z"),
        scene.distance,
    )
