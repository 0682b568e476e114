"""The drift monitor on simulated faces whose true boxes are known."""

from __future__ import annotations

import dataclasses
import functools

import cv2
import numpy as np
import pytest

from runtime.capture.simulated.rig import SyntheticPair, SyntheticRig
from runtime.core.units import SECOND
from runtime.core.values import Box
from runtime.geometry.drift import CROP, MIN_RESPONSE, DriftMonitor, shift_between
from runtime.imaging.crop import crop


@functools.cache
def people() -> tuple[SyntheticPair, ...]:
    """Render twelve people in front of six rigs of each camera family, with enough light."""
    pairs = (SyntheticRig(seed=107, subject=n, family="AB"[n % 2], presentation=n).next() for n in range(16))
    return tuple(p for p in pairs if p.conditions["lux"] > 20)[:12]


def moved(box: Box, x: float, y: float) -> Box:
    return dataclasses.replace(box, x=box.x + x, y=box.y + y)


def watch(monitor: DriftMonitor, x: float, y: float, rounds: int = 2, start_s: int = 0) -> None:
    """Update the monitor with every person ``rounds`` times, with the IR image shifted by ``x``, ``y``."""
    for number, person in enumerate(people() * rounds):
        assert person.pair.rgb is not None
        assert person.pair.ir is not None
        placed = moved(person.ir_face_box, -x, -y)
        monitor.update(person.pair.rgb, person.pair.ir, person.face_box, placed, (start_s + number) * SECOND)


@pytest.mark.parametrize(("x", "y"), [(8.0, 0.0), (-13.0, 21.0), (45.0, -30.0), (0.4, 0.3)])
def test_a_pure_shift_is_found_to_a_tenth_of_a_pixel(x: float, y: float) -> None:
    person = people()[0]
    assert person.pair.rgb is not None
    big = crop(person.pair.rgb, person.face_box, dataclasses.replace(CROP, size=320))
    move = np.array([[1, 0, x], [0, 1, y]])
    other = cv2.warpAffine(255 - big // 2, move, (320, 320), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    found = shift_between(big, np.asarray(other, np.uint8))
    assert found.response > MIN_RESPONSE
    assert abs(found.x - x) < 0.1
    assert abs(found.y - y) < 0.1


def test_cameras_that_did_not_move_raise_no_alarm() -> None:
    monitor = DriftMonitor()
    watch(monitor, 0, 0)
    state = monitor.state()
    assert state.drifted is False
    assert state.advice == ""
    assert np.hypot(state.x, state.y) < 1.0
    assert state.readings >= 20


@pytest.mark.parametrize(("x", "y"), [(7.0, 0.0), (0.0, -8.0), (-6.0, 6.0), (15.0, 10.0)])
def test_a_camera_that_moved_raises_one_that_says_where_to(x: float, y: float) -> None:
    monitor = DriftMonitor()
    watch(monitor, x, y)
    state = monitor.state()
    assert state.drifted is True
    assert abs(state.x - x) < 1
    assert abs(state.y - y) < 1
    assert "adsn-calib rig" in state.advice


def test_wide_faces_are_no_drift_but_what_goes_beyond_them_is() -> None:
    """All boxes are a tenth too wide. With cameras 25 mm apart that is a shift of four pixels, which looks like a
    rotation."""
    for x, y, drifted in ((4.0, 0.0, False), (8.0, 0.0, False), (12.0, 0.0, True), (4.0, 7.0, True)):
        monitor = DriftMonitor()
        for number, person in enumerate(people() * 2):
            assert person.pair.rgb is not None
            assert person.pair.ir is not None
            placed = moved(person.ir_face_box, -x, -y)
            monitor.update(person.pair.rgb, person.pair.ir, person.face_box, placed, number * SECOND, slack=(-5.0, 0.1))
        assert monitor.state().drifted is drifted


def test_it_is_silent_until_it_has_seen_enough() -> None:
    monitor = DriftMonitor(least=20)
    watch(monitor, 12, 0, rounds=1)
    assert monitor.state().drifted is None
    assert monitor.state().readings > 5


def test_what_is_no_shift_is_no_reading() -> None:
    rng = np.random.default_rng(0)
    monitor = DriftMonitor(every_ns=0)
    box = Box(200, 150, 120, 120)
    black = np.zeros((480, 640, 1), np.uint8)
    for second in range(30):
        noise = rng.integers(0, 255, (480, 640, 3)).astype(np.uint8)
        state = monitor.update(noise, black, box, box, second)
        state = monitor.update(noise, rng.integers(0, 60, (480, 640, 1)).astype(np.uint8), box, box, second)
        state = monitor.update(noise, black, box, moved(box, 5000, 0), second)
    assert (state.readings, state.rejected, state.drifted) == (0, 90, None)


def test_faces_of_another_scale_are_mostly_rejected_and_raise_no_alarm() -> None:
    monitor = DriftMonitor(least=5)
    for number, person in enumerate(people() * 2):
        assert person.pair.rgb is not None
        assert person.pair.ir is not None
        b = person.ir_face_box
        grown = Box(b.x - 0.05 * b.w, b.y - 0.05 * b.h, b.w * 1.1, b.h * 1.1)
        monitor.update(person.pair.rgb, person.pair.ir, person.face_box, grown, number * SECOND)
    assert monitor.state().drifted is not True


def test_one_reading_a_second_and_a_bounded_memory() -> None:
    monitor = DriftMonitor(window=10, least=5)
    person = people()[0]
    assert person.pair.rgb is not None
    assert person.pair.ir is not None
    for tick in range(50):
        monitor.update(person.pair.rgb, person.pair.ir, person.face_box, person.ir_face_box, tick * SECOND // 10)
    assert monitor.state().readings == 5
    assert not monitor.due(5 * SECOND - SECOND // 5)
    watch(monitor, 9, 0, start_s=10)
    assert monitor.state().readings == 10
    assert monitor.state().drifted is True
    with pytest.raises(ValueError, match="least"):
        DriftMonitor(window=3, least=4)
