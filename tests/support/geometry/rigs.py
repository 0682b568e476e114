"""Rigs with known geometry, for tests."""

from __future__ import annotations

import cv2
import numpy as np

from runtime.core.values import Box, DepthMap, Image, Modality, Pair
from runtime.geometry.box_mapping import CameraModel, RigGeometry, Vector


def camera(
    identity: str,
    size: tuple[int, int],
    focal: float,
    *,
    turn_deg: tuple[float, float, float] = (0.0, 0.0, 0.0),
    shift_mm: tuple[float, float, float] = (0.0, 0.0, 0.0),
    distortion: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0, 0.0),
) -> CameraModel:
    width, height = size
    centre = (width / 2 + 4.3, height / 2 - 2.7)
    return CameraModel(
        identity=identity,
        width=width,
        height=height,
        matrix=np.array([[focal, 0, centre[0]], [0, focal * 1.004, centre[1]], [0, 0, 1]], np.float64),
        distortion=np.array(distortion, np.float64),
        rotation=np.asarray(cv2.Rodrigues(np.radians(turn_deg))[0], np.float64),
        translation=np.array(shift_mm, np.float64),
        rms_px=0.2,
    )


def rig(baseline_mm: float = 25.0, depth: bool = False, distortion: bool = True) -> RigGeometry:
    """Return a rig: 640×480 RGB and 640×400 IR, 25 mm apart and slightly rotated. The depth camera is on the other
    side."""
    bent = ((-0.08, 0.04, 0.0006, -0.0004, 0.0), (-0.11, 0.06, -0.0005, 0.0007, 0.0))
    straight = ((0.0,) * 5,) * 2
    lens = bent if distortion else straight
    cameras: dict[Modality, CameraModel] = {
        "rgb": camera("usb-1-rgb", (640, 480), 600, distortion=lens[0]),
        "ir": camera(
            "usb-1-ir",
            (640, 400),
            560,
            turn_deg=(0.4, -0.7, 0.5),
            shift_mm=(-baseline_mm, 0.6, 1.2),
            distortion=lens[1],
        ),
    }
    if depth:
        cameras["depth"] = camera("tof-7", (320, 240), 290, turn_deg=(-0.5, 0.3, 0.0), shift_mm=(40.0, -2.0, -3.0))
    return RigGeometry(cameras, rms_px=0.2, held_out_px=0.1, views=20, date="2026-01-02T03:04:05Z")


def blank(geometry: RigGeometry) -> Pair:
    """Return a black pair with the image sizes of the rig. If it has a depth map, all depth is missing."""

    def size(modality: Modality) -> tuple[int, int]:
        return geometry.cameras[modality].height, geometry.cameras[modality].width

    rgb: Image = np.zeros((*size("rgb"), 3), np.uint8)
    ir: Image = np.zeros((*size("ir"), 1), np.uint8)
    depth = np.zeros((*size("depth"), 1), np.float32) if "depth" in geometry.cameras else None
    return Pair(rgb=rgb, ir=ir, depth=depth)


def face(camera: CameraModel, centre_mm: tuple[float, float, float], width_mm: float = 150.0) -> Box:
    """Return the box of a face in the image of ``camera``. The face is a square facing the z axis of the rig, with its
    centre in coordinates of the rig."""
    half = width_mm / 2
    offsets = np.array([[0, 0, 0], [-half, 0, 0], [half, 0, 0], [0, -half, 0], [0, half, 0]])
    points = np.array(centre_mm) + offsets
    c, left, right, top, bottom = camera.pixels(points @ camera.rotation.T + camera.translation)
    w, h = float(np.hypot(*(right - left))), float(np.hypot(*(bottom - top)))
    return Box(float(c[0]) - w / 2, float(c[1]) - h / 2, w, h)


def centre(box: Box) -> Vector:
    return np.array([box.x + box.w / 2, box.y + box.h / 2])


def depth_of_plane(geometry: RigGeometry, z_mm: float) -> DepthMap:
    """Return the depth map, float32 [H, W, 1], of a wall at ``z_mm`` in coordinates of the rig."""
    seen = geometry.cameras["depth"]
    y, x = np.mgrid[0 : seen.height, 0 : seen.width].astype(np.float64)
    rays = seen.rays(np.column_stack([x.ravel(), y.ravel()]))
    directions = np.column_stack([rays, np.ones(len(rays))]) @ seen.rotation
    origin = -seen.rotation.T @ seen.translation
    depth = (z_mm - origin[2]) / directions[:, 2]
    whole: DepthMap = depth.reshape(seen.height, seen.width, 1).astype(np.float32)
    return whole
