"""Periods and phases estimated from passing frames."""

from __future__ import annotations

import itertools
import random

import pytest

from runtime.core.units import MS
from runtime.pairing.advice import phase_advice
from runtime.pairing.phase import PeriodEstimator, Phase, PhaseTracker

PERIOD = 33 * MS


def test_a_period_is_known_from_the_first_interval_without_a_drop() -> None:
    period = PeriodEstimator()
    period.add(2 * PERIOD)
    assert period.value == 2 * PERIOD
    period.add(PERIOD)
    assert period.value == PERIOD


def test_drops_and_jitter_do_not_change_a_period() -> None:
    rng = random.Random(1)
    period = PeriodEstimator()
    for _ in range(500):
        drops = 2 if rng.random() < 0.2 else 1
        period.add(drops * PERIOD + int(rng.gauss(0, 1.5 * MS)))
    assert period.value == pytest.approx(PERIOD, abs=2 * MS)


@pytest.mark.parametrize("factor", [0.5, 2])
def test_a_change_of_rate_is_followed(factor: float) -> None:
    period = PeriodEstimator(PERIOD)
    for _ in range(30):
        period.add(PERIOD)
    for _ in range(10):
        period.add(int(PERIOD * factor))
    assert period.value == pytest.approx(PERIOD * factor, rel=0.01)


def test_one_short_interval_is_no_new_rate() -> None:
    period = PeriodEstimator(PERIOD)
    for _ in range(30):
        period.add(PERIOD)
    period.add(5 * MS)
    assert period.value == PERIOD


@pytest.mark.parametrize("phase", [0, 4, -4, 12, -15, 16])
def test_a_phase_is_known_after_a_dozen(phase: int) -> None:
    tracker = PhaseTracker()
    assert not tracker.phase.stable
    for _ in range(12):
        tracker.add(phase * MS, PERIOD)
    found = tracker.phase
    assert found.stable
    assert found.phase_ns == pytest.approx(phase * MS, abs=1000)
    assert tracker.between == (abs(phase) > 12)
    assert tracker.shift == (0 if tracker.between else found.phase_ns)


def test_neighbours_of_either_side_are_one_phase() -> None:
    tracker = PhaseTracker()
    for k in range(40):
        tracker.add(14 * MS - (k % 2) * PERIOD, PERIOD)
    assert tracker.phase.phase_ns == pytest.approx(14 * MS, abs=1000)


def test_a_phase_changes_sides_late() -> None:
    """While the phase drifts through half a period, it keeps its sign until 0.55 and then changes it."""
    tracker = PhaseTracker()
    seen = []
    for k in range(600):
        tracker.add(int(PERIOD * (0.4 + k / 3000)), PERIOD)
        seen.append(tracker.lean / PERIOD)
    assert max(seen) == pytest.approx(0.55, abs=0.01)
    assert seen[-1] == pytest.approx(0.6 - 1, abs=0.01)
    assert sum(a * b < 0 for a, b in itertools.pairwise(seen)) == 1


def test_no_phase_where_there_is_none() -> None:
    rng = random.Random(2)
    tracker = PhaseTracker()
    stable = 0
    for _ in range(500):
        tracker.add(rng.randrange(PERIOD), PERIOD)
        stable += tracker.phase.stable
    assert stable < 25


def test_advice_on_a_phase() -> None:
    assert phase_advice(Phase(4 * MS, PERIOD, True), 10 * MS) == ""
    assert phase_advice(Phase(9 * MS, PERIOD, False), 10 * MS) == ""
    assert "+9.0 ms apart" in phase_advice(Phase(9 * MS, PERIOD, True), 10 * MS)
