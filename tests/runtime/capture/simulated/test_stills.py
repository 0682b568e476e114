"""The shipped stills are complete and small, and their faces are where their ground truth says."""

from __future__ import annotations

import json

import pytest

from runtime.capture.simulated.rig import SPECIES
from runtime.capture.simulated.stills import FACTS, FOLDER, read_still, still_count
from runtime.core.errors import ConfigError
from runtime.face.open import open_detector


@pytest.mark.parametrize("species", SPECIES)
def test_every_species_has_stills(species: str) -> None:
    assert still_count(species) >= 2
    for number in range(still_count(species)):
        made = read_still(species, number)
        assert made.species == species
        assert made.pair.image("rgb").shape == (480, 640, 3)
        assert made.pair.image("ir").shape == (480, 640, 1)
        for box in (made.face_box, made.ir_face_box):
            assert box.w == box.h > 40
            assert -box.w / 2 < box.x < 640 - box.w / 2


def test_the_face_is_where_the_facts_say_in_both_images() -> None:
    detector = open_detector()
    for number in range(still_count("bona_fide")):
        made = read_still("bona_fide", number)
        for image, box in ((made.pair.image("rgb"), made.face_box), (made.pair.image("ir"), made.ir_face_box)):
            face = detector.detect(image)
            assert face is not None
            assert abs(face.box.x + face.box.w / 2 - box.x - box.w / 2) < box.w / 4
            assert abs(face.box.y + face.box.h / 2 - box.y - box.h / 2) < box.w / 4


def test_one_too_many_is_an_error() -> None:
    with pytest.raises(ConfigError, match="number 99 is not among them"):
        read_still("bona_fide", 99)


def test_they_are_small_and_none_is_left_over() -> None:
    names = set(json.loads((FOLDER / FACTS).read_text()))
    files = {path.name for path in FOLDER.iterdir()} - {FACTS}
    assert files == {f"{name}-{modality}.jpg" for name in names for modality in ("rgb", "ir")}
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 6_000_000
