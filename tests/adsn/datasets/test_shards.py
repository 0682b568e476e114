"""Files of path-traced pairs: written atomically, interrupted and resumed, read as a data set. Needs no Mitsuba."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adsn.datasets import DatasetError
from adsn.datasets.shards import ShardPairs, ShardSpec, shard_folder, write_shards
from runtime.imaging.crop import CropRule
from synthetic import PATH_TRACED_SPECIES, SPECIES, Rendered, pathtraced
from synthetic.people.makehuman import Library, open_library
from tests.support.makehuman import make_folder

SPEC = ShardSpec((3, 6), bona_fide=2, per_attack=1, families=("A", "B"), species=("print_matte",), size=144)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    return open_library(str(make_folder(tmp_path_factory.mktemp("makehuman"))))


class Painter:
    """Replacement for the path tracer, with images whose pixels are the number of the subject."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, str, int]] = []
        self.fails_at: int | None = None

    def __call__(self, what: pathtraced.Description, *, size: int, samples: int, library: Library) -> Rendered:
        subject, species, number = what.presentation.subject, what.presentation.species, what.presentation.number
        if subject == self.fails_at:
            raise KeyboardInterrupt
        self.calls.append((subject, species, number))
        return Rendered(
            rgb=np.full((size, size, 3), subject, np.uint8),
            ir=np.full((size, size, 1), number, np.uint8),
            depth=np.full((size, size, 1), 500.4, np.float32),
            region=np.zeros((size, size, 1), np.uint8),
            box=(46, 46, 51, 51),
            ir_box=(46, 46, 51, 51),
            presentation=what.presentation,
            shape="makehuman",
            conditions={"lux": 300.0},
        )


@pytest.fixture
def painter(monkeypatch: pytest.MonkeyPatch) -> Painter:
    found = Painter()
    monkeypatch.setattr(pathtraced, "render", found)
    return found


def test_what_was_written_is_read(tmp_path: Path, library: Library, painter: Painter) -> None:
    folder = write_shards(SPEC, tmp_path, library=library)
    pairs = ShardPairs(folder, box_jitter=0.0, misregistration=0.0)
    assert len(pairs) == 9
    assert pairs.species() == ["bona_fide", "bona_fide", "print_matte"] * 3
    assert pairs.labels().tolist() == [1, 1, 0] * 3
    sample = pairs[4]
    assert (sample.subject, sample.presentation, sample.sensor) == ("4", "bona_fide-4-1", "B")
    assert (sample.crops["rgb"] == 4).all()
    assert (sample.crops["ir"] == 1).all()
    assert sample.crops["depth"].dtype == np.float32
    assert sample.crops["depth"].max() == 500


def test_a_pair_has_its_pictures_and_the_boxes_that_gave_its_crops(
    tmp_path: Path, library: Library, painter: Painter
) -> None:
    rule = CropRule(size=64, margin=0.3)
    pairs = ShardPairs(write_shards(SPEC, tmp_path, library=library), rule=rule)
    patch, crops = pairs.patch(4), pairs[4].crops
    assert patch.pictures["rgb"].shape == (144, 144, 3)
    assert patch.boxes["rgb"] != patch.boxes["ir"]
    assert all(np.array_equal(crops[m], cut) for m, cut in patch.crops(rule).items())
    assert set(crops) == {"rgb", "ir", "depth"}


def test_rendering_goes_on_where_it_stopped(tmp_path: Path, library: Library, painter: Painter) -> None:
    painter.fails_at = 4
    with pytest.raises(KeyboardInterrupt):
        write_shards(SPEC, tmp_path, library=library)
    (folder,) = tmp_path.iterdir()
    assert sorted(p.name for p in folder.iterdir()) == ["000003.npz", "spec.json"]
    painter.fails_at = None
    painter.calls.clear()
    finished: list[int] = []
    assert write_shards(SPEC, tmp_path, library=library, tick=finished.append) == folder
    assert finished == [4, 5]
    assert {subject for subject, _, _ in painter.calls} == {4, 5}


def test_two_processes_share_the_subjects(tmp_path: Path, library: Library, painter: Painter) -> None:
    write_shards(SPEC, tmp_path, part=(1, 2), library=library)
    assert {subject for subject, _, _ in painter.calls} == {4}
    write_shards(SPEC, tmp_path, part=(0, 2), library=library)
    assert [subject for subject, _, _ in painter.calls[3:]] == [3, 3, 3, 5, 5, 5]


def test_another_set_or_renderer_has_another_folder_and_more_subjects_the_same(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = SPEC.key(library)
    assert ShardSpec((0, 90), 2, 1, 0, ("A", "B"), ("print_matte",), 144).key(library) == key
    assert ShardSpec((3, 6), 2, 1, 1, ("A", "B"), ("print_matte",), 144).key(library) != key
    monkeypatch.setattr(pathtraced, "VERSION", pathtraced.VERSION + 1)
    assert SPEC.key(library) != key


def test_the_digest_follows_the_bytes_and_the_boxes(tmp_path: Path, library: Library, painter: Painter) -> None:
    folder = write_shards(SPEC, tmp_path, library=library)
    digest = ShardPairs(folder).digest()
    assert ShardPairs(folder).digest() == digest
    assert ShardPairs(folder, box_jitter=0.1).digest() != digest
    assert ShardPairs(folder, subjects=(3, 5)).digest() != digest


def test_a_folder_without_pairs_and_a_damaged_file_are_named(
    tmp_path: Path, library: Library, painter: Painter
) -> None:
    with pytest.raises(DatasetError, match="no rendered subjects"):
        ShardPairs(tmp_path)
    folder = write_shards(SPEC, tmp_path, library=library)
    (folder / "000004.npz").write_bytes((folder / "000004.npz").read_bytes()[:500])
    with pytest.raises(DatasetError, match=r"000004\.npz"):
        ShardPairs(folder)


@pytest.mark.parametrize(
    "values", [{"subjects": (3, 3)}, {"subjects": (-1, 3)}, {"subjects": (0, 3), "species": ("ghost",)}]
)
def test_a_specification_that_makes_no_sense_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(DatasetError):
        ShardSpec(**values)


def test_the_folder_above_a_set_will_do(library: Library, painter: Painter, tmp_path: Path) -> None:
    folder = write_shards(SPEC, tmp_path, library=library)
    assert shard_folder(tmp_path) == shard_folder(folder) == folder
    write_shards(replace(SPEC, seed=4), tmp_path, library=library)
    with pytest.raises(DatasetError, match="contains 2 sets"):
        shard_folder(tmp_path)
    with pytest.raises(DatasetError, match=r"adsn\.cli\.render"):
        shard_folder(tmp_path / "nothing")


def test_by_default_every_species_of_the_path_tracer_is_rendered() -> None:
    spec = ShardSpec((0, 1), bona_fide=1, per_attack=1)
    assert [name for name, _ in spec.plan()] == list(PATH_TRACED_SPECIES)
    with pytest.raises(DatasetError, match="mask_of_wax"):
        replace(spec, species=("mask_of_wax",))


def test_files_of_an_earlier_version_are_read_as_before(
    tmp_path: Path, library: Library, painter: Painter, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = write_shards(SPEC, tmp_path, library=library)
    monkeypatch.setattr(pathtraced, "VERSION", 1)
    old = write_shards(replace(SPEC, species=tuple(SPECIES[1:])), tmp_path, library=library)
    assert old != new
    found = ShardPairs(old)
    assert sorted(set(found.species())) == sorted(SPECIES)
    assert found[0].crops["rgb"].shape == ShardPairs(new)[0].crops["rgb"].shape
