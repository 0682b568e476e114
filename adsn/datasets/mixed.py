"""Combine several sets into one, for training and for operating points that must hold on more than one source."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from adsn.datasets.base import DatasetError
from adsn.datasets.cache import CachedPairs
from adsn.datasets.pairs import BONA_FIDE, PairDataset, Sample

Part = TypeVar("Part", bound=PairDataset)


class ConcatenatedArrays:
    """Arrays [len, ...] of one modality that are indexed like one concatenated array. Data are copied only when they
    are read.

    The index is a slice or an array of non-negative indices in any order.

    Raises:
        IndexError: an index is negative or beyond the last sample.
    """

    def __init__(self, parts: Sequence[NDArray[Any]]) -> None:
        self._parts = list(parts)
        self._starts = np.cumsum([0, *(len(part) for part in parts)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, index: slice | NDArray[np.int64]) -> NDArray[Any]:
        wanted = np.arange(len(self))[index] if isinstance(index, slice) else np.asarray(index, np.int64)
        if len(wanted) and not 0 <= int(wanted.min()) <= int(wanted.max()) < len(self):
            raise IndexError(f"index out of range of {len(self)} samples")
        first = self._parts[0]
        out = np.empty((len(wanted), *first.shape[1:]), first.dtype)
        which = np.searchsorted(self._starts, wanted, side="right") - 1
        for k, part in enumerate(self._parts):
            mine = which == k
            if mine.any():
                out[mine] = part[wanted[mine] - self._starts[k]]
        return out


class MixedPairs(Generic[Part]):
    """`PairDataset` of several sets, concatenated.

    Names of presentations and subjects are prefixed with the name of their set, so names from two sets never collide.
    """

    def __init__(self, name: str, sets: Sequence[Part], weights: Sequence[float] | None = None) -> None:
        if len(sets) < 2:
            raise ValueError("a mixture needs two sets or more")
        self._name, self.sets = name, list(sets)
        self.weights = list(weights) if weights is not None else [1.0] * len(sets)
        self._starts = np.cumsum([0, *(len(pairs) for pairs in sets)])

    @property
    def name(self) -> str:
        return self._name

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self):
            raise IndexError(index)
        at = int(np.searchsorted(self._starts, index, side="right")) - 1
        sample = self.sets[at][index - int(self._starts[at])]
        prefix = self.sets[at].name
        return Sample(
            crops=sample.crops,
            label=sample.label,
            species=sample.species,
            subject=f"{prefix}/{sample.subject}",
            presentation=f"{prefix}/{sample.presentation}",
            sensor=sample.sensor,
            conditions=sample.conditions,
        )

    def species(self) -> list[str]:
        """Return the species of every sample."""
        return [species for pairs in self.sets for species in pairs.species()]

    def labels(self) -> NDArray[np.int64]:
        """Return the labels, int64 [len]: 1 bona fide, 0 attack."""
        return np.array([int(species == BONA_FIDE) for species in self.species()], np.int64)

    def digest(self) -> str:
        """Return a SHA-256 over the digests and weights of the sets."""
        h = hashlib.sha256()
        for pairs, weight in zip(self.sets, self.weights, strict=True):
            h.update(f"{pairs.name} {pairs.digest()} {weight}\n".encode())
        return h.hexdigest()


class MixedArrays(MixedPairs[CachedPairs]):
    """A mixture of sets whose crops are in arrays, for training; see `adsn.training.sampling.ArrayPairs`.

    ``weights``: relative share of each set in a batch, whatever its size.

    Raises:
        DatasetError: the crops of the sets differ in shape, or one set lacks a modality that another has.
    """

    def __init__(self, name: str, sets: Sequence[CachedPairs], weights: Sequence[float]) -> None:
        super().__init__(name, sets, weights)
        common = set(sets[0].arrays).intersection(*(pairs.arrays for pairs in sets))
        for modality in common:
            shapes = {pairs.name: pairs.arrays[modality].shape[1:] for pairs in sets}
            if len(set(shapes.values())) > 1:
                raise DatasetError(f"{name}: crops of {modality} differ in shape: {shapes}.")
        self.arrays = {m: ConcatenatedArrays([pairs.arrays[m] for pairs in sets]) for m in sorted(common)}

    def chances(self) -> NDArray[np.float64]:
        """Return the probability of drawing each pair, float64 [len], so that each set has its share."""
        shares = np.array(self.weights, np.float64) / sum(self.weights)
        return np.concatenate([np.full(len(p), share / len(p)) for p, share in zip(self.sets, shares, strict=True)])

    def rows(self) -> list[dict[str, Any]]:
        """Return all samples without their images. Names of subjects are prefixed with the name of their set."""
        return [{**row, "subject": f"{p.name}/{row['subject']}"} for p in self.sets for row in p.rows()]

    def sources(self) -> NDArray[np.int64]:
        """Return the index, from 0, of the set that each pair comes from, int64 [len]."""
        return np.repeat(np.arange(len(self.sets)), [len(pairs) for pairs in self.sets])
