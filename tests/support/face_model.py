"""A generated face model in the ICT model's layout, with none of its data: a dome and two eyeballs."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from synthetic.people import scan

KEPT = scan.EYES[1][1]


def ball(count: int, centre: tuple[float, float, float], radius: float) -> np.ndarray:
    """Return ``count`` points over the half of a sphere that faces the camera, in the model's axes, centimetres."""
    i = np.arange(count) + 0.5
    z = i / count
    angle = i * np.pi * (3 - np.sqrt(5))
    ring = np.sqrt(1 - z * z)
    return np.stack([ring * np.cos(angle), ring * np.sin(angle), z], 1) * radius + centre


def fan(start: int, points: np.ndarray) -> list[tuple[int, int, int]]:
    """Return triangles over ``points``, counter-clockwise as seen from the front."""
    from scipy.spatial import Delaunay

    triangles = Delaunay(points[:, :2]).simplices
    a, b, c = (points[triangles[:, k], :2] for k in range(3))
    turn = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    triangles[turn < 0] = triangles[turn < 0][:, ::-1]
    return [(int(a) + start, int(b) + start, int(c) + start) for a, b, c in triangles]


def face_model_arrays() -> dict[str, np.ndarray]:
    """Return a head of one dome and two eyeballs behind it, in the project's vertex order."""
    eyes = scan.EYES
    dome = ball(eyes[0][0], (0, 0, 0), 9.5)
    left, right = (
        ball(stop - start, (3.1 * side, 3.5, 6.0), 1.3) for (start, stop, _), side in zip(eyes, (1, -1), strict=True)
    )
    neutral = np.concatenate([dome, left, right]).astype(np.float32)
    faces = fan(0, dome) + fan(eyes[0][0], left) + fan(eyes[1][0], right)
    rng = np.random.default_rng(0)
    identity = np.zeros((3, KEPT, 3), np.float32)
    identity[:, : eyes[0][0]] = rng.normal(0, 0.1, (3, 1, 3))
    smile = np.zeros((KEPT, 3), np.float32)
    smile[:500] = (0, 0.4, 0)
    return {
        "neutral": neutral,
        "triangles": np.array(faces, np.int32),
        "identity": identity.astype(np.float16),
        "expression": np.stack([smile, smile]).astype(np.float16),
        "expression_names": np.array(["mouthSmile_L", "jawOpen"]),
    }


def write_face_model(path: Path) -> Path:
    """Write the model as one ``.npz`` file and return its path."""
    np.savez(path, **face_model_arrays())  # type: ignore[arg-type]  # the stub takes the names for its flag
    return path
