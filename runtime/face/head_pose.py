"""Head yaw and pitch from five landmarks of a face."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

HEAD_MM = np.array(
    [[-31.5, 0.0, 0.0], [31.5, 0.0, 0.0], [0.0, 36.0, 26.0], [-25.0, 68.0, -6.0], [25.0, 68.0, -6.0]], np.float64
)
"""Left eye, right eye, nose, left and right mouth corner of a face as the camera sees it, in mm: x right, y down, z
towards the camera. The eyes are 63 mm apart (Dodgson, "Variation and extrema of human interpupillary distance", 2004).
The other proportions are plausible values chosen for the smallest pose error on rendered heads of known pose, over both
their true landmarks and YuNet's. YuNet places nose and mouth somewhat too high, and the nose too near the middle. The
remaining error is a few degrees in yaw and more in pitch, because YuNet's nose hardly follows a nod
(benchmarks/faces.md)."""

FIT = np.linalg.pinv(HEAD_MM - HEAD_MM.mean(0))
"""Pseudo-inverse of the mean-centred `HEAD_MM`. Multiplied by mean-centred landmarks, it gives the least-squares map
from the head to the landmarks."""


def head_angles(landmarks: NDArray[np.float32]) -> tuple[float, float] | None:
    """Return yaw and pitch in degrees from ``landmarks`` [5, 2], or None if they cannot be those of a face.

    For the order of the landmarks see `runtime.face.detector.Face`. The head is fitted as a rigid body under scaled
    orthography: the least-squares fit is a 2×3 map from `HEAD_MM` to the image whose rows are the camera's axes in the
    head's frame. Roll is removed. Both angles are 0 for a frontal face.
    """
    points = np.asarray(landmarks, np.float64)
    if points.shape != (5, 2) or not np.isfinite(points).all():
        return None
    across, down = (FIT @ (points - points.mean(0))).T
    scale = math.sqrt(float(np.linalg.norm(across) * np.linalg.norm(down)))
    if scale < 1e-9:
        return None
    towards = np.cross(across, down) / scale**2
    # Take the nearest rotation, because with noisy landmarks the two rows differ in length and are not orthogonal.
    u, _, v = np.linalg.svd(np.stack([across / scale, down / scale, towards]))
    turn = u @ np.diag([1.0, 1.0, float(np.linalg.det(u @ v))]) @ v
    # Direction of the head's forward axis in the camera's frame.
    x, y, z = turn[:, 2]
    if z <= 0:
        return 180.0, 180.0
    roll = math.atan2(-turn[0, 1], turn[1, 1])
    sideways, upright = x * math.cos(roll) + y * math.sin(roll), -x * math.sin(roll) + y * math.cos(roll)
    return math.degrees(math.atan2(sideways, z)), math.degrees(math.atan2(upright, math.hypot(sideways, z)))
