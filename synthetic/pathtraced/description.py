"""Description of a path-traced presentation, drawn before anything is built: subject, species, place, light, cameras.

Only the species itself depends on the species: pose, place, light, exposure, noise and attributes are drawn by the same
code from the same distributions for bona fide faces and for every instrument.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from synthetic.instruments.worn import WEARERS
from synthetic.people.attributes import Attributes
from synthetic.people.makehuman.person import RESERVED_FROM
from synthetic.presentation import Presentation, attributes_of
from synthetic.rendering import Lights
from synthetic.scene import room, sway_at
from synthetic.sensor.camera import CameraRig, draw_camera

POSE_SPREAD, POSE_LIMIT = (13.0, 8.0, 6.0), (35.0, 20.0, 20.0)
"""Standard deviations and limits of yaw, pitch and roll, degrees."""
DISTANCE_MM = (300.0, 1500.0)
BASELINE_MM = (5.0, 60.0)
DAYLIGHT_ON_FACE = 0.12
"""Share of presentations whose IR image is flooded by daylight."""


@dataclass(frozen=True, slots=True)
class Shot:
    """Capture settings beyond `CameraRig`. ``rgb_exposure`` and ``ir_exposure``: factors on the target of automatic
    exposure. ``jpeg``: quality of the cameras' images, None if uncompressed."""

    rgb_exposure: float
    ir_exposure: float
    jpeg: int | None
    flash_radius: float
    flash_beside: float
    flash_above: float


@dataclass(frozen=True, slots=True)
class Description:
    """Description of a presentation.

    Angles in degrees, lengths in mm; ``centre``: position of the face relative to the middle of the frame, as a share
    of its width and height.
    """

    presentation: Presentation
    attributes: Attributes
    wearer: int
    reserved: bool
    yaw: float
    pitch: float
    roll: float
    distance: float
    centre: tuple[float, float]
    lights: Lights
    lux: float
    camera: CameraRig
    baseline: float
    shot: Shot


def describe(presentation: Presentation) -> Description:
    """Draw the description of a presentation."""
    rng = np.random.default_rng([0x70, *presentation.key])
    camera = draw_camera(presentation.family, rng)
    lights, lux = _flooded(*room(rng), rng)
    sway = sway_at(presentation.frame, rng)
    angles = [
        float(np.clip(rng.normal(0, spread), -limit, limit)) + 1.5 * s
        for spread, limit, s in zip(POSE_SPREAD, POSE_LIMIT, sway, strict=False)
    ]
    yaw, pitch, roll = (max(-m, min(m, a)) for a, m in zip(angles, POSE_LIMIT, strict=True))
    distance = float(np.exp(rng.uniform(math.log(DISTANCE_MM[0]), math.log(DISTANCE_MM[1]))))
    return Description(
        presentation=presentation,
        attributes=attributes_of(presentation),
        wearer=WEARERS + int(rng.integers(WEARERS)),
        reserved=presentation.subject >= RESERVED_FROM,
        yaw=yaw,
        pitch=pitch,
        roll=roll,
        distance=distance * (1 + 0.008 * sway[3]),
        centre=(float(rng.normal(0, 0.09)) + 0.004 * sway[0], float(rng.normal(0, 0.07)) + 0.004 * sway[1]),
        lights=lights,
        lux=lux,
        camera=camera,
        baseline=float(rng.uniform(*BASELINE_MM)),
        shot=_shot(rng),
    )


def _flooded(lights: Lights, lux: float, rng: np.random.Generator) -> tuple[Lights, float]:
    """Sometimes add sunlight, which is as bright in the infrared, to the room's light."""
    flooded, amount = rng.uniform() < DAYLIGHT_ON_FACE, float(rng.uniform(0.3, 3.0))
    if not flooded or lux < 50:
        return lights, lux
    ambient = lights.ambient.copy()
    ambient[3] += np.float32(0.5 * amount)
    lamps = tuple((way, np.array([*colour[:3], colour[3] + amount], np.float32)) for way, colour in lights.lamps)
    return Lights(ambient, lamps, lights.flash), lux


def _shot(rng: np.random.Generator) -> Shot:
    quality, compressed = int(rng.integers(60, 99)), rng.uniform() < 0.7
    return Shot(
        rgb_exposure=float(np.exp(rng.normal(0, 0.28))),
        ir_exposure=float(np.exp(rng.normal(0, 0.42))),
        jpeg=quality if compressed else None,
        flash_radius=float(rng.uniform(3, 14)),
        flash_beside=float(rng.choice((-1, 1)) * rng.uniform(8, 45)),
        flash_above=float(rng.uniform(-15, 25)),
    )
