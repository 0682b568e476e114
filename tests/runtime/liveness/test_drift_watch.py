"""Drift watch: detection of moved cameras from assessed pairs."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from runtime.capture.simulated.rig import SyntheticPair, SyntheticRig
from runtime.core.units import SECOND
from runtime.core.values import Box, Modality, Pair
from runtime.geometry.box_mapping import BoxMapper, CalibratedMapper, MappedBox, MappingMethod, RigGeometry, ScaleMapper
from runtime.liveness.drift_watch import DriftWatch
from runtime.liveness.pair_pipeline import Assessment
from tests.support.geometry.rigs import rig
from tests.support.scenes import pipeline

DISTANCE_MM = 600.0


@pytest.fixture(scope="module")
def people() -> list[SyntheticPair]:
    """Return eight people who are visible in both images."""
    every = (SyntheticRig(seed=107, subject=n, family="AB"[n % 2], presentation=n).next() for n in range(12))
    return [person for person in every if person.conditions["lux"] > 20][:8]


@dataclass(frozen=True, slots=True, eq=False)
class Knows(CalibratedMapper):
    """Box mapper of a calibrated rig that sees the last of ``people``. Its IR camera has since been turned by some
    pixels."""

    people: list[SyntheticPair] = field(default_factory=list)
    off: tuple[float, float] = (0.0, 0.0)
    by: MappingMethod = "depth"

    def map_box(self, box: Box, source: Modality, target: Modality, pair: Pair) -> MappedBox | None:
        true = self.people[-1].ir_face_box
        return MappedBox(replace(true, x=true.x - self.off[0], y=true.y - self.off[1]), self.by, 1.0, DISTANCE_MM)


def judged(person: SyntheticPair) -> Assessment:
    return pipeline().assess(person.pair, {"rgb": person.face_box, "ir": person.ir_face_box})


def advice(
    people: list[SyntheticPair],
    off: tuple[float, float],
    *,
    readings: int = 24,
    geometry: RigGeometry | None = None,
    by: MappingMethod = "depth",
) -> str:
    """Return the advice after ``readings`` seconds, each with a person in front of the rig."""
    geometry = geometry or rig()
    come: list[SyntheticPair] = []
    drift_watch = DriftWatch(Knows(geometry, people=come, off=off, by=by))
    for number in range(readings):
        person = people[number % len(people)]
        come.append(person)
        at = number * SECOND
        pair = replace(person.pair, rgb_time_ns=at, ir_time_ns=at, clock="monotonic", lit="lit")
        assert drift_watch.update(pair, judged(person))
        # Not due again within one second.
        assert not drift_watch.update(replace(pair, ir_time_ns=at + SECOND // 2), judged(person))
    return drift_watch.advice


def test_cameras_that_stand_as_calibrated_say_nothing(people: list[SyntheticPair]) -> None:
    assert advice(people, (0.0, 0.0)) == ""


def test_a_camera_that_was_knocked_is_told_with_what_to_do(people: list[SyntheticPair]) -> None:
    said = advice(people, (12.0, -3.0))
    assert "adsn-calib rig" in said
    assert advice(people, (12.0, -3.0), readings=10) == ""


@pytest.mark.parametrize(
    "box_mapper", [ScaleMapper(), CalibratedMapper(replace(rig(), cameras={"rgb": rig().cameras["rgb"]}))]
)
def test_where_nothing_was_calibrated_nothing_can_have_moved(
    box_mapper: BoxMapper, people: list[SyntheticPair]
) -> None:
    pair = replace(people[0].pair, rgb_time_ns=0, ir_time_ns=0, clock="monotonic", lit="lit")
    assert not DriftWatch(box_mapper).update(pair, judged(people[0]))


def test_a_dark_frame_and_a_pair_without_times_say_nothing(people: list[SyntheticPair]) -> None:
    drift_watch = DriftWatch(Knows(rig(), people=people[:1]))
    found = judged(people[0])
    assert not drift_watch.update(
        replace(people[0].pair, ir_time_ns=0, rgb_time_ns=0, clock="monotonic", lit="dark"), found
    )
    assert not drift_watch.update(replace(people[0].pair, rgb_time_ns=None, ir_time_ns=None, clock="none"), found)


def test_what_a_guessed_distance_may_be_wrong_by_is_forgiven(people: list[SyntheticPair]) -> None:
    # Cameras 60 mm apart, face 600 mm away: a fifth of the parallax is 11 pixels.
    wide = rig(baseline_mm=60)
    assert advice(people, (12.0, 0.0), geometry=wide, by="face_width") == ""
    assert advice(people, (12.0, 0.0), geometry=wide, by="depth") != ""
    assert advice(people, (0.0, 12.0), geometry=wide, by="face_width") != ""
