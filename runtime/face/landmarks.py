"""From a detector's five landmarks to the box that crops are cut by, so that every detector gives the network the same
crop."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from runtime.core.values import Box
from runtime.face.detector import Face

EDGE_MM = 150.0
"""Edge of the box that the network was trained on, on a life-size face."""
SPREAD_MM = 89.5
"""Spread of the landmarks on that face: the root of the sum of their squared distances from their mean. A head that is
turned brings the eyes nearer to each other and one that is tilted the mouth nearer to the eyes; the spread of all five
changes less than either length. The value lies between what YuNet's landmarks of rendered heads of both shape sources
ask for and what the true ones do, so that the median edge of either is off by 5 % at the most (benchmarks/faces.md)."""
DOWN, ASIDE = 0.25, 0.3
"""Where the box's centre lies: this part of the way from the eyes to the mouth, and this part of the nose's distance
from that way to the side, which a turned head moves as it moves the middle of the face."""


def box_from_landmarks(landmarks: NDArray[np.float32]) -> Box:
    """Return the square box of a face with ``landmarks`` [5, 2], see `runtime.face.detector.Face`."""
    points = np.asarray(landmarks, np.float64)
    edge = EDGE_MM / SPREAD_MM * float(np.sqrt(np.square(points - points.mean(0)).sum()))
    eyes, mouth = points[:2].mean(0), points[3:].mean(0)
    way = mouth - eyes
    aside = np.array([-way[1], way[0]]) / max(float(np.linalg.norm(way)), 1e-9)
    cx, cy = (float(v) for v in eyes + DOWN * way + ASIDE * float((points[2] - eyes) @ aside) * aside)
    return Box(cx - edge / 2, cy - edge / 2, edge, edge)


def largest_face(
    marks: NDArray[np.float32], scores: NDArray[np.float32], shape: tuple[int, ...], smallest: float
) -> Face | None:
    """Return the largest of N detections, cut at the image's edges as other detectors' boxes are; None without one.

    ``marks`` [N, 5, 2] in pixels of an image of ``shape``, ``scores`` [N]. ``smallest``: least edge of a box, pixels.
    """
    height, width = shape[:2]
    found: list[Face] = []
    for landmarks, score in zip(marks, scores, strict=True):
        if not np.isfinite(landmarks).all():
            continue
        box = box_from_landmarks(landmarks)
        # No picture shows such a face: the detector was led astray.
        if not (0 <= box.x + box.w / 2 <= width and 0 <= box.y + box.h / 2 <= height and box.w <= 2 * max(shape[:2])):
            continue
        x0, y0 = max(box.x, 0.0), max(box.y, 0.0)
        x1, y1 = min(box.x + box.w, float(width)), min(box.y + box.h, float(height))
        if min(x1 - x0, y1 - y0) >= max(smallest, 1.0):
            found.append(Face(Box(x0, y0, x1 - x0, y1 - y0), float(score), 1, np.asarray(landmarks, np.float32)))
    if not found:
        return None
    best = max(found, key=lambda face: face.box.w * face.box.h)
    # As with the cascade, only who could be at a similar distance is a second person.
    count = sum(face.box.w >= 0.5 * best.box.w for face in found)
    return Face(best.box, best.confidence, count, best.landmarks)
