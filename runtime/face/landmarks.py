"""Crop boxes from a detector's five landmarks, so that every detector gives the network the same crop."""

from __future__ import annotations

import math

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
    # For vectors this short, plain floats are several times faster than NumPy.
    points = landmarks.tolist()
    mx, my = sum(x for x, _ in points) / 5, sum(y for _, y in points) / 5
    edge = EDGE_MM / SPREAD_MM * math.sqrt(sum((x - mx) ** 2 + (y - my) ** 2 for x, y in points))
    (lx, ly), (rx, ry), (nx, ny), (ax, ay), (bx, by) = points
    eyes_x, eyes_y = (lx + rx) / 2, (ly + ry) / 2
    way_x, way_y = (ax + bx) / 2 - eyes_x, (ay + by) / 2 - eyes_y
    length = max(math.hypot(way_x, way_y), 1e-9)
    across_x, across_y = -way_y / length, way_x / length
    aside = SIDEWAYS * ((nx - eyes_x) * across_x + (ny - eyes_y) * across_y)
    cx, cy = eyes_x + DOWN * way_x + aside * across_x, eyes_y + DOWN * way_y + aside * across_y
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
