"""The path tracer: run with -m render; needs Mitsuba and MakeHuman's assets."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest

from synthetic import PATH_TRACED_SPECIES, Attributes, Presentation, Rendered
from synthetic.pathtraced import describe, render, render_patch
from synthetic.pathtraced.backend import Band
from synthetic.pathtraced.render import picture
from synthetic.pathtraced.surroundings import flash_of
from synthetic.pathtraced.things import Lamp, Matter, Stage, Thing, Window, plate
from synthetic.people.makehuman import VARIABLE

pytestmark = [
    pytest.mark.render,
    pytest.mark.skipif(VARIABLE not in os.environ, reason=f"{VARIABLE} names no MakeHuman folder"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


@pytest.fixture(autouse=True)
def _needs_mitsuba() -> None:
    pytest.importorskip("mitsuba")


def rendered(subject: int, species: str, size: int, samples: int, attributes: Attributes | None = None) -> Rendered:
    what = describe(Presentation(seed=3, subject=subject, species=species, attributes=attributes))
    return render(what, size=size, samples=samples)


@pytest.mark.parametrize("species", PATH_TRACED_SPECIES)
def test_every_species_renders(species: str) -> None:
    found = rendered(subject=11, species=species, size=80, samples=8)
    assert found.rgb.shape == (80, 80, 3)
    assert found.ir.shape == found.depth.shape == found.region.shape == (80, 80, 1)
    assert found.label == (species == "bona_fide")
    middle = found.depth[36:44, 36:44]
    # The face is in the box, at about the drawn distance.
    assert abs(float(np.median(middle[middle > 0])) - found.conditions["distance_mm"]) < 120
    assert (found.region.max() > 0) == (species == "partial")


def test_the_same_arguments_give_the_same_pixels() -> None:
    first, second = (rendered(subject=12, species="bona_fide", size=64, samples=4) for _ in range(2))
    assert np.array_equal(first.rgb, second.rgb)
    assert np.array_equal(first.ir, second.ir)
    assert np.array_equal(first.depth, second.depth)


def test_a_screen_is_dark_in_the_infrared_and_bright_in_the_visible() -> None:
    seen = [rendered(subject=k, species="replay_screen", size=64, samples=8) for k in (13, 14, 15)]
    for found in seen:
        face = slice(24, 40)
        around = found.ir.astype(float)
        assert np.median(found.ir[face, face]) <= np.percentile(around, 90)
    assert max(float(found.rgb[24:40, 24:40].mean()) for found in seen) > 60


def test_the_function_with_the_fast_renderers_arguments_gives_the_same() -> None:
    shown = Presentation(seed=3, subject=12)
    assert np.array_equal(render_patch(shown, size=64).rgb, render(describe(shown), size=64).rgb)


def test_a_hat_changes_nothing_of_the_pose() -> None:
    what = describe(Presentation(seed=3, subject=16))
    bare = replace(what.attributes, hat=None)
    first = rendered(subject=16, species="bona_fide", size=64, samples=4, attributes=bare)
    second = rendered(subject=16, species="bona_fide", size=64, samples=4)
    assert first.conditions["yaw_deg"] == second.conditions["yaw_deg"]
    assert first.box == second.box


WALL = (Thing(plate((200.0, 200.0)), Matter((0.7,) * 4, roughness=1.0)),)
WINDOW = Window((0.0, 0.0, 600.0), 16, 16, 200.0, (8.0, 8.0))
DARK = (0.0, 0.0, 0.0, 0.0)


def test_the_flash_lights_a_wall_by_the_inverse_square_law() -> None:
    for away in (600.0, 1200.0):
        flash = flash_of((0.0, 0.0, away), 10.0, 0.0, 0.0, 1.0)
        light = picture(Stage(WALL, (), flash, DARK), WINDOW, "ir", samples=16, seed=1)
        assert float(light.mean()) == pytest.approx(0.7 * (500 / away) ** 2, rel=0.06)


@pytest.mark.parametrize("band", ["rgb", "ir"])
def test_surroundings_and_lamps_give_the_light_that_is_asked_for(band: Band) -> None:
    light = picture(Stage(WALL, (), None, (0.5,) * 4), WINDOW, band, samples=64, seed=1)
    # The wall also reflects some light specularly.
    assert 0.33 < float(light.mean()) < 0.41
    lamp = Lamp((300.0, 300.0, 900.0), (0.0, 0.0, 0.0), (100.0, 200.0), (5.0,) * 4)
    away = np.linalg.norm(lamp.at)
    light = picture(Stage(WALL, (lamp,), None, DARK), WINDOW, band, samples=64, seed=1)
    assert float(light.mean()) == pytest.approx(5 * 80000 / away**2 * 900 / away * 0.7 / np.pi, rel=0.1)


def test_a_point_is_where_the_window_projects_it() -> None:
    speck = plate((6.0, 6.0)).moved(np.eye(3, dtype=np.float32), np.array([40, -25, 30], np.float32))
    window = Window((15.0, 10.0, 600.0), 48, 40, 180.0, (20.0, 26.0))
    stage = Stage((Thing(speck, Matter((0.9,) * 4)),), (), None, (1.0,) * 4)
    dark = Stage((Thing(speck, Matter((0.0,) * 4)),), (), None, (1.0,) * 4)
    difference = np.abs(
        picture(stage, window, "ir", samples=16, seed=1) - picture(dark, window, "ir", samples=16, seed=1)
    )
    row, column = np.unravel_index(difference[:, :, 0].argmax(), (40, 48))
    at = window.project(np.array([[40, -25, 30]], np.float32))[0]
    assert abs(column + 0.5 - at[0]) < 2
    assert abs(row + 0.5 - at[1]) < 2
