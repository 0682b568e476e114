"""Head yaw and pitch from five landmarks of a face."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

HEAD_MM = np.array(
    [[-31.5, 0.0, 0.0], [31.5, 0.0, 0.0], [0.0, 36.0, 26.0], [-25.0, 68.0, -6.0], [25.0, 68.0, -6.0]], np.float64
)
"""Left eye, right eye, nose, left and right corner of the mouth of a face as the camera sees it: x right, y down, z
towards the camera, mm. Eyes 63 mm apart (Dodgson, "Variation and extrema of human interpupillary distance", 2004). The
rest are the plausible proportions with the smallest error over YuNet's landmarks and the true ones of rendered heads of
known pose: YuNet places nose and mouth somewhat too high, and the nose too near the middle. The remaining error is in
benchmarks/faces.md: a few degrees in yaw, more in pitch, because YuNet's nose hardly follows a nod."""

FIT = np.linalg.pinv(HEAD_MM - HEAD_MM.mean(0))
"""Pseudo-inverse: multiplied by mean-centred points, it gives the least-squares map to them from mean-centred
`HEAD_MM`."""


def head_angles(landmarks: NDArray[np.float32]) -> tuple[float, float] | None:
    """Return yaw and pitch in degrees of ``landmarks`` [5, 2] (`runtime.face.detector.Face`); None if they are not a
    face.

    The head is fitted as a rigid body under scaled orthography: a 2×3 least-squares map from `HEAD_MM` to the image,
    whose rows are the camera's axes in the head's frame. Roll is removed; both angles are 0 for a frontal face.
    """
    points = np.asarray(landmarks, np.float64)
    if points.shape != (5, 2) or not np.isfinite(points).all():
        return None
    across, down = (FIT @ (points - points.mean(0))).T
    scale = math.sqrt(float(np.linalg.norm(across) * np.linalg.norm(down)))
    if scale < 1e-9:
        return None
    towards = np.cross(across, down) / scale**2
    # Nearest rotation: with noisy landmarks the two rows are neither equally long nor orthogonal.
    u, _, v = np.linalg.svd(np.stack([across / scale, down / scale, towards]))
    turn = u @ np.diag([1.0, 1.0, float(np.linalg.det(u @ v))]) @ v
    # Direction of the head's forward axis as seen by the camera.
    x, y, z = turn[:, 2]
    if z <= 0:
        return 180.0, 180.0
    roll = math.atan2(-turn[0, 1], turn[1, 1])
    sideways, upright = x * math.cos(roll) + y * math.sin(roll), -x * math.sin(roll) + y * math.cos(roll)
    return math.degrees(math.atan2(sideways, z)), math.degrees(math.atan2(upright, math.hypot(sideways, z)))
