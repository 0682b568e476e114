"""Responses of faces and attacks to the illuminator, and detection of copied IR images."""

from __future__ import annotations

import math
from dataclasses import replace

import cv2
import numpy as np
import pytest

from runtime.core.values import Box, Image, Pair
from runtime.imaging.crop import CropRule, crop
from runtime.liveness.active_light import ActiveLight, ActiveLightRule, compare
from runtime.liveness.grey_copy import copy_correlation
from runtime.liveness.stream_pipeline import StreamPipeline
from runtime.pairing.feed import CapturedPair
from synthetic import Presentation, render_frame, render_patch
from tests.support.scenes import BOX, pair, pipeline, rgb_image

RULE = ActiveLightRule()
BRIGHTER = ActiveLightRule(min_ratio=-math.inf, min_darkening=-math.inf)
"""Accepts every face that becomes brighter, whatever its surroundings do."""


def scene(face: int, around: int) -> Image:
    """Return a face of one grey level in surroundings of another."""
    image = np.full((480, 640, 1), around, np.uint8)
    x, y, w, h = (int(v) for v in (BOX.x, BOX.y, BOX.w, BOX.h))
    image[y : y + h, x : x + w] = face
    return image


def judged(shone_on: Image, dark: Image, **changes: object) -> str:
    made = Pair(ir=shone_on, ir_dark=dark, ir_time_ns=0, ir_dark_time_ns=33_000_000, lit="lit")
    return ActiveLight().measure(replace(made, **changes), BOX)  # type: ignore[arg-type]  # changes are fields of several types


def test_a_face_before_a_wall_follows() -> None:
    assert judged(scene(140, 50), scene(30, 25)) == "follows"
    # In a room without ambient IR light, darkening cannot be measured.
    assert judged(scene(140, 50), scene(2, 2)) == "follows"


@pytest.mark.parametrize(
    ("lit", "dark"),
    [
        (scene(140, 50), scene(140, 50)),  # emits light, or ignores the illuminator
        (scene(60, 90), scene(140, 50)),  # follows another pattern
        (scene(60, 90), scene(30, 30)),  # responds less than the wall behind it
        (scene(140, 100), scene(70, 50)),  # dimmed as a whole
    ],
    ids=["constant", "inverted", "screen", "dimmed"],
)
def test_wrong_answers(lit: Image, dark: Image) -> None:
    assert judged(lit, dark) == "mismatch"


def test_what_cannot_be_told_is_unknown() -> None:
    lit, dark = scene(140, 50), scene(30, 25)
    assert judged(lit, dark, lit="unknown") == "unknown"
    assert judged(lit, dark, lit="dark") == "unknown"
    assert judged(lit, dark, ir_dark=None) == "unknown"
    assert judged(lit, dark, ir_dark_time_ns=None) == "unknown"
    assert judged(lit, dark, ir_dark_time_ns=200_000_000) == "unknown"
    assert judged(lit, dark, ir_dark=dark[:240]) == "unknown"
    # A gain so small that sunlight may have masked it, and clipping by sunlight.
    assert judged(scene(126, 110), scene(120, 108)) == "unknown"
    assert judged(scene(255, 255), scene(250, 250)) == "unknown"
    # The face fills the image: there is no background for comparison.
    assert compare(lit[130:310, 230:410], dark[130:310, 230:410], Box(10, 10, 160, 160), RULE) == "unknown"


@pytest.mark.parametrize(("species", "expected"), [("bona_fide", "follows"), ("print_toner", None)])
def test_simulated_rig(species: str, expected: str | None) -> None:
    """People follow the strobe. A print may follow it too, because it is lit like them: the response is no sign of
    life."""
    for subject in range(3):
        lit, dark = (
            render_frame(Presentation(seed=4, subject=subject, species=species, frame=frame), lit=frame == 0)
            for frame in (0, 1)
        )
        assert compare(lit.ir, dark.ir, Box(*lit.ir_box), BRIGHTER) == "follows"
        if expected:
            assert compare(lit.ir, dark.ir, Box(*lit.ir_box), RULE) == expected


def test_a_stream_says_that_the_strobe_was_lost() -> None:
    now = 10**12
    lit = pair(now)
    assert lit.ir is not None
    injected = replace(lit, ir_dark=lit.ir, ir_dark_time_ns=now + 33_000_000)
    seen = StreamPipeline(pipeline()).assess(CapturedPair(1, injected, now), now)
    assert seen.observation.strobe == "mismatch"


def grey(rgb: Image) -> Image:
    return np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)[:, :, None], np.uint8)


@pytest.mark.parametrize("family", ["A", "B"])
def test_a_copy_is_known_and_a_person_is_not_taken_for_one(family: str) -> None:
    rng = np.random.default_rng(1)
    tried = 0
    for subject in range(12):
        r = render_patch(Presentation(seed=8, subject=subject, family=family))
        rgb, ir = crop(r.rgb, Box(*r.box), CropRule()), crop(r.ir, Box(*r.ir_box), CropRule())
        if rgb.mean() < 25:
            continue
        tried += 1
        assert copy_correlation(rgb, ir) < 0.94
        copy = grey(rgb)
        assert copy_correlation(rgb, copy) > 0.99
        changed = (copy / 255.0) ** 0.7 * 200 + rng.normal(0, 2, copy.shape)
        changed = np.roll(changed, (2, -3), (0, 1))
        assert copy_correlation(rgb, changed.clip(0, 255).astype(np.uint8)) > 0.94
    assert tried >= 6


def test_flat_pictures_are_no_copies() -> None:
    flat = np.full((112, 112, 1), 90, np.uint8)
    some = rgb_image()[140:252, 240:352]
    assert copy_correlation(some, flat) == 0
    assert copy_correlation(np.repeat(flat, 3, axis=2), grey(some)) == 0


def test_an_injected_copy_is_never_live() -> None:
    made = pair(0, ir=grey(rgb_image()))
    found = pipeline().assess(made)
    assert (found.decision, found.reasons) == ("uncertain", ("strobe_lost",))
