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
    # For vectors this short, plain floats are several times faster than NumPy.
    (ax, ay, az), (dx, dy, dz) = (FIT @ (points - points.mean(0))).T.tolist()
    across, down, product = ax * ax + ay * ay + az * az, dx * dx + dy * dy + dz * dz, ax * dx + ay * dy + az * dz
    scale2 = math.sqrt(across * down)
    if scale2 < 1e-18:
        return None
    nx, ny, nz = ay * dz - az * dy, az * dx - ax * dz, ax * dy - ay * dx
    # Take the nearest rotation, because with noisy landmarks the two rows differ in length and are not orthogonal.
    # Their normal is orthogonal to both, so all that is needed is the inverse root of the matrix of their products.
    area = math.sqrt(nx * nx + ny * ny + nz * nz)
    if area < 1e-6 * scale2 or nz <= 0:
        return 180.0, 180.0
    weight = 1 / (area * math.sqrt(across + down + 2 * area))
    # Direction of the head's forward axis in the camera's frame.
    x = weight * ((down + area) * az - product * dz)
    y = weight * ((across + area) * dz - product * az)
    z = nz / area
    roll = math.atan2(product * dy - (down + area) * ay, (across + area) * dy - product * ay)
    sideways, upright = x * math.cos(roll) + y * math.sin(roll), -x * math.sin(roll) + y * math.cos(roll)
    return math.degrees(math.atan2(sideways, z)), math.degrees(math.atan2(upright, math.hypot(sideways, z)))
