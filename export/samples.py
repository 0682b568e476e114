"""Samples of a set that an export works on, and how it reports its progress."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adsn.datasets.pairs import PairDataset

CALIBRATION_BATCH = 16


class ProgressStep:
    """Receiver of progress reports. ``start`` is called when a step begins, ``tick`` with the number of samples
    finished."""

    def start(self, name: str, total: int) -> None: ...
    def tick(self, count: int) -> None: ...


class SampleSubset:
    """Selected samples of a set, in the order of the set, read in batches."""

    def __init__(
        self, pairs: PairDataset, indices: Sequence[int], modalities: tuple[str, str], step: ProgressStep
    ) -> None:
        self.pairs, self.indices, self.modalities, self.step = pairs, list(indices), modalities, step

    def batches(self) -> Iterator[dict[str, NDArray[Any]]]:
        """Yield the samples in batches. Each call starts at the first sample."""
        for start in range(0, len(self.indices), CALIBRATION_BATCH):
            part = [self.pairs[i] for i in self.indices[start : start + CALIBRATION_BATCH]]
            yield {m: np.stack([sample.crops[m] for sample in part]) for m in self.modalities}
            self.step.tick(len(part))

    def first(self, count: int) -> dict[str, NDArray[Any]]:
        """Return up to ``count`` samples, spread evenly over the subset, as one batch."""
        spread = np.unique(np.linspace(0, len(self.indices) - 1, min(count, len(self.indices))).astype(int))
        part = [self.pairs[self.indices[i]] for i in spread]
        return {m: np.stack([sample.crops[m] for sample in part]) for m in self.modalities}
