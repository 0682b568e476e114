"""Memory of embeddings: what it keeps, and what the loss makes of it."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional as F

from adsn.training.losses import contrastive_loss
from adsn.training.memory import EmbeddingMemory
from adsn.training.moments import Shown


def people(*numbers: int) -> Shown:
    count = len(numbers)
    return Shown(np.array(numbers), np.zeros((count, 3)), np.zeros(count, np.int64))


def embeddings(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float32)[:, None, None].expand(-1, 2, 3).clone()


def test_it_keeps_the_last_comparable_pairs() -> None:
    memory = EmbeddingMemory(3)
    assert memory.embeddings is None
    memory.remember(embeddings(1, 2, 3), people(1, 2, 3), torch.tensor([True, False, True]))
    memory.remember(embeddings(4, 5), people(4, 5), torch.tensor([True, True]))
    assert memory.embeddings is not None
    assert memory.embeddings[:, 0, 0].tolist() == [3, 4, 5]
    assert memory.contradicting(people(4, 9)).tolist() == [
        [False, True, True, False, True],
        [True, False, True, True, True],
    ], "the two of the batch, then the three remembered"
    memory.clear()
    assert memory.embeddings is None
    assert memory.contradicting(people(4, 9)).shape == (2, 2)


def test_it_keeps_no_graph_and_nothing_of_size_0() -> None:
    values = embeddings(1, 2).requires_grad_()
    memory, off = EmbeddingMemory(8), EmbeddingMemory(0)
    for kept in (memory, off):
        kept.remember(values, people(1, 2), torch.ones(2, dtype=torch.bool))
    assert memory.embeddings is not None
    assert not memory.embeddings.requires_grad
    assert off.embeddings is None


def test_the_loss_sees_a_remembered_image_that_is_mistaken_for_the_counterpart() -> None:
    torch.manual_seed(4)
    own = F.normalize(torch.randn(2, 1, 16), dim=2).expand(-1, 2, -1).contiguous()
    everyone = torch.ones(2, dtype=torch.bool)
    apart = torch.tensor([[False, True], [True, False]])
    alone = contrastive_loss(own, everyone, apart)
    double = own[:1]
    contradicting = torch.cat([apart, torch.tensor([[True], [True]])], 1)
    mistaken = contrastive_loss(own, everyone, contradicting, double)
    assert mistaken > alone + 0.3, "the double of another person lies where the first one's counterpart does"
    allowed = torch.cat([apart, torch.tensor([[False], [False]])], 1)
    assert torch.isclose(contrastive_loss(own, everyone, allowed, double), alone), "nothing contradicts it"


def test_a_single_pair_learns_from_the_memory() -> None:
    own = F.normalize(torch.ones(1, 2, 8), dim=2).requires_grad_()
    one = torch.tensor([True])
    assert contrastive_loss(own, one, torch.tensor([[False]])) == 0
    loss = contrastive_loss(own, one, torch.tensor([[False, True]]), own.detach().clone())
    assert loss > 0.5
    loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    assert own.grad is not None
