"""Offsets between streams, measured from simulated light that two cameras see."""

from __future__ import annotations

import numpy as np
import pytest

from calib.timing.offset import Floats, LevelSeries, OffsetUnknown, by_blink, edges_of
from calib.timing.offset_other import by_motion, by_strobe
from tests.support.geometry.lights import MINUTE_MS, frames, seen, switched, waving


@pytest.mark.parametrize("seed", range(8))
def test_a_blinking_light_gives_the_offset_to_a_millisecond(seed: int) -> None:
    """Two minutes at 30 frames per second, with unreported exposures of 3 to 25 ms."""
    rng = np.random.default_rng(seed)
    offset = float(rng.uniform(-70, 70))
    switches = switched(rng, 2 * MINUTE_MS)
    a, b = frames(rng, 2 * MINUTE_MS), frames(rng, 2 * MINUTE_MS)
    first = LevelSeries(a - offset, seen(rng, switches, a, float(rng.uniform(3, 25))))
    second = LevelSeries(b, seen(rng, switches, b, float(rng.uniform(3, 25)), step=30))
    found = by_blink(first, second)
    assert abs(found.ms - offset) <= 1.0
    assert abs(found.ms - offset) <= 3.5 * found.sigma_ms
    assert found.sigma_ms < 1.0
    assert found.events > 100


def test_dropped_frames_cost_edges_not_accuracy() -> None:
    rng = np.random.default_rng(5)
    switches = switched(rng, 2 * MINUTE_MS)
    a, b = frames(rng, 2 * MINUTE_MS), frames(rng, 2 * MINUTE_MS, fps=15)
    a = a[rng.uniform(size=a.size) > 0.1]
    found = by_blink(LevelSeries(a - 17, seen(rng, switches, a, 8)), LevelSeries(b, seen(rng, switches, b, 12), 12.0))
    assert abs(found.ms - 17) <= 1.0


def test_frames_in_step_are_solved_by_irregular_switching_alone() -> None:
    """With exposures of 1 ms and a common clock, a single edge gives one of two values, and hundreds of edges give the
    mean."""
    rng = np.random.default_rng(6)
    times = np.arange(60.0, 4 * MINUTE_MS, 100 / 3)
    later = times + 11
    switches = switched(rng, 4 * MINUTE_MS)
    a, b = (
        LevelSeries(times + 20, seen(rng, switches, times, 1.0), 1.0),
        LevelSeries(later, seen(rng, switches, later, 1.0), 1.0),
    )
    found = by_blink(a, b)
    assert abs(found.ms + 20) <= 3 * found.sigma_ms
    in_time = switched(rng, 4 * MINUTE_MS, regular_ms=500)
    a, b = (
        LevelSeries(times, seen(rng, in_time, times, 1.0), 1.0),
        LevelSeries(later, seen(rng, in_time, later, 1.0), 1.0),
    )
    with pytest.raises(OffsetUnknown, match="in step with the frames"):
        by_blink(a, b)


def test_what_does_not_determine_an_offset_is_refused() -> None:
    rng = np.random.default_rng(7)
    a, b = frames(rng, MINUTE_MS), frames(rng, MINUTE_MS)
    switches = switched(rng, MINUTE_MS)
    good = LevelSeries(a, seen(rng, switches, a, 8))
    steady = LevelSeries(b, 40 + rng.normal(0, 1, b.size))
    with pytest.raises(OffsetUnknown, match="no light that switches on and off"):
        by_blink(good, steady)
    with pytest.raises(OffsetUnknown, match="nothing changes"):
        by_blink(good, LevelSeries(b, np.full(b.size, 40.0)))
    with pytest.raises(OffsetUnknown, match="too few"):
        by_blink(good, LevelSeries(b[:10], b[:10]))
    with pytest.raises(OffsetUnknown, match="ascend"):
        by_blink(good, LevelSeries(b[::-1].copy(), seen(rng, switches, b, 8)))
    few = switched(rng, MINUTE_MS)[:12]
    with pytest.raises(OffsetUnknown, match="edges of a light"):
        by_blink(LevelSeries(a, seen(rng, few, a, 8)), LevelSeries(b, seen(rng, few, b, 8)))
    other = switched(np.random.default_rng(99), MINUTE_MS)
    with pytest.raises(OffsetUnknown):
        by_blink(good, LevelSeries(b, seen(rng, other, b, 8)))


def test_edges_lie_where_the_light_was_switched() -> None:
    rng = np.random.default_rng(8)
    switches = switched(rng, MINUTE_MS)
    times = frames(rng, MINUTE_MS)
    edges = edges_of(LevelSeries(times, seen(rng, switches, times, 12)), "first")
    assert edges.low.size > 100
    inside = 0
    for low, high, rising in zip(edges.low, edges.high, edges.rising, strict=True):
        number = int(np.argmin(np.abs(switches - (low + high) / 2)))
        inside += bool(low - 1.5 <= switches[number] <= high + 1.5) and (number % 2 == 0) == rising
    assert inside / edges.low.size > 0.97


@pytest.mark.parametrize("seed", range(3))
def test_a_waving_hand_gives_it_to_a_millisecond(seed: int) -> None:
    rng = np.random.default_rng(seed)
    offset = float(rng.uniform(-70, 70))
    total = (1, 2)[seed % 2] * MINUTE_MS
    fine, light = waving(rng, total)
    a, b = frames(rng, total), frames(rng, total, fps=(30, 15)[seed % 2])

    def look(times: Floats, exposure: float, gain: float) -> Floats:
        mean = np.convolve(light, np.ones(int(exposure)) / int(exposure), mode="same")
        level: Floats = 60 + gain * np.interp(times, fine, mean) + rng.normal(0, 0.5, times.size)
        return level

    found = by_motion(LevelSeries(a - offset, look(a, 21, 60)), LevelSeries(b, look(b, 9, 35)))
    assert abs(found.ms - offset) <= 1.0
    assert abs(found.ms - offset) <= 3.5 * found.sigma_ms
    assert found.method == "motion"


def test_a_rhythm_or_two_different_scenes_are_refused() -> None:
    rng = np.random.default_rng(3)
    a, b = frames(rng, MINUTE_MS), frames(rng, MINUTE_MS)

    def rhythm(times: Floats) -> Floats:
        level: Floats = 60 + 20 * np.sin(2 * np.pi * times / 200) + rng.normal(0, 0.5, times.size)
        return level

    with pytest.raises(OffsetUnknown, match="rhythm"):
        by_motion(LevelSeries(a, rhythm(a)), LevelSeries(b, rhythm(b)))
    with pytest.raises(OffsetUnknown, match="do not show the same"):
        by_motion(LevelSeries(a, rng.normal(0, 1, a.size)), LevelSeries(b, rng.normal(0, 1, b.size)))
    with pytest.raises(OffsetUnknown, match="overlap by less than"):
        by_motion(LevelSeries(a[:100], a[:100]), LevelSeries(b, b))


@pytest.mark.parametrize("seed", range(6))
def test_the_strobe_itself_gives_it_where_colour_sees_it(seed: int) -> None:
    """IR with 15 lit frames per second; RGB at 30.3 fps, 12 ms exposures, a tenth of the light from the strobe."""
    rng = np.random.default_rng(seed)
    offset = float(rng.uniform(-30, 30))
    lit = frames(rng, MINUTE_MS, fps=15, jitter_ms=0.05)
    on = np.column_stack([lit - 4, lit + 4]).ravel()
    times = frames(rng, MINUTE_MS, fps=30.3)
    room = 3 * np.sin(times / 9000)
    found = by_strobe(LevelSeries(times - offset, room + seen(rng, on, times, 12, step=8)), lit)
    assert abs(found.ms - offset) <= 1.0
    assert found.method == "strobe"


def test_a_strobe_that_colour_does_not_see_or_that_runs_in_step_is_refused() -> None:
    rng = np.random.default_rng(1)
    lit = np.arange(100.0, MINUTE_MS, 200 / 3)
    free, locked = frames(rng, MINUTE_MS, fps=30.3), np.arange(103.0, MINUTE_MS, 100 / 3)
    with pytest.raises(OffsetUnknown, match="does not see the strobe"):
        by_strobe(LevelSeries(free, rng.normal(40, 1, free.size)), lit)
    with pytest.raises(OffsetUnknown, match="run in step"):
        by_strobe(LevelSeries(locked, rng.normal(40, 1, locked.size)), lit)
    with pytest.raises(OffsetUnknown, match="are needed"):
        by_strobe(LevelSeries(free, free), lit[:50])


def test_a_regular_light_will_do_when_it_is_out_of_step() -> None:
    rng = np.random.default_rng(9)
    switches = switched(rng, 2 * MINUTE_MS, regular_ms=397.0)
    a, b = frames(rng, 2 * MINUTE_MS), frames(rng, 2 * MINUTE_MS)
    found = by_blink(LevelSeries(a - 33, seen(rng, switches, a, 8)), LevelSeries(b, seen(rng, switches, b, 12)))
    assert abs(found.ms - 33) <= 1.0
