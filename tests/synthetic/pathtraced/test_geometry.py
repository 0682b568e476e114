"""Meshes, windows and distances; these tests need no Mitsuba."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from synthetic.pathtraced import RenderError, backend
from synthetic.pathtraced.surroundings import lamps_of, wall_picture
from synthetic.pathtraced.things import Window, facing, joined, plate
from synthetic.pathtraced.zbuffer import z_buffer
from synthetic.rendering import Lights

WINDOW = Window((0.0, 0.0, 500.0), 40, 40, 100.0, (20.0, 20.0))


def test_right_and_up_in_the_world_are_right_and_up_in_the_picture() -> None:
    at = WINDOW.project(np.array([[0, 0, 0], [50, 0, 0], [0, 50, 0]], np.float32))
    assert at == pytest.approx(np.array([[20, 20], [30, 20], [20, 10]]), abs=1e-4)


def test_a_plate_covers_what_it_should_at_its_distance() -> None:
    depth, owner = z_buffer([(7, plate((50.0, 25.0)))], WINDOW)
    assert (owner == 7).sum() == 20 * 10
    assert depth[owner == 7] == pytest.approx(500)
    assert (depth[owner == -1] == 0).all()


def test_the_nearer_of_two_things_hides_the_other() -> None:
    ahead = plate((10.0, 10.0)).moved(np.eye(3, dtype=np.float32), np.array([0, 0, 250], np.float32))
    depth, owner = z_buffer([(0, ahead), (1, plate((90.0, 90.0)))], WINDOW)
    assert depth[20, 20] == pytest.approx(250)
    assert owner[20, 20] == 0
    assert owner[4, 4] == 1


def test_distances_along_a_slanted_plate_follow_perspective() -> None:
    slanted = plate((100.0, 100.0)).moved(facing(np.array([0.6, 0, 0.8], np.float32)), np.zeros(3, np.float32))
    depth, _ = z_buffer([(0, slanted)], WINDOW)
    # On the plane 0.6 x + 0.8 z = 0; the ray of a column has x = t · (column + 0.5 − 20) / 100.
    column = np.arange(10, 30)
    slope = (column + 0.5 - 20) / 100
    assert depth[20, column] == pytest.approx(0.8 * 500 / (0.8 - 0.6 * slope), rel=1e-4)


def test_what_is_behind_the_lens_is_left_out() -> None:
    behind = plate((10.0, 10.0)).moved(np.eye(3, dtype=np.float32), np.array([0, 0, 600], np.float32))
    assert (z_buffer([(0, behind)], WINDOW)[1] == -1).all()


def test_a_bent_sheet_bends_away_and_its_normals_lean_out() -> None:
    sheet = plate((100.0, 50.0), 9, 3, curl=0.002)
    edge = np.abs(sheet.vertices[:, 0]) > 99
    assert sheet.vertices[edge, 2] == pytest.approx(-20)
    assert (np.sign(sheet.normals[edge, 0]) == np.sign(sheet.vertices[edge, 0])).all()


def test_joined_parts_keep_their_triangles() -> None:
    both = joined([plate((1.0, 1.0)), plate((2.0, 2.0))])
    assert len(both.triangles) == 4
    assert both.vertices[both.triangles[2:]].max() == 2


def test_a_direction_straight_up_has_a_rotation_too() -> None:
    for direction in ([0, 1, 0], [0, -1, 0], [0.6, 0, 0.8]):
        turn = facing(np.array(direction, np.float32))
        assert turn @ turn.T == pytest.approx(np.eye(3), abs=1e-6)
        assert turn @ [0, 0, 1] == pytest.approx(direction, abs=1e-6)
        assert np.linalg.det(turn) == pytest.approx(1, abs=1e-6)


def test_a_lamp_of_any_size_gives_the_light_that_is_asked_for() -> None:
    lights = Lights(np.zeros(4, np.float32), ((np.array([0, 0, 1], np.float32), np.full(4, 0.5, np.float32)),), 1.0)
    for seed in range(5):
        (lamp,) = lamps_of(lights, np.random.default_rng(seed))
        away = np.linalg.norm(lamp.at)
        assert 4 * lamp.half[0] * lamp.half[1] * lamp.radiance[0] / away**2 / np.pi == pytest.approx(0.5)


def test_walls_are_reflectances() -> None:
    for seed in range(20):
        wall = wall_picture(np.random.default_rng(seed))
        assert wall.dtype == np.float32
        assert 0 < wall.min() <= wall.max() < 1


def test_without_mitsuba_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mitsuba", None)
    backend.mitsuba.cache_clear()
    with pytest.raises(RenderError, match=r"pip install 'adsn\[render\]'") as caught:
        backend.mitsuba()
    assert "\n" not in str(caught.value)


class FakeMitsuba:
    """Mitsuba on a machine that lacks what its variants need."""

    def variants(self) -> list[str]:
        return ["llvm_ad_rgb", "llvm_ad_mono"]

    def set_variant(self, name: str) -> None:
        raise RuntimeError("LLVM-C library could not be found\nsecond line")


def test_without_llvm_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(backend.MODE_VARIABLE, raising=False)
    monkeypatch.setattr(backend, "mitsuba", FakeMitsuba)
    backend.mode.cache_clear()
    with pytest.raises(RenderError, match="apt install libllvm19") as caught:
        backend.mode()
    assert "could not be found" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_mode_that_does_not_exist_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(backend.MODE_VARIABLE, "opencl")
    monkeypatch.setattr(backend, "mitsuba", FakeMitsuba)
    backend.mode.cache_clear()
    with pytest.raises(RenderError, match="opencl"):
        backend.mode()
