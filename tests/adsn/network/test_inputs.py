"""The input layer: dark infrared images are brightened, all others are not changed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from adsn.network.inputs import Brightening, InputLayer
from adsn.network.model import ADSN, NetworkConfig
from export.graph import session, to_onnx
from runtime.engines.base import OUTPUTS
from tests.support.models.crops import crops

LEVEL, SIZE = 64, 64


def with_mean(mean: float, seed: int = 0) -> torch.Tensor:
    """Return an image, float32 [1, 1, S, S], with values of 0 to twice ``mean``."""
    values = torch.rand(1, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(seed))
    return values * (mean / values.mean())


@pytest.mark.parametrize("gain", [0.25, 0.4, 0.7, 0.999])
def test_a_weaker_illuminator_changes_nothing(gain: float) -> None:
    brighten = Brightening(LEVEL, SIZE)
    image = with_mean(LEVEL)
    assert torch.allclose(brighten(image * gain), image, rtol=1e-5)


@pytest.mark.parametrize("mean", [64.001, 90.0, 120.0])
def test_bright_images_are_left_as_they_are(mean: float) -> None:
    image = with_mean(mean)
    assert torch.equal(Brightening(LEVEL, SIZE)(image), image)


def test_darker_than_a_quarter_is_brightened_four_times() -> None:
    brighten = Brightening(LEVEL, SIZE)
    assert float(brighten(with_mean(5)).mean()) == pytest.approx(20, rel=1e-4)
    assert not brighten(torch.zeros(1, 1, SIZE, SIZE)).any()


def test_values_stay_those_of_a_camera() -> None:
    image = torch.zeros(1, 1, SIZE, SIZE)
    image[..., :8, :8] = 250
    assert float(Brightening(LEVEL, SIZE)(image).max()) == 255


def test_each_image_has_its_own_mean() -> None:
    brighten = Brightening(LEVEL, SIZE)
    images = torch.cat([with_mean(10), with_mean(40, 1), with_mean(100, 2)])
    assert torch.equal(brighten(images), torch.cat([brighten(image[None]) for image in images]))


def test_only_infrared_is_brightened() -> None:
    dark = torch.full((1, SIZE, SIZE, 3), 20, dtype=torch.uint8)
    assert float(InputLayer("rgb", SIZE, LEVEL)(dark).mean()) == pytest.approx((20 - 128) / 128)
    assert float(InputLayer("ir", SIZE, LEVEL)(dark[..., :1]).mean()) == pytest.approx((64 - 128) / 128)
    assert float(InputLayer("ir", SIZE, 0)(dark[..., :1]).mean()) == pytest.approx((20 - 128) / 128)


@pytest.mark.parametrize("level", [-1, 129])
def test_levels_out_of_range_are_refused(level: int) -> None:
    with pytest.raises(ValueError, match="ir_level must be 0 to 128"):
        NetworkConfig(ir_level=level)


def test_the_level_is_stored_with_the_network() -> None:
    config = NetworkConfig(ir_level=LEVEL)
    assert NetworkConfig.from_json(config.to_json()) == config
    stored = NetworkConfig().to_json()
    del stored["ir_level"]
    assert NetworkConfig.from_json(stored).ir_level == 0


def test_the_exported_graph_brightens_alike() -> None:
    torch.manual_seed(0)
    network = ADSN(NetworkConfig(width=8, maps=2, size=SIZE, ir_level=LEVEL)).eval()
    rgb, ir = crops("rgb", 4), crops("ir", 4)
    ir = (ir * torch.tensor([0.1, 0.3, 0.6, 1.0])[:, None, None, None]).to(torch.uint8)
    with torch.no_grad():
        expected = network(rgb, ir)
    model = to_onnx(network)
    found = session(model).run(OUTPUTS, {"rgb": rgb.numpy(), "ir": ir.numpy()})
    for a, b in zip(found, expected, strict=True):
        assert np.abs(a - b.numpy()).max() < 1e-5
