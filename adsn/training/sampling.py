"""Sets that can be trained on, and the probability of drawing each of their pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from adsn.datasets.mixed import MixedArrays
from adsn.datasets.pairs import BONA_FIDE


class ArrayPairs(Protocol):
    """A data set whose crops lie in arrays, modality → [len, S, S, C], read by a slice or an array of indices."""

    @property
    def arrays(self) -> Mapping[str, Any]: ...
    @property
    def name(self) -> str: ...
    def labels(self) -> NDArray[np.int64]: ...
    def species(self) -> list[str]: ...
    def digest(self) -> str: ...
    def rows(self) -> Sequence[Mapping[str, Any]]: ...
    def __len__(self) -> int: ...


def sampling_weights(pairs: ArrayPairs, balance: str) -> Tensor | None:
    """Return the probability of drawing each pair, unnormalised, or None if each pair is drawn once an epoch.

    ``balance``: see `adsn.training.recipe.TrainSection`. With mixed sources, the weight of a pair is multiplied by
    its chance in the mixture (`MixedArrays.chances`).
    """
    shares = torch.from_numpy(pairs.chances()) if isinstance(pairs, MixedArrays) else None
    if balance == "none":
        return shares
    kinds = np.array(pairs.species() if balance == "species" else [str(label) for label in pairs.labels()])
    names, which, counts = np.unique(kinds, return_inverse=True, return_counts=True)
    weights = 1.0 / counts[which]
    if balance == "species" and BONA_FIDE in names:
        # As many bona fide pairs as attacks of all species together.
        weights[kinds == BONA_FIDE] *= max(len(names) - 1, 1)
    found = torch.from_numpy(weights)
    return found if shares is None else found * shares
