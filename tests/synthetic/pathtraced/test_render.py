"""The path tracer itself: run with -m render, where Mitsuba and MakeHuman's assets are."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest

from synthetic import SPECIES
from synthetic.pathtraced import describe, render_patch
from synthetic.people.makehuman import VARIABLE

pytestmark = [
    pytest.mark.render,
    pytest.mark.skipif(VARIABLE not in os.environ, reason=f"{VARIABLE} names no MakeHuman folder"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


@pytest.fixture(autouse=True)
def _needs_mitsuba() -> None:
    pytest.importorskip("mitsuba")


@pytest.mark.parametrize("species", SPECIES)
def test_every_species_renders(species: str) -> None:
    found = render_patch(seed=3, subject=11, species=species, size=80, samples=8)
    assert found.rgb.shape == (80, 80, 3)
    assert found.ir.shape == found.depth.shape == found.region.shape == (80, 80, 1)
    assert found.label == (species == "bona_fide")
    middle = found.depth[36:44, 36:44]
    # The face is where the box says, at about the distance that was drawn.
    assert abs(float(np.median(middle[middle > 0])) - found.conditions["distance_mm"]) < 120
    assert (found.region.max() > 0) == (species == "partial")


def test_the_same_arguments_give_the_same_pixels() -> None:
    first, second = (render_patch(seed=3, subject=12, species="bona_fide", size=64, samples=4) for _ in range(2))
    assert np.array_equal(first.rgb, second.rgb)
    assert np.array_equal(first.ir, second.ir)
    assert np.array_equal(first.depth, second.depth)


def test_a_screen_is_dark_in_the_infrared_and_bright_in_the_visible() -> None:
    seen = [render_patch(seed=3, subject=k, species="replay_screen", size=64, samples=8) for k in (13, 14, 15)]
    for found in seen:
        face = slice(24, 40)
        around = found.ir.astype(float)
        assert np.median(found.ir[face, face]) <= np.percentile(around, 90)
    assert max(float(found.rgb[24:40, 24:40].mean()) for found in seen) > 60


def test_a_hat_changes_nothing_of_the_pose() -> None:
    what = describe(seed=3, subject=16, species="bona_fide")
    bare = replace(what.attributes, hat=None)
    first = render_patch(seed=3, subject=16, species="bona_fide", size=64, samples=4, attributes=bare)
    second = render_patch(seed=3, subject=16, species="bona_fide", size=64, samples=4)
    assert first.conditions["yaw_deg"] == second.conditions["yaw_deg"]
    assert first.box == second.box
