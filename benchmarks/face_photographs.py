"""What the face detectors find in photographs: a section of the page that `benchmarks.faces` writes."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import partial
from typing import Any

import cv2
import numpy as np

from benchmarks.support.face_shots import dimmed
from benchmarks.support.markdown import paragraph, table
from runtime.core.values import Image
from runtime.face.detector import FaceDetector


def photograph_rows(detectors: dict[str, FaceDetector]) -> list[str]:
    """Measure on the photographs that a development dependency ships: one of a person, and those without people."""
    data: Any = importlib.import_module("skimage.data")

    astronaut: Any = data.astronaut
    image = np.ascontiguousarray(astronaut()[:, :, :3])
    rng = np.random.default_rng(0)
    centre = (223.0, 111.0)

    def turned(degrees: float) -> Image:
        matrix = cv2.getRotationMatrix2D(centre, degrees, 1.0)
        return np.asarray(cv2.warpAffine(image, matrix, (512, 512), borderMode=cv2.BORDER_REFLECT), np.uint8)

    views: dict[str, Callable[[], Image]] = {
        "as it is": lambda: image,
        **{f"tilted by {d}°": partial(turned, d) for d in (15, 25, 35)},
        **{f"×{f}": partial(dimmed, image, f, rng) for f in (0.25, 0.12, 0.06)},
    }
    rows = []
    for what, make in views.items():
        picture = make()
        cells = []
        for detector in detectors.values():
            found = detector.detect(picture)
            near = (
                found is not None
                and np.hypot(found.box.x + found.box.w / 2 - 223, found.box.y + found.box.h / 2 - 111) < 28
            )
            cells.append("not found" if found is None else f"{found.box.w:.0f} px" if near else "elsewhere")
        rows.append([what, *cells])
    others = ("brick", "chelsea", "coffee", "coins", "grass", "gravel", "moon", "page", "rocket", "text")
    false = [0] * len(detectors)
    for name in others:
        picture = np.asarray(getattr(data, name)(), np.uint8)
        picture = picture[:, :, None] if picture.ndim == 2 else np.ascontiguousarray(picture[:, :, :3])
        for k, detector in enumerate(detectors.values()):
            false[k] += detector.detect(picture) is not None
    return [
        "## Photographs",
        "",
        *paragraph(
            "Edge of the box detected in the astronaut of scikit-image (public domain), 512×512. The last row",
            "counts the",
            f"detections in {len(others)} of its images without a person ({', '.join(others)}).",
        ),
        *table(["", *detectors], [*rows, ["images without a person", *map(str, false)]]),
    ]
