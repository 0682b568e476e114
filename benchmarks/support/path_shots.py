"""Render path-traced heads of known pose for `benchmarks.faces`."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from benchmarks.support.face_shots import Angles, Shot
from runtime.core.values import Box
from synthetic.pathtraced import describe, render
from synthetic.pathtraced.description import Description
from synthetic.people.makehuman import VARIABLE
from synthetic.presentation import Presentation
from synthetic.rendering import rotation

SEED, FIRST = 77, 7500
"""Seed and first subject. They were not used in training, nor for any choice in the detector or the head pose."""
SIZE, SAMPLES = 224, 16
CASES: tuple[tuple[str, Angles], ...] = (
    ("frontal", (0, 0, 0)),
    ("yaw 15°", (15, 0, 0)),
    ("yaw 30°", (30, 0, 0)),
    ("pitch 10°", (0, 10, 0)),
    ("pitch 20°", (0, 20, 0)),
    ("roll 25°", (0, 0, 25)),
)


def can_path_trace() -> bool:
    """Return whether Mitsuba is installed and the folder of the assets for people is configured."""
    return importlib.util.find_spec("mitsuba") is not None and VARIABLE in os.environ


def drawn(number: int) -> Description:
    """Return the randomly drawn description of a person, including light and attributes."""
    return describe(Presentation(seed=SEED, subject=FIRST + number, family="AB"[number // 2 % 2]))


def path_shots(people: int) -> Iterator[Shot]:
    """Render all cases. Half of the people turn the other way."""
    for name, angles in CASES:
        for number in range(people):
            side = -1.0 if number % 2 else 1.0
            yaw, pitch, roll = (side * angle for angle in angles)
            what = replace(drawn(number), yaw=yaw, pitch=pitch, roll=roll, distance=600.0)
            taken = render(what, size=SIZE, samples=SAMPLES)
            forward = rotation(yaw, pitch, roll)[:, 2].astype(np.float64)
            nowhere = np.zeros((5, 2), np.float32)
            for modality, image, box, aside in (
                ("RGB", taken.rgb, taken.box, 0.0),
                ("IR", taken.ir, taken.ir_box, what.baseline),
            ):
                seen = towards(forward, lens_of(what, aside))
                yield Shot(name, modality, image, Box(*box), nowhere, seen, roll, False)


def lens_of(what: Description, aside: float) -> NDArray[np.float64]:
    """Return the position of a lens relative to the face, in mm: x right, y down, z towards the cameras."""
    x, y = what.centre[0] * 640, what.centre[1] * 480
    return np.array(
        [aside - x / what.camera.focal_px * what.distance, -y / what.camera.focal_px * what.distance, what.distance]
    )


def towards(forward: NDArray[np.float64], lens: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the direction ``forward`` in the frame of a camera at ``lens`` that points straight at the face."""
    z = lens / np.linalg.norm(lens)
    x = np.cross([0.0, 1.0, 0.0], z)
    x /= np.linalg.norm(x)
    return np.array([forward @ x, forward @ np.cross(z, x), forward @ z], np.float32)
