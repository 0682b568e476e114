"""How far a head is turned, from five landmarks of a face."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

HEAD_MM = np.array(
    [[-31.5, 0.0, 0.0], [31.5, 0.0, 0.0], [0.0, 36.0, 26.0], [-25.0, 68.0, -6.0], [25.0, 68.0, -6.0]], np.float64
)
"""Left eye, right eye, nose, left and right corner of the mouth of a face as the camera sees it: x right, y down, z
towards the camera, mm. Eyes 63 mm apart (Dodgson, "Variation and extrema of human interpupillary distance", 2004). The
rest was chosen among plausible proportions as what gives the least error over YuNet's landmarks and the true ones of
rendered heads of known pose: YuNet puts nose and mouth somewhat higher than they are, and the nose less far aside. The
error that remains is in benchmarks/faces.md: a few degrees in yaw, more in pitch, as YuNet's nose hardly follows a
nod."""

FIT = np.linalg.pinv(HEAD_MM - HEAD_MM.mean(0))
"""What points about their mean are multiplied by for the least-squares map from `HEAD_MM` about its mean to them."""


def head_angles(landmarks: NDArray[np.float32]) -> tuple[float, float] | None:
    """Yaw and pitch in degrees of ``landmarks`` [5, 2] (see `runtime.face.detector.Face`); None where they are no face.

    The head is fitted as a rigid body seen from afar (scaled orthography): a 2×3 map from `HEAD_MM` to the picture by
    least squares, whose rows are the camera's axes in the head's frame. Roll is taken out; both are 0 face on.
    """
    points = np.asarray(landmarks, np.float64)
    if points.shape != (5, 2) or not np.isfinite(points).all():
        return None
    across, down = (FIT @ (points - points.mean(0))).T
    scale = math.sqrt(float(np.linalg.norm(across) * np.linalg.norm(down)))
    if scale < 1e-9:
        return None
    towards = np.cross(across, down) / scale**2
    # The nearest rotation: the two rows of noisy landmarks are neither of one length nor at right angles.
    u, _, v = np.linalg.svd(np.stack([across / scale, down / scale, towards]))
    turn = u @ np.diag([1.0, 1.0, float(np.linalg.det(u @ v))]) @ v
    # Where the head's own forward axis points, as the camera sees it.
    x, y, z = turn[:, 2]
    if z <= 0:
        return 180.0, 180.0
    roll = math.atan2(-turn[0, 1], turn[1, 1])
    sideways, upright = x * math.cos(roll) + y * math.sin(roll), -x * math.sin(roll) + y * math.cos(roll)
    return math.degrees(math.atan2(sideways, z)), math.degrees(math.atan2(upright, math.hypot(sideways, z)))
