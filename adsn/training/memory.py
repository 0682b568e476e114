"""Memory of embeddings from recent batches: far more images to be told apart than one batch holds.

Weights change slowly, so the embeddings of the last batches are still good counterexamples (Wang et al. 2020, "Cross-
Batch Memory for Embedding Learning", arXiv 1912.06798). That is not so at the start of a training: the network then
learns to tell new embeddings from remembered ones, by what all new ones have in common. After 147 steps, the median
cosine of images that belong together was 0.85 with a memory of 1024, 0.81 with one of 96, and 0.48 without. Train
without a memory first.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from adsn.training.moments import Shown


class EmbeddingMemory:
    """The embeddings of the last ``size`` comparable pairs, and who they show.

    It is empty at the start of each epoch, so that a resumed run equals an uninterrupted one.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self._shown: Shown | None = None
        self.embeddings: Tensor | None = None
        """Float32 [K, 2, D], K at most ``size``, the oldest first; None while it is empty."""

    def contradicting(self, shown: Shown) -> Tensor:
        """Return bool [N, N + K]: where an image cannot belong to one of the same batch, or to a remembered one."""
        others = shown if self._shown is None else shown.followed_by(self._shown)
        return torch.from_numpy(shown.contradicts(others))

    def remember(self, embeddings: Tensor, shown: Shown, comparable: Tensor) -> None:
        """Add the comparable pairs of a batch, and forget the oldest.

        ``embeddings`` [N, 2, D]; ``comparable`` bool [N]: see `adsn.training.augment.AugmentedBatch`.
        """
        if not self.size:
            return
        new = embeddings.detach()[comparable.to(embeddings.device)]
        people = shown.chosen(comparable.cpu().numpy())
        if self.embeddings is not None and self._shown is not None:
            new, people = torch.cat([self.embeddings, new]), self._shown.followed_by(people)
        self.embeddings = new[-self.size :]
        self._shown = people.chosen(np.arange(len(people.person)) >= len(people.person) - self.size)
