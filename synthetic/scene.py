"""A scene, drawn before any image is rendered: subject or instrument, place, light, cameras."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from synthetic.arrays import Array
from synthetic.instruments.presented import Presented
from synthetic.instruments.species import HELD, INSTRUMENTS, PATH_TRACED_ONLY
from synthetic.people.eyewear import eyewear_of
from synthetic.people.identity import Identity, identity_of
from synthetic.people.shape import HeadShape, head_shape, head_surface
from synthetic.presentation import Presentation, attributes_of
from synthetic.rendering import Lights, rotation
from synthetic.sensor.camera import CameraRig, draw_camera


@dataclass(slots=True)
class Scene:
    """Everything that is drawn before an image is rendered."""

    presentation: Presentation
    who: Identity
    shape: HeadShape
    shown: Presented
    held: bool
    turn: Array
    angles: tuple[float, float, float]
    distance: float
    centre: tuple[float, float]
    lights: Lights
    lux: float
    camera: CameraRig
    place_key: list[int]
    place: np.random.Generator
    sensor: np.random.Generator
    lit: bool = True
    vacant: bool = False


def compose(presentation: Presentation, scale: float, shape: str) -> Scene:
    """Draw the scene of a presentation. ``scale``: pixels per mm of the images, which sets the surface's grid.

    Raises:
        ValueError: an unknown shape, or a species that only the path tracer renders.
    """
    require_fast(presentation.species)
    rng = np.random.default_rng([*presentation.key, 0])
    camera = draw_camera(presentation.family, rng)
    who = identity_of(presentation.subject)
    source = head_shape(shape)
    pitch = min(1.7, max(0.6, 1.0 / scale))
    held = presentation.species in HELD
    angles = tuple(float(rng.normal(0, s)) for s in (11, 8, 5))
    distance = float(rng.uniform(360, 820))
    centre = (float(rng.normal(0, 0.05)), float(rng.normal(0, 0.04)))
    lights, lux = room(rng)
    shown = presented(presentation, source, who, pitch, rng)
    sway = sway_at(presentation.frame, rng)
    yaw, pitch_angle, roll = (a + 1.5 * s for a, s in zip(angles, sway, strict=False))
    limits = (30.0, 25.0, 15.0)
    yaw, pitch_angle, roll = (max(-m, min(m, a)) for a, m in zip((yaw, pitch_angle, roll), limits, strict=True))
    return Scene(
        presentation=presentation,
        who=who,
        shape=source,
        shown=shown,
        held=held,
        turn=rotation(yaw, pitch_angle, roll),
        angles=(yaw, pitch_angle, roll),
        distance=distance + 4 * sway[3],
        centre=(centre[0] + 0.004 * sway[0], centre[1] + 0.004 * sway[1]),
        lights=lights,
        lux=lux,
        camera=camera,
        place_key=[*presentation.key, 1],
        place=np.random.default_rng([*presentation.key, 1]),
        sensor=np.random.default_rng([*presentation.key, 2, presentation.frame]),
    )


def require_fast(species: str) -> None:
    """Require a species that the fast renderer knows.

    Raises:
        ValueError: only the path tracer renders it.
    """
    if species in PATH_TRACED_ONLY:
        raise ValueError(
            f"the fast renderer has no species {species!r}: only the path tracer renders it (synthetic.pathtraced, "
            "python -m adsn.cli.render)."
        )


def presented(
    presentation: Presentation, shape: HeadShape, who: Identity, pitch: float, rng: np.random.Generator
) -> Presented:
    """Return the held or worn instrument, or the living head."""
    worn = attributes_of(presentation)
    if not presentation.bona_fide:
        make = INSTRUMENTS[presentation.species]
        return make(shape, who.number, presentation.number, worn, pitch, rng)
    head = head_surface(shape, who, worn.face, pitch, rng, worn.hat, worn.medical_mask)
    return Presented(head, before=eyewear_of(shape.features(who), worn.glasses, pitch))


def sway_at(frame: int, rng: np.random.Generator) -> list[float]:
    """Return four slow oscillations, 0 at the first frame: the motion of people and of held sheets between frames."""
    phase = rng.uniform(0, 2 * math.pi, 4)
    t = frame / 30
    return [math.sin(2 * math.pi * (0.4 + 0.13 * k) * t + p) - math.sin(p) for k, p in enumerate(phase)]


def room(rng: np.random.Generator) -> tuple[Lights, float]:
    """Return a room's lights and its illuminance in lux; one presentation in seven is in the dark."""
    dark = rng.uniform() < 0.15
    lux = float(
        np.exp(rng.uniform(math.log(0.2), math.log(4))) if dark else np.exp(rng.uniform(math.log(80), math.log(1500)))
    )
    level = lux / 300
    warm = float(rng.uniform(-1, 1))
    tint = np.array([1 + 0.16 * warm, 1.0, 1 - 0.22 * warm], np.float32)
    # Incandescent lamps and the sun are bright in the infrared, LEDs are not.
    daylight = not dark and rng.uniform() < 0.2
    nir = float(rng.uniform(0.25, 0.9) if daylight else rng.uniform(0.005, 0.12))
    share = float(rng.uniform(0.3, 0.75))
    ambient = np.array([*(tint * np.float32(level * share)), nir * 0.5], np.float32)
    lamps = []
    for _ in range(int(rng.integers(1, 3))):
        direction = np.array([rng.uniform(-1, 1), rng.uniform(-1, 0.15), rng.uniform(0.25, 1)], np.float32)
        direction /= np.linalg.norm(direction)
        strength = level * (1 - share) * float(rng.uniform(0.6, 1.6))
        lamps.append((direction, np.array([*(tint * np.float32(strength)), nir * 0.6], np.float32)))
    return Lights(ambient, tuple(lamps), flash=float(rng.uniform(0.7, 1.3))), lux
