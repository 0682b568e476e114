"""Crop boxes from a detector's five landmarks, so that every detector gives the network the same crop."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from runtime.core.values import Box
from runtime.face.detector import Face

EDGE_MM = 150.0
"""Edge in mm of the box used in training, on a life-size face."""
SPREAD_MM = 89.5
"""Spread in mm of the landmarks on that face: the root of the sum of their squared distances from their mean. When the
head turns, the eyes come closer together; when it tilts, the mouth comes closer to the eyes. The spread changes less
than either length. The value lies between the best ones for YuNet's landmarks and for the true landmarks of rendered
heads, so that the median box edge is off by at most 5 % for both (benchmarks/faces.md)."""
DOWN, SIDEWAYS = 0.25, 0.3
"""Position of the box's centre: this fraction of the way from the eyes to the mouth, and this fraction of the nose's
sideways distance from that line, which follows the middle of the face as the head turns."""


def box_from_landmarks(landmarks: NDArray[np.float32]) -> Box:
    """Return the square box of the face with these ``landmarks`` [5, 2]; see `runtime.face.detector.Face`."""
    points = np.asarray(landmarks, np.float64)
    edge = EDGE_MM / SPREAD_MM * float(np.sqrt(np.square(points - points.mean(0)).sum()))
    eyes, mouth = points[:2].mean(0), points[3:].mean(0)
    way = mouth - eyes
    sideways = np.array([-way[1], way[0]]) / max(float(np.linalg.norm(way)), 1e-9)
    cx, cy = (float(v) for v in eyes + DOWN * way + SIDEWAYS * float((points[2] - eyes) @ sideways) * sideways)
    return Box(cx - edge / 2, cy - edge / 2, edge, edge)


def largest_face(
    marks: NDArray[np.float32], scores: NDArray[np.float32], shape: tuple[int, ...], smallest: float
) -> Face | None:
    """Return the largest of N detections, with its box clipped to the image, or None if no detection qualifies.

    ``marks``: landmarks [N, 5, 2] in pixels of an image of ``shape``. ``scores``: [N]. ``smallest``: minimum edge of a
    box, in pixels.
    """
    height, width = shape[:2]
    found: list[Face] = []
    for landmarks, score in zip(marks, scores, strict=True):
        if not np.isfinite(landmarks).all():
            continue
        box = box_from_landmarks(landmarks)
        # A face cannot be that large or lie outside the image: this is a false detection.
        if not (0 <= box.x + box.w / 2 <= width and 0 <= box.y + box.h / 2 <= height and box.w <= 2 * max(shape[:2])):
            continue
        x0, y0 = max(box.x, 0.0), max(box.y, 0.0)
        x1, y1 = min(box.x + box.w, float(width)), min(box.y + box.h, float(height))
        if min(x1 - x0, y1 - y0) >= max(smallest, 1.0):
            found.append(Face(Box(x0, y0, x1 - x0, y1 - y0), float(score), 1, np.asarray(landmarks, np.float32)))
    if not found:
        return None
    best = max(found, key=lambda face: face.box.w * face.box.h)
    # As with the cascade, only a face whose size suggests a similar distance counts as a second person.
    count = sum(face.box.w >= 0.5 * best.box.w for face in found)
    return Face(best.box, best.confidence, count, best.landmarks)
