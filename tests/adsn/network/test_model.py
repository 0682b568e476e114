"""The network: output shapes, gradients in every parameter, and its ability to learn."""

import pytest
import torch

from adsn.network.model import ADSN, MODALITY_PAIRS, Attention, BasicBlock, Modalities, NetworkConfig
from adsn.training.losses import JointLoss
from tests.support.models.crops import crops


def small(modalities: Modalities, maps: int = 3) -> ADSN:
    torch.manual_seed(0)
    return ADSN(NetworkConfig(modalities=modalities, width=8, maps=maps, size=64))


@pytest.mark.parametrize("modalities", MODALITY_PAIRS)
def test_outputs(modalities: Modalities) -> None:
    network = small(modalities).eval()
    with torch.no_grad():
        score, streams, attention = network(*(crops(m, 5) for m in modalities))
    assert score.shape == (5,)
    assert streams.shape == (5, 2)
    assert attention.shape == (5, 2, 3, 8, 8)
    for values in (score, streams, attention):
        assert values.dtype == torch.float32
        assert ((values >= 0) & (values <= 1)).all()


@pytest.mark.parametrize("modalities", MODALITY_PAIRS)
def test_every_parameter_receives_gradient(modalities: Modalities) -> None:
    network = small(modalities).train()
    for module in network.modules():
        # A new residual branch deliberately ends in a zero weight; a value lets gradients reach the layers before it.
        if isinstance(module, BasicBlock):
            torch.nn.init.ones_(module.bn2.weight)
    out = network.features(*(crops(m, 8) for m in modalities))
    loss, _ = JointLoss(3, 16)(out, torch.arange(8) % 2, torch.ones(8, 2))
    loss.backward()
    without = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert without == []


def test_a_stream_score_depends_on_its_own_modality_alone() -> None:
    network = small(("rgb", "ir")).eval()
    rgb, ir, other = crops("rgb", 4), crops("ir", 4), crops("ir", 4, seed=9)
    with torch.no_grad():
        score, streams, _ = network(rgb, ir)
        changed_score, changed, _ = network(rgb, other)
    assert torch.equal(streams[:, 0], changed[:, 0])
    assert not torch.equal(streams[:, 1], changed[:, 1])
    assert not torch.equal(score, changed_score)


def test_a_sample_does_not_depend_on_its_batch() -> None:
    network = small(("rgb", "ir")).eval()
    rgb, ir = crops("rgb", 6), crops("ir", 6)
    with torch.no_grad():
        whole = network(rgb, ir)[0]
        single = torch.cat([network(rgb[i : i + 1], ir[i : i + 1])[0] for i in range(6)])
    assert torch.allclose(whole, single, atol=1e-6)


@pytest.mark.parametrize("modalities", MODALITY_PAIRS)
def test_one_small_batch_can_be_overfitted(modalities: Modalities) -> None:
    network = small(modalities).train()
    loss = JointLoss(3, 16)
    label = torch.arange(8) % 2
    inputs = [crops(m, 8) for m in modalities]
    optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3)
    for _ in range(60):
        optimiser.zero_grad()
        total, _ = loss(network.features(*inputs), label, torch.ones(8, 2))
        total.backward()
        optimiser.step()
    with torch.no_grad():
        score = torch.sigmoid(network.features(*inputs).logit)
    assert (score[label == 1] > 0.9).all()
    assert (score[label == 0] < 0.1).all()


@pytest.mark.parametrize(
    "wrong", [{"modalities": ("ir", "rgb")}, {"size": 100}, {"size": 48}, {"width": 12}, {"maps": 0}]
)
def test_impossible_configurations_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        NetworkConfig(**wrong)  # type: ignore[arg-type]  # wrong on purpose


def test_the_values_of_an_attention_cell_are_equal() -> None:
    network = small(("rgb", "ir")).eval()
    torch.manual_seed(4)
    with torch.no_grad():
        for stream in network.attention:
            assert isinstance(stream, Attention)
            assert stream.maps.bias is not None
            stream.maps.weight.normal_()
            stream.maps.bias.normal_()
    rgb, ir = torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8), torch.zeros(2, 64, 64, 1, dtype=torch.uint8)

    def spread() -> float:
        maps = network(rgb, ir)[2].detach()
        cells = maps.unflatten(-1, (-1, 2)).unflatten(-3, (-1, 2))
        return float((cells.amax((-1, -3)) - cells.amin((-1, -3))).max())

    assert spread() > 0.1
    network.share_phases()
    assert spread() < 1e-6
    assert float(network(rgb, ir)[2].detach().std()) > 0.01, "cells still differ from each other"
