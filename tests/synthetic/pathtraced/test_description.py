"""Descriptions of presentations: only the species itself depends on the species."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from synthetic import PATH_TRACED_SPECIES, SPECIES, Presentation, attributes_of
from synthetic.pathtraced import Description, describe

PER_SPECIES = 1000
TRAITS: dict[str, Callable[[Description], float]] = {
    "glasses": lambda d: d.attributes.glasses is not None,
    "tinted": lambda d: d.attributes.glasses is not None and d.attributes.glasses.tint > 0,
    "rims": lambda d: d.attributes.glasses.thickness if d.attributes.glasses else 0,
    "glasses before the picture": lambda d: d.attributes.glasses_on_picture,
    "hat": lambda d: d.attributes.hat is not None,
    "medical mask": lambda d: d.attributes.medical_mask is not None,
    "infrared of the medical mask": lambda d: d.attributes.medical_mask.colour[3] if d.attributes.medical_mask else 0,
    "under the nose": lambda d: d.attributes.medical_mask is not None and not d.attributes.medical_mask.over_nose,
    "smile": lambda d: d.attributes.face.smile,
    "open mouth": lambda d: d.attributes.face.open_mouth,
    "eyes": lambda d: d.attributes.face.eyes,
    "gaze": lambda d: d.attributes.face.gaze[0],
    "yaw": lambda d: d.yaw,
    "pitch": lambda d: d.pitch,
    "roll": lambda d: d.roll,
    "distance": lambda d: d.distance,
    "across": lambda d: d.centre[0],
    "down": lambda d: d.centre[1],
    "illuminance": lambda d: np.log(d.lux),
    "infrared of the room": lambda d: float(d.lights.ambient[3]),
    "flash": lambda d: d.lights.flash,
    "baseline": lambda d: d.baseline,
    "exposure": lambda d: d.shot.rgb_exposure,
    "infrared exposure": lambda d: d.shot.ir_exposure,
    "jpeg": lambda d: d.shot.jpeg or 100,
    "noise": lambda d: d.camera.rgb.noise,
    "infrared noise": lambda d: d.camera.ir.noise,
    "blur": lambda d: d.camera.rgb.blur,
    "gamma": lambda d: d.camera.rgb.gamma,
}


@pytest.fixture(scope="module")
def drawn() -> dict[str, list[Description]]:
    # One presentation per subject: copies of one picture show the same attributes.
    return {
        species: [describe(Presentation(seed=5, subject=subject, species=species)) for subject in range(PER_SPECIES)]
        for species in PATH_TRACED_SPECIES
    }


@pytest.mark.parametrize("name", TRAITS)
def test_twelve_thousand_descriptions_are_drawn_alike_for_every_species(
    drawn: dict[str, list[Description]], name: str
) -> None:
    values = {species: np.sort([float(TRAITS[name](d)) for d in found]) for species, found in drawn.items()}
    everything = np.sort(np.concatenate(list(values.values())))
    for species, own in values.items():
        others = np.sort(np.concatenate([v for s, v in values.items() if s != species]))
        shares = [np.searchsorted(v, everything, side="right") / len(v) for v in (own, others)]
        # Two-sample Kolmogorov–Smirnov: chance exceeds 0.07 about once in ten thousand comparisons.
        assert np.abs(shares[0] - shares[1]).max() < 0.07, species


def test_all_shares_of_attributes_occur(drawn: dict[str, list[Description]]) -> None:
    everyone = [d for found in drawn.values() for d in found]
    assert 0.27 < np.mean([d.attributes.glasses is not None for d in everyone]) < 0.33
    assert 0.07 < np.mean([d.attributes.medical_mask is not None for d in everyone]) < 0.09
    assert max(abs(d.yaw) for d in everyone) <= 35
    assert max(abs(d.pitch) for d in everyone) <= 20
    assert max(abs(d.roll) for d in everyone) <= 20
    assert min(d.distance for d in everyone) > 290
    assert max(d.distance for d in everyone) < 1520


def test_another_attribute_leaves_everything_else() -> None:
    drawn = Presentation(seed=1, subject=2, species="mask_rigid")
    first = describe(drawn)
    other = describe(Presentation(seed=1, subject=9)).attributes
    second = describe(replace(drawn, attributes=other))
    assert second.attributes is other
    for name in ("yaw", "pitch", "roll", "distance", "centre", "lux", "camera", "shot", "wearer", "baseline"):
        assert getattr(first, name) == getattr(second, name), name


def test_frames_of_a_presentation_differ_a_little() -> None:
    first, second = (describe(Presentation(seed=1, subject=2, frame=frame)) for frame in (0, 10))
    assert 0 < abs(first.yaw - second.yaw) < 6
    assert first.camera == second.camera


def test_new_species_left_the_older_draws_as_they_were() -> None:
    assert PATH_TRACED_SPECIES[: len(SPECIES)] == SPECIES
    for place, species in enumerate(SPECIES):
        drawn = Presentation(seed=1, subject=2, species=species, family="B", number=3)
        assert drawn.key == [1, 2, place, 1, 3]
        assert describe(drawn).attributes == attributes_of(drawn)


def test_copies_of_a_picture_show_the_same_medical_mask() -> None:
    def masks(species: str) -> set[object]:
        copies = [Presentation(seed=1, subject=24, species=species, number=3 * k) for k in range(40)]
        return {describe(copy).attributes.medical_mask for copy in copies}

    assert len(masks("print_matte")) == len(masks("mask_relief")) == 1
    assert masks("print_matte") == masks("mask_relief")
    assert len(masks("bona_fide")) > 1
