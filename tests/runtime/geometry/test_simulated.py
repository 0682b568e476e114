"""Simulated faces in front of two cameras 25 mm apart: true IR boxes are compared with those mapped by the geometry."""

from __future__ import annotations

import numpy as np
import pytest

from runtime.core.values import Box
from runtime.geometry.box_mapping import CalibratedMapper, ScaleMapper
from tests.support.geometry.rigs import centre
from tests.support.geometry.simulated import shoot

PEOPLE = range(6)


def off(found: Box, true: Box) -> float:
    """Return the distance between the centres as a fraction of the face's width."""
    return float(np.linalg.norm(centre(found) - centre(true))) / true.w


@pytest.mark.parametrize("family", ["A", "B"])
def test_by_face_width_within_a_percent_where_one_view_is_ten_percent_off(family: str) -> None:
    for subject in PEOPLE:
        shot = shoot(subject, family=family, presentation=subject)
        found = CalibratedMapper(shot.geometry).map_box(shot.rgb_box, "rgb", "ir", shot.pair)
        back = CalibratedMapper(shot.geometry).map_box(shot.ir_box, "ir", "rgb", shot.pair)
        blind = ScaleMapper().map_box(shot.rgb_box, "rgb", "ir", shot.pair)
        assert found is not None
        assert back is not None
        assert blind is not None
        assert found.distance_mm == pytest.approx(shot.distance_mm, rel=0.01)
        # The simulation shifts the infrared image by whole pixels.
        assert off(found.box, shot.ir_box) < 0.01
        assert off(back.box, shot.rgb_box) < 0.01
        assert off(blind.box, shot.ir_box) > 0.1


@pytest.mark.parametrize("species", ["bona_fide", "replay_screen", "print_matte"])
def test_by_depth_faces_of_any_size_are_placed(species: str) -> None:
    """A face on a screen or a sheet is not 150 mm wide; the depth map gives its true distance."""
    for subject in PEOPLE:
        shot = shoot(subject, species=species, presentation=subject, depth=True)
        found = CalibratedMapper(shot.geometry).map_box(shot.rgb_box, "rgb", "ir", shot.pair)
        assert found is not None
        assert found.by == "depth"
        # The simulation measures the distance to the foremost point of a head, which is in front of its middle.
        assert found.distance_mm == pytest.approx(shot.distance_mm, rel=0.12)
        assert off(found.box, shot.ir_box) < 0.02
