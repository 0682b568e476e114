"""Several sources combined into one: indices, shares of batches, and sets that cannot be mixed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from adsn.datasets import DatasetError
from adsn.datasets.cache import CachedPairs, store
from adsn.datasets.mixed import ConcatenatedArrays, MixedArrays, MixedPairs
from adsn.datasets.pairs import Sample
from adsn.training.sampling import sampling_weights


class Painted:
    """A set whose pixels identify the sample and the set."""

    def __init__(self, name: str, value: int, species: list[str], size: int = 16) -> None:
        self.name, self.value, self._species, self.size = name, value, species, size

    def __len__(self) -> int:
        return len(self._species)

    def __getitem__(self, index: int) -> Sample:
        shape = (self.size, self.size)
        return Sample(
            crops={
                "rgb": np.full((*shape, 3), self.value + index, np.uint8),
                "ir": np.full((*shape, 1), index, np.uint8),
            },
            label=int(self._species[index] == "bona_fide"),
            species=self._species[index],
            subject=str(index),
            presentation=f"p{index}",
            sensor="A",
            conditions={},
        )

    def species(self) -> list[str]:
        return self._species

    def digest(self) -> str:
        return f"{self.name} {self.value}"


FAST = Painted("fast", 0, ["bona_fide"] * 6 + ["print_matte"] * 2)
TRACED = Painted("traced", 100, ["bona_fide", "mask_rigid"])


def stored(pairs: Painted, folder: Path) -> CachedPairs:
    return store(pairs, folder)


def test_arrays_read_as_if_they_lay_one_after_the_other() -> None:
    parts = [np.arange(5)[:, None] * np.ones(3), np.arange(5, 8)[:, None] * np.ones(3)]
    whole, joined = np.concatenate(parts), ConcatenatedArrays(parts)
    assert len(joined) == 8
    for index in (slice(3, 7), slice(0, 0), slice(6, 100), np.array([7, 0, 4, 5]), np.array([], np.int64)):
        assert np.array_equal(joined[index], whole[index])
    with pytest.raises(IndexError):
        joined[np.array([8])]


def test_samples_keep_their_set_apart() -> None:
    mixed = MixedPairs("both", [FAST, TRACED])
    assert len(mixed) == 10
    assert mixed.species() == [*FAST.species(), *TRACED.species()]
    assert mixed.labels().tolist() == [1] * 6 + [0, 0, 1, 0]
    assert [mixed[i].presentation for i in (0, 8)] == ["fast/p0", "traced/p0"]
    assert int(mixed[9].crops["rgb"][0, 0, 0]) == 101
    for wrong in (10, -1):
        with pytest.raises(IndexError):
            mixed[wrong]


def test_the_digest_follows_sets_and_weights() -> None:
    digests = {
        MixedPairs("both", sets, weights).digest()
        for sets, weights in (
            ([FAST, TRACED], None),
            ([TRACED, FAST], None),
            ([FAST, TRACED], [1.0, 2.0]),
            ([FAST, Painted("traced", 101, TRACED.species())], None),
        )
    }
    assert len(digests) == 4
    assert MixedPairs("both", [FAST, TRACED]).digest() == MixedPairs("both", [FAST, TRACED], [1.0, 1.0]).digest()


def test_each_source_has_its_share_of_what_is_drawn(tmp_path: Path) -> None:
    mixed = MixedArrays("both", [stored(FAST, tmp_path), stored(TRACED, tmp_path)], [1.0, 3.0])
    chances = sampling_weights(mixed, "none")
    assert chances is not None
    # The two path-traced pairs make up three quarters of a batch, whatever the number of others.
    assert float(chances[8:].sum() / chances.sum()) == pytest.approx(0.75)
    assert chances.tolist() == pytest.approx([0.25 / 8] * 8 + [0.375] * 2)


def test_a_mixture_may_be_balanced_by_class(tmp_path: Path) -> None:
    mixed = MixedArrays("both", [stored(FAST, tmp_path), stored(TRACED, tmp_path)], [1.0, 1.0])
    chances = sampling_weights(mixed, "class")
    assert chances is not None
    assert chances[0] < chances[6], "the rarer class is drawn more often within a source"
    assert chances[0] < chances[8], "so is the smaller source"


def test_crops_of_two_sizes_cannot_be_mixed(tmp_path: Path) -> None:
    other = stored(Painted("other", 3, ["bona_fide", "partial"], size=32), tmp_path)
    with pytest.raises(DatasetError, match="differ in shape"):
        MixedArrays("both", [stored(FAST, tmp_path), other], [1.0, 1.0])
