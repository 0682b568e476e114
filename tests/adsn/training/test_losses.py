"""Each loss term rewards the right outputs."""

import pytest
import torch
from torch.nn import functional as F

from adsn.network.model import Outputs
from adsn.training.losses import CentreLoss, JointLoss, LossWeights, overlap_loss


def maps(*centres: tuple[int, int]) -> torch.Tensor:
    """Return two streams with one Gaussian blob per map: [1, 2, M, 14, 14]."""
    y, x = torch.meshgrid(torch.arange(14.0), torch.arange(14.0), indexing="ij")
    blobs = [torch.exp(-((x - cx) ** 2 + (y - cy) ** 2) / 8) for cx, cy in centres]
    return torch.stack(blobs)[None, None].expand(1, 2, -1, -1, -1)


def test_overlap_falls_as_maps_separate() -> None:
    values = [float(overlap_loss(maps((6 - d, 6), (6 + d, 6)))) for d in range(6)]
    assert values[0] == pytest.approx(1, abs=1e-5)
    assert values == sorted(values, reverse=True)
    assert values[-1] < 0.05


def test_overlap_of_one_map_is_zero() -> None:
    assert float(overlap_loss(maps((6, 6)))) == 0


def test_descending_the_overlap_loss_separates_maps() -> None:
    torch.manual_seed(0)
    logits = torch.randn(1, 2, 3, 14, 14, requires_grad=True)
    before = float(overlap_loss(torch.sigmoid(logits.detach())))
    optimiser = torch.optim.Adam([logits], lr=0.1)
    for _ in range(60):
        optimiser.zero_grad()
        loss = overlap_loss(torch.sigmoid(logits))
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        optimiser.step()
    assert float(overlap_loss(torch.sigmoid(logits.detach()))) < 0.6 * before


def between_and_within(parts: torch.Tensor, label: torch.Tensor) -> tuple[float, float]:
    """Return the distance of the class means, and the mean distance of bona fide samples from their mean."""
    live, attack = parts[label == 1], parts[label == 0]
    return float((live.mean(0) - attack.mean(0)).norm()), float((live - live.mean(0)).flatten(1).norm(dim=1).mean())


def test_centre_loss_pulls_classes_apart_and_gathers_bona_fide() -> None:
    torch.manual_seed(0)
    raw = torch.randn(64, 2, 4, 16, requires_grad=True)
    label = torch.arange(64) % 2
    loss = CentreLoss(4, 16)
    before = between_and_within(F.normalize(raw, dim=3).detach(), label)
    optimiser = torch.optim.Adam([raw], lr=0.05)
    for _ in range(200):
        optimiser.zero_grad()
        loss(F.normalize(raw, dim=3), label).backward()
        optimiser.step()
    after = between_and_within(F.normalize(raw, dim=3).detach(), label)
    assert after[0] > 2 * before[0]
    assert after[1] < 0.5 * before[1]


def test_centres_do_not_move_in_evaluation() -> None:
    loss = CentreLoss(2, 8).eval()
    loss(torch.randn(6, 2, 2, 8), torch.tensor([0, 1] * 3))
    assert not loss.centres.any()


def test_a_blanked_stream_is_not_asked() -> None:
    out = Outputs(
        logit=torch.zeros(2),
        stream_logits=torch.tensor([[0.0, 50.0], [0.0, 50.0]], requires_grad=True),
        attention=maps((3, 3), (9, 9)).expand(2, -1, -1, -1, -1),
        parts=torch.zeros(2, 2, 2, 8),
        streams=torch.zeros(2, 2, 5),
    )
    joint = JointLoss(2, 8, LossWeights(centre=0, overlap=0))
    total, terms = joint(out, torch.tensor([0, 0]), torch.tensor([[1.0, 0.0], [1.0, 0.0]]))
    assert terms["stream"] == pytest.approx(0.6931, abs=1e-3)
    total.backward()
    assert out.stream_logits.grad is not None
    assert not out.stream_logits.grad[:, 1].any()
