"""Gates fail before a disturbance changes the network's decision: a blurred person is `uncertain`, not an attack.

At the limit of the gate for a disturbance, the median score of bona fide faces is still above the threshold. Beyond the
limit, the decision is `uncertain` for any score.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from runtime.core.values import Box, Pair
from runtime.imaging.crop import CropRule
from runtime.liveness.open import default_bundle, open_pipeline
from runtime.liveness.pair_pipeline import LivenessPipeline
from runtime.liveness.quality import FACE_RULE
from synthetic import Presentation, Rendered, render_frame

PEOPLE = 24
Picture = NDArray[np.uint8]
Disturb = Callable[[Picture, float, float], Picture]


def blurred(picture: Picture, strength: float, edge: float) -> Picture:
    """Return the image blurred by ``strength`` pixels of the gates' crop."""
    sigma = strength * edge * (1 + 2 * FACE_RULE.margin) / FACE_RULE.size
    soft: Picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma), np.uint8).reshape(picture.shape)
    return soft


def brighter(picture: Picture, gain: float, edge: float) -> Picture:
    bright: Picture = np.clip(picture.astype(np.float32) * gain, 0, 255).astype(np.uint8)
    return bright


def same(picture: Picture, strength: float, edge: float) -> Picture:
    return picture


@pytest.fixture(scope="module")
def pipeline() -> LivenessPipeline:
    return open_pipeline(default_bundle()).pipeline


@pytest.fixture(scope="module")
def people() -> list[Rendered]:
    found: list[Rendered] = []
    number = 0
    while len(found) < PEOPLE:
        made = render_frame(Presentation(seed=78, subject=7000 + number, family="AB"[number % 2], number=number))
        number += 1
        x, y, w, h = made.box
        inside = x >= 0 and y >= 0 and x + w <= 640 and y + h <= 480 and made.ir_box[0] >= 0
        if inside and made.conditions["lux"] > 50:
            found.append(made)
    return found


def assessed(
    pipeline: LivenessPipeline, people: list[Rendered], rgb: Disturb, ir: Disturb, strength: float
) -> tuple[dict[str, int], float]:
    """Return the number of each decision, and the median score of pairs that passed all gates (NaN if most pairs failed
    a gate)."""
    decisions: dict[str, int] = {"live": 0, "uncertain": 0, "spoof": 0}
    passed: list[float] = []
    for made in people:
        edge = made.box[2]
        pair = Pair(rgb(made.rgb, strength, edge), ir(made.ir, strength, edge))
        found: Any = pipeline.assess(pair, {"rgb": Box(*made.box), "ir": Box(*made.ir_box)})
        decisions[found.decision] += 1
        if all(check.status != "fail" for check in found.checks):
            passed.append(found.score)
    return decisions, float(np.median(passed)) if len(passed) > PEOPLE / 2 else float("nan")


SWEEPS: list[tuple[str, Disturb, Disturb, tuple[float, ...]]] = [
    ("rgb blur", blurred, same, (1.0, 2.0, 3.0, 4.0, 6.0)),
    ("blur of both", blurred, blurred, (1.0, 2.0, 3.0, 4.0, 6.0)),
    ("ir gain", same, brighter, (0.15, 0.25, 0.5, 1.5, 1.8, 2.2, 3.0, 4.0)),
    ("rgb gain", brighter, same, (0.25, 0.5, 1.5, 2.0, 3.0)),
]


@pytest.mark.parametrize(("name", "rgb", "ir", "strengths"), SWEEPS, ids=[sweep[0] for sweep in SWEEPS])
def test_a_disturbed_person_is_no_attack(
    pipeline: LivenessPipeline,
    people: list[Rendered],
    name: str,
    rgb: Disturb,
    ir: Disturb,
    strengths: tuple[float, ...],
) -> None:
    plain, _ = assessed(pipeline, people, same, same, 0)
    for strength in strengths:
        decisions, median = assessed(pipeline, people, rgb, ir, strength)
        assert decisions["spoof"] <= plain["spoof"] + 1, (name, strength, decisions)
        # If the gates pass most people, most people are still live.
        assert not median < pipeline.point.threshold, (name, strength, median)


def test_the_blur_is_measured_on_the_crop_of_the_gates() -> None:
    assert CropRule(size=112, margin=0.2) == FACE_RULE
