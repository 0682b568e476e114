"""The comparison of both streams: what it computes, what it leaves alone, and what it can learn."""

from __future__ import annotations

import torch

from adsn.network.matching import Matching, joint_logit
from adsn.network.model import ADSN, NetworkConfig
from adsn.training.losses import Counterparts, JointLoss, contrastive_loss
from tests.support.models.crops import crops


def network(match: int) -> ADSN:
    torch.manual_seed(0)
    return ADSN(NetworkConfig(width=8, maps=3, size=64, match=match))


def test_the_joint_logit_is_that_of_both_probabilities_multiplied() -> None:
    live, match = torch.tensor([3.0, -2.0, 0.0]), torch.tensor([2.0, 5.0, -1.0])
    assert torch.allclose(torch.sigmoid(joint_logit(live, match)), torch.sigmoid(live) * torch.sigmoid(match))
    extreme = joint_logit(torch.tensor([90.0, -90.0, 90.0]), torch.tensor([90.0, 90.0, -90.0]))
    assert torch.isfinite(extreme).all()
    assert extreme[0] > 80
    assert (extreme[1:] < -80).all()


def test_the_embeddings_are_unit_vectors_and_equal_ones_match_best() -> None:
    torch.manual_seed(1)
    matching = Matching(16, 4, 8).eval()
    fine = torch.rand(5, 16, 4, 4)
    logit, embeddings = matching(fine, torch.rand(5, 16, 4, 4))
    assert logit.shape == (5,)
    assert embeddings.shape == (5, 2, 8 * 4 * 4)
    assert torch.allclose(embeddings.norm(dim=2), torch.ones(5, 2), atol=1e-3)
    # The same weights for both streams, and the same features: a cosine of 1.
    for pair in (matching.outline, matching.project, matching.doubt):
        pair[1].load_state_dict(pair[0].state_dict())
    assert (matching(fine, fine)[0] >= matching(fine, fine.roll(1, 0))[0]).all()


def test_a_comparison_only_ever_lowers_the_score() -> None:
    rgb, ir = crops("rgb", 6), crops("ir", 6)
    compared, plain = network(16).eval(), network(0).eval()
    assert not [name for name in plain.state_dict() if name.startswith("matching")]
    missing, unexpected = plain.load_state_dict(compared.state_dict(), strict=False)
    assert missing == []
    assert unexpected
    with torch.no_grad():
        score, streams, attention = compared(rgb, ir)
        alone, streams_alone, attention_alone = plain(rgb, ir)
    assert torch.equal(streams, streams_alone)
    assert torch.equal(attention, attention_alone)
    assert (score < alone).all()
    assert (score > 0).all()


def test_the_contrastive_loss_is_small_where_each_image_finds_its_counterpart() -> None:
    own = torch.eye(4)
    aligned = torch.stack([own, own], 1)
    wrong = torch.stack([own, own.roll(1, 0)], 1)
    everyone, apart = torch.ones(4, dtype=torch.bool), ~torch.eye(4, dtype=torch.bool)
    assert contrastive_loss(aligned, everyone, apart) < 1e-3
    assert contrastive_loss(wrong, everyone, apart) > 10
    assert contrastive_loss(wrong, everyone, torch.zeros(4, 4, dtype=torch.bool)) < 1e-6, "nothing contradicts"
    assert contrastive_loss(wrong, torch.tensor([True, False, False, False]), apart) == 0, "nobody to confuse it with"


def test_it_learns_to_tell_which_images_belong_together() -> None:
    """Images whose only likeness is where a bright square lies; both show the same to a stream by itself."""
    torch.manual_seed(2)
    places = torch.randint(0, 4, (24, 2))
    rgb = torch.full((24, 64, 64, 3), 60, dtype=torch.uint8)
    ir = torch.full((24, 64, 64, 1), 60, dtype=torch.uint8)
    for k, (y, x) in enumerate((16 * places).tolist()):
        rgb[k, y : y + 16, x : x + 16] = 220
        ir[k, y : y + 16, x : x + 16] = 180
    apart = (places[:, None] != places[None]).any(2)
    model = network(16).train()
    loss = JointLoss(3, 16)
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    matches = torch.tensor([1, 0]).repeat(12)
    second = torch.where((matches == 1)[:, None, None, None], ir, ir.roll(5, 0))
    truly = (matches == 1) | ~apart[torch.arange(24), torch.arange(24).roll(5)]
    matches = truly.long()
    for _ in range(80):
        optimiser.zero_grad()
        total, terms = loss(
            model.features(rgb, second), matches, torch.ones(24, 2), Counterparts(matches, truly, apart)
        )
        total.backward()
        optimiser.step()
    assert terms["match"] < 0.5
    out = model.features(rgb, second)
    assert out.match is not None
    assert (out.match[truly] > 0).all()
    assert (out.match[~truly] < 0).all()
