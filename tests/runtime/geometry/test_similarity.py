"""What faces found in both pictures teach of where one camera's pixels are in another's."""

from __future__ import annotations

import numpy as np
import pytest

from runtime.core.values import Box
from runtime.geometry.box_mapping import Registrar
from runtime.geometry.similarity import FRAMES, FacesInBoth, Learnt
from tests.support.geometry.rigs import blank, centre, face, rig

GEOMETRY = rig()
RGB, IR = GEOMETRY.cameras["rgb"], GEOMETRY.cameras["ir"]


def jittered(box: Box, rng: np.random.Generator, by: float) -> Box:
    """As a detector draws it: displaced and resized by ``by`` of its width, one standard deviation."""
    dx, dy, grow = rng.normal(0, by, 3) * box.w
    return Box(box.x + dx - grow / 2, box.y + dy - grow / 2, box.w + grow, box.h + grow)


def faces(seed: int, *, near: float, far: float, jitter: float = 0.02, strays: int = 0) -> FacesInBoth:
    rng = np.random.default_rng(seed)
    learner = FacesInBoth()
    for number in range(FRAMES):
        point = (*rng.uniform(-60, 60, 2), rng.uniform(near, far))
        found = jittered(face(IR, point), rng, jitter)
        if number < strays:
            found = Box(found.x - 150, found.y + 90, found.w * 0.4, found.h * 0.4)
        learner.add(jittered(face(RGB, point), rng, jitter), found)
    return learner


@pytest.mark.parametrize("seed", range(5))
def test_thirty_faces_at_a_kiosk_teach_where_the_next_one_is(seed: int) -> None:
    learnt, trouble = faces(seed, near=480, far=560).learn()
    assert trouble == ""
    assert learnt is not None
    registrar: Registrar = Learnt(learnt, "rgb", "ir")
    rng = np.random.default_rng(100 + seed)
    for _ in range(20):
        point = (*rng.uniform(-60, 60, 2), rng.uniform(480, 560))
        for source, target, seen, true in (
            ("rgb", "ir", face(RGB, point), face(IR, point)),
            ("ir", "rgb", face(IR, point), face(RGB, point)),
        ):
            found = registrar.place(seen, source, target, blank(GEOMETRY))  # type: ignore[arg-type]
            assert found is not None
            off = float(np.hypot(*(centre(found.box) - centre(true))))
            assert off < 0.03 * true.w
            assert found.tolerance_px is not None
            assert off < 2 * found.tolerance_px
            assert found.box.w == pytest.approx(true.w, rel=0.03)


def test_one_stray_in_five_does_not_move_it() -> None:
    clean, _ = faces(3, near=480, far=560).learn()
    dirty, trouble = faces(3, near=480, far=560, strays=6).learn()
    assert trouble == ""
    assert clean is not None
    assert dirty is not None
    where = centre(face(RGB, (0, 0, 520)))
    box = Box(where[0] - 80, where[1] - 80, 160, 160)
    assert np.hypot(*(centre(clean.carry(box)) - centre(dirty.carry(box)))) < 0.02 * 160


def test_it_says_when_it_is_not_to_be_trusted() -> None:
    learner = FacesInBoth()
    assert learner.learn() == (None, "no face was found in both pictures yet")
    learner.add(Box(1, 1, 50, 50), Box(1, 1, float("nan"), 50))
    learner.add(Box(1, 1, 0, 50), Box(1, 1, 50, 50))
    assert learner.learn()[0] is None
    learner.add(Box(100, 100, 50, 50), Box(80, 90, 50, 50))
    assert "learnt from 1 pairs; 30" in learner.learn()[1]
    assert "places disagree" in faces(0, near=300, far=1200, jitter=0.0).learn()[1]
    assert "sizes disagree" in faces(0, near=480, far=560, jitter=0.15).learn()[1]


def test_at_another_distance_it_says_that_it_cannot_say() -> None:
    learnt, trouble = faces(1, near=480, far=560).learn()
    assert trouble == ""
    assert learnt is not None
    registrar = Learnt(learnt, "rgb", "ir")
    pair = blank(GEOMETRY)
    assert registrar.place(face(RGB, (0, 0, 1000)), "rgb", "ir", pair) is None
    assert registrar.place(face(RGB, (0, 0, 300)), "rgb", "ir", pair) is None
    assert registrar.place(face(RGB, (0, 0, 520)), "rgb", "rgb", pair) is None
    nearer = registrar.place(face(RGB, (0, 0, 450)), "rgb", "ir", pair)
    as_learnt = registrar.place(face(RGB, (0, 0, 520)), "rgb", "ir", pair)
    assert nearer is not None
    assert as_learnt is not None
    assert nearer.tolerance_px is not None
    assert as_learnt.tolerance_px is not None
    assert nearer.tolerance_px > as_learnt.tolerance_px


def test_only_the_newest_faces_count() -> None:
    learner = FacesInBoth()
    for shift in (0.0, 40.0):
        for number in range(FRAMES):
            learner.add(Box(100 + number, 100, 50, 50), Box(100 + number + shift, 100, 50, 50))
    learnt, trouble = learner.learn()
    assert trouble == ""
    assert learnt is not None
    assert learnt.carry(Box(100, 100, 50, 50)).x == pytest.approx(140)
