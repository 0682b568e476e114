"""Render heads of known pose for `benchmarks.faces`: the cases and their images."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from runtime.core.values import Box, Image
from synthetic.people.attributes import Attributes, draw_glasses, draw_hat
from synthetic.people.head import Expression
from synthetic.people.scan import VARIABLE
from tests.support.heads import PosedHead, posed_head

FIRST, OTHER = 9500, 9700
"""First subject, and first subject of those who stand next to another person. They are not used in training."""
Angles = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Case:
    """One row of the table: the pose of all heads. Every second pair of people turns the other way. ``second_mm``:
    distance of a second person, who stands next to the first."""

    name: str
    angles: Angles = (0.0, 0.0, 0.0)
    species: str = "bona_fide"
    distance_mm: float = 600.0
    glasses: bool = False
    hat: bool = False
    vacant: bool = False
    dim: float = 1.0
    second_mm: float | None = None


CASES = (
    Case("frontal"),
    *(Case(f"frontal, ×{dim}", dim=dim) for dim in (0.5, 0.25, 0.12, 0.06)),
    Case("yaw 15°", (15, 0, 0)),
    Case("yaw 30°", (30, 0, 0)),
    Case("yaw 40°", (40, 0, 0)),
    Case("pitch 10°", (0, 10, 0)),
    Case("pitch 20°", (0, 20, 0)),
    Case("roll 15°", (0, 0, 15)),
    Case("roll 25°", (0, 0, 25)),
    Case("roll 35°", (0, 0, 35)),
    Case("glasses", glasses=True),
    Case("cap", hat=True),
    Case("1 m away", distance_mm=1000),
    Case("1.5 m away", distance_mm=1500),
    Case("rigid mask", species="mask_rigid"),
    Case("silicone mask", species="mask_silicone"),
    Case("paper mask", species="mask_paper"),
    Case("part of a face covered", species="partial"),
    Case("matte print", species="print_matte"),
    Case("screen", species="replay_screen"),
    Case("two people", distance_mm=700, second_mm=700),
    Case("somebody behind", second_mm=1500),
    Case("nobody", vacant=True),
)


@dataclass(frozen=True, slots=True)
class Shot:
    """An image with its ground truth.

    ``box``: face box of the nearest person. ``second``: face box of another person who is as near. ``count``: number of
    people at about the distance of the nearest one.
    """

    case: str
    modality: str
    image: Image
    box: Box
    landmarks: NDArray[np.float32]
    forward: NDArray[np.float32]
    roll: float
    empty: bool
    second: Box | None = None
    count: int = 1

    @property
    def boxes(self) -> tuple[Box, ...]:
        """Boxes that a detector may return as the largest face."""
        return (self.box,) if self.second is None else (self.box, self.second)


def shots(people: int) -> Iterator[Shot]:
    """Render all cases. If the face model is available, every second person has a scan-derived head."""
    rng = np.random.default_rng(3)
    for case in CASES:
        for number in range(people):
            subject = FIRST + number
            side = -1.0 if number // 2 % 2 else 1.0
            yaw, pitch, roll = (side * angle for angle in case.angles)
            look = np.random.default_rng(subject)
            worn = Attributes(
                Expression(smile=float(look.uniform(0, 1)), eyes=float(look.uniform(0.7, 1.1))),
                draw_glasses(look) if case.glasses else None,
                draw_hat(look) if case.hat else None,
            )
            head = head_of(
                subject,
                (yaw, pitch, roll),
                species=case.species,
                shape=head_shape(number),
                distance_mm=case.distance_mm,
                attributes=worn,
                vacant=case.vacant,
            )
            if case.dim < 1:
                head = replace(head, rgb=dimmed(head.rgb, case.dim, rng), ir=dimmed(head.ir, case.dim, rng))
            if case.second_mm is None:
                yield from _both(head, case, roll)
            else:
                other = head_of(OTHER + number, shape=head_shape(number), distance_mm=case.second_mm)
                yield from _beside(head, other, case, roll)


def head_shape(number: int) -> str:
    """Return the source of the shape of a person's head."""
    return "scan" if number % 2 and os.environ.get(VARIABLE) else "analytic"


head_of = functools.lru_cache(maxsize=64)(posed_head)
"""Cached, because the dimmed cases use the frontal images again."""


def _both(head: PosedHead, case: Case, roll: float) -> Iterator[Shot]:
    rest = (head.forward, roll, case.vacant)
    yield Shot(case.name, "RGB", head.rgb, head.box, head.landmarks, *rest)
    yield Shot(case.name, "IR", head.ir, head.ir_box, head.ir_landmarks, *rest)


def _beside(head: PosedHead, other: PosedHead, case: Case, roll: float) -> Iterator[Shot]:
    """Yield frames that show two people, joined from halves of two frames."""
    views = (
        ("RGB", head.rgb, head.box, head.landmarks, other.rgb, other.box),
        ("IR", head.ir, head.ir_box, head.ir_landmarks, other.ir, other.ir_box),
    )
    alike = case.second_mm == case.distance_mm
    for modality, image, box, landmarks, beside, second in views:
        half = image.shape[1] // 2
        left, right = (min(max(round(b.x + b.w / 2 - half / 2), 0), half) for b in (box, second))
        joined = np.concatenate([image[:, left : left + half], beside[:, right : right + half]], axis=1)
        yield Shot(
            case.name,
            modality,
            joined,
            replace(box, x=box.x - left),
            landmarks - np.array([left, 0], np.float32),
            head.forward,
            roll,
            False,
            replace(second, x=second.x - right + half) if alike else None,
            2 if alike else 1,
        )


def dimmed(image: Image, factor: float, rng: np.random.Generator) -> Image:
    """Return ``image`` with less light, and with the noise of a sensor at maximum gain."""
    noisy = image * np.float32(factor) + rng.normal(0, 1.2, image.shape).astype(np.float32)
    return np.clip(np.round(noisy), 0, 255).astype(np.uint8)


def angles_of(forward: NDArray[np.float32], roll: float) -> tuple[float, float]:
    """Return yaw and pitch, in degrees, of a head that faces in direction ``forward``, after its roll is removed."""
    c, s = np.cos(np.radians(roll)), np.sin(np.radians(roll))
    x, y, z = (float(v) for v in forward)
    sideways, upright = c * x + s * y, -s * x + c * y
    return float(np.degrees(np.arctan2(sideways, z))), float(np.degrees(np.arctan2(upright, np.hypot(sideways, z))))
