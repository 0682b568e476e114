"""The part of the int8-cpu artifact after the backbones: merged nodes compute what the exported ones do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray

from adsn.network.checkpoint import load_checkpoint
from adsn.network.model import ADSN, MODALITY_PAIRS, Modalities, NetworkConfig
from calib.ranges import Ranges, measure_ranges, read_ranges
from export.graph import session, to_onnx
from export.quantize import quantize_for_cpu, tensors_to_measure
from runtime.bundle.manifest import open_bundle
from runtime.bundle.onnx_check import check_model
from runtime.engines.base import OUTPUTS
from runtime.liveness.open import default_bundle
from tests.support.models.crops import crops

LAST_ADDS = ("/streams.0/layer3/layer3.1", "/streams.1/layer2/layer2.1", "/layer4/layer4.1")
"""Blocks whose results the merged part reads, and one before the fused features."""


def network(modalities: Modalities, **changes: Any) -> ADSN:
    torch.manual_seed(5)
    made = ADSN(NetworkConfig(modalities=modalities, width=8, maps=2, size=64, **changes))
    for parameter in made.parameters():
        # Weights and biases that are all different, so that an exchanged or forgotten one shows.
        torch.nn.init.normal_(parameter, 0.02, 0.15 if parameter.ndim > 1 else 0.4)
    for module in made.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            module.momentum = 1.0
    made.share_phases()
    with torch.no_grad():
        # Sets the statistics of the normalisation layers, so that no activation saturates.
        made.train()(*(crops(m, 8) for m in modalities))
    return made.eval()


def batch(modalities: Sequence[str], count: int, seed: int = 0) -> dict[str, NDArray[Any]]:
    return {m: crops(m, count, seed).numpy() for m in modalities}


def graph_and_ranges(made: ADSN) -> tuple[bytes, Ranges]:
    model = to_onnx(made)
    samples = [batch(made.config.modalities, 8)]
    return model, measure_ranges(model, tensors_to_measure(model), lambda: samples, "random")


def assert_same(made: ADSN, keep_float: Sequence[str] = ()) -> None:
    model, ranges = graph_and_ranges(made)
    merged, plain = (session(quantize_for_cpu(model, ranges, keep_float, merged_tail=tail)) for tail in (True, False))
    for count in (1, 3):
        inputs = batch(made.config.modalities, count, seed=count)
        found, expected = merged.run(OUTPUTS, inputs), plain.run(OUTPUTS, inputs)
        assert [a.shape for a in found] == [a.shape for a in expected]
        for a, b in zip(found, expected, strict=True):
            assert np.abs(a - b).max() < 2e-5
        # Scores that hardly depend on the image would agree whatever the nodes compute.
        assert np.ptp(expected[2]) > 0.05


@pytest.mark.parametrize("modalities", MODALITY_PAIRS, ids="-".join)
@pytest.mark.parametrize("match", [0, 16])
def test_outputs_are_those_of_the_exported_nodes(modalities: Modalities, match: int) -> None:
    assert_same(network(modalities, match=match))


@pytest.mark.parametrize("block", LAST_ADDS)
def test_features_kept_in_float_are_read_as_they_are(block: str) -> None:
    assert_same(network(("rgb", "ir"), match=16), [block])


def test_a_network_with_maps_from_fine_features_is_not_changed() -> None:
    model, ranges = graph_and_ranges(network(("rgb", "ir"), maps_from=2, match=16))
    assert quantize_for_cpu(model, ranges) == quantize_for_cpu(model, ranges, merged_tail=False)


def test_the_shipped_network_scores_the_same() -> None:
    bundle = open_bundle(default_bundle())
    shipped, _ = load_checkpoint(default_bundle() / "checkpoint.safetensors")
    model, ranges = to_onnx(shipped), read_ranges(bundle.read("ranges"))
    size, rng = shipped.config.size, np.random.default_rng(4)
    inputs = {m: rng.integers(0, 256, (8, size, size, c), np.uint8) for m, c in (("rgb", 3), ("ir", 1))}
    merged, plain = (quantize_for_cpu(model, ranges, merged_tail=tail) for tail in (True, False))
    for a, b in zip(session(merged).run(OUTPUTS, inputs), session(plain).run(OUTPUTS, inputs), strict=True):
        assert np.abs(a - b).max() < 2e-6
    check_model(merged, "the merged model")


def test_no_float_convolution_remains_and_both_streams_share_the_nodes() -> None:
    model, ranges = graph_and_ranges(network(("rgb", "ir"), match=16))
    merged, plain = (onnx.load_from_string(quantize_for_cpu(model, ranges, merged_tail=tail)) for tail in (True, False))

    def counted(proto: onnx.ModelProto) -> Counter[str]:
        weights = {t.name for t in proto.graph.initializer}
        return Counter(
            "float Conv" if node.op_type == "Conv" and node.input[1] in weights else node.op_type
            for node in proto.graph.node
        )

    assert counted(plain)["float Conv"] == 6
    assert counted(merged)["float Conv"] == 0
    assert counted(merged)["Sigmoid"] == 6
    assert counted(plain)["Sigmoid"] == 8
    assert {t.name for t in merged.graph.initializer} <= {name for node in merged.graph.node for name in node.input}
