"""From a detector's five landmarks to the box that crops are cut by, so that every detector gives the network the same
crop."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from runtime.core.values import Box
from runtime.face.detector import Face

EDGE_MM, EYES_MM, EYES_TO_MOUTH_MM = 150.0, 63.0, 71.0
"""Edge of the box that the network was trained on, which is the cascade's, and two lengths of a face to scale it by."""
CENTRE = 0.22
"""Where its centre lies on the way from the eyes to the mouth."""


def box_of(landmarks: NDArray[np.float32]) -> Box:
    """The square box of a face with ``landmarks`` [5, 2], see `runtime.face.detector.Face`.

    A turned head brings the eyes nearer to each other, a tilted one the mouth nearer to the eyes: the longer of the two
    lengths, against what it is on a face, tells the scale.
    """
    eyes, mouth = landmarks[:2].mean(0), landmarks[3:].mean(0)
    apart = float(np.linalg.norm(landmarks[1] - landmarks[0])) / EYES_MM
    down = float(np.linalg.norm(mouth - eyes)) / EYES_TO_MOUTH_MM
    edge = EDGE_MM * max(apart, down)
    cx, cy = (float(v) for v in eyes + CENTRE * (mouth - eyes))
    return Box(cx - edge / 2, cy - edge / 2, edge, edge)


def largest(
    marks: NDArray[np.float32], scores: NDArray[np.float32], shape: tuple[int, ...], smallest: float
) -> Face | None:
    """The largest of N found faces: ``marks`` [N, 5, 2] in pixels of an image of ``shape``, ``scores`` [N]; None
    without one. Cut at the image's edges, as other locators' boxes are."""
    height, width = shape[:2]
    found: list[Face] = []
    for landmarks, score in zip(marks, scores, strict=True):
        if not np.isfinite(landmarks).all():
            continue
        box = box_of(landmarks)
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
