"""The stems of the int8-cpu artifact: the camera's bytes are the quantised input, and folding the columns changes no
result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch.nn import functional as F

from adsn.network.checkpoint import load_checkpoint
from adsn.network.model import ADSN, MODALITY_PAIRS, Modalities, NetworkConfig
from calib.ranges import Ranges, measure_ranges, read_ranges, with_outputs
from export.errors import ExportError
from export.graph import session, to_onnx
from export.quantize import quantize_for_cpu, tensors_to_measure
from export.stem import SCALE, ZERO_POINT, fold_weights
from runtime.bundle.manifest import open_bundle
from runtime.bundle.onnx_check import check_model
from runtime.engines.base import OUTPUTS
from runtime.liveness.open import default_bundle
from tests.support.models.crops import crops
from tests.support.models.onnx_graphs import initialisers

Inputs = dict[str, NDArray[Any]]


def batch(modalities: Sequence[str], count: int, seed: int = 0) -> Inputs:
    return {m: crops(m, count, seed).numpy() for m in modalities}


@cache
def trained_alike(modalities: Modalities, ir_level: int = 0) -> tuple[bytes, Ranges]:
    """Return the float graph of an untrained network whose normalisation layers are not identities, and its ranges."""
    torch.manual_seed(3)
    network = ADSN(NetworkConfig(modalities=modalities, width=8, maps=2, size=64, ir_level=ir_level))
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.uniform_(module.bias, -0.5, 0.5)
    model = to_onnx(network.eval())
    samples = [batch(modalities, 8)]
    return model, measure_ranges(model, tensors_to_measure(model), lambda: samples, "random")


@pytest.fixture(scope="module", params=MODALITY_PAIRS, ids="-".join)
def graph(request: pytest.FixtureRequest) -> tuple[Modalities, bytes, Ranges]:
    return request.param, *trained_alike(request.param)


def test_scores_are_those_of_inputs_normalised_in_float(graph: tuple[Modalities, bytes, Ranges]) -> None:
    modalities, model, ranges = graph
    folded, plain = (session(quantize_for_cpu(model, ranges, byte_stems=stems)) for stems in (True, False))
    for count in (1, 3):
        inputs = batch(modalities, count, seed=count)
        for a, b in zip(folded.run(OUTPUTS, inputs), plain.run(OUTPUTS, inputs), strict=True):
            assert np.array_equal(a, b)


@pytest.mark.parametrize("modalities", [("rgb", "ir"), ("ir", "depth")], ids="-".join)
def test_brightened_images_are_the_bytes_of_the_float_graph(modalities: Modalities) -> None:
    model, ranges = trained_alike(modalities, ir_level=64)
    folded, plain = (session(quantize_for_cpu(model, ranges, byte_stems=stems)) for stems in (True, False))
    inputs = batch(modalities, 12)
    means = [0, 1, 8, 15, 16, 20, 33, 50, 64, 90, 128, 255]
    bright = inputs["ir"] / inputs["ir"].mean((1, 2, 3), keepdims=True)
    inputs["ir"] = (bright * np.array(means)[:, None, None, None]).clip(0, 255).round().astype(np.uint8)
    for a, b in zip(folded.run(OUTPUTS, inputs), plain.run(OUTPUTS, inputs), strict=True):
        assert np.array_equal(a, b)
    check_model(quantize_for_cpu(model, ranges), "the folded model")


def test_computed_as_written_a_stem_gives_the_same_steps() -> None:
    modalities: Modalities = ("rgb", "ir")
    model, ranges = trained_alike(modalities)
    folded, plain = (quantize_for_cpu(model, ranges, byte_stems=stems) for stems in (True, False))
    names = [f"/streams.{index}/Relu_output_0_QuantizeLinear_Output" for index in range(2)]
    inputs = batch(modalities, 2)
    found = session(with_outputs(folded, [f"{m}/stem/quantised" for m in modalities]), literal=True).run(None, inputs)
    expected = session(with_outputs(plain, names), literal=True).run(None, inputs)
    for a, b in zip(found, expected, strict=True):
        assert a.shape == b.shape
        difference = np.abs(a.astype(int) - b.astype(int))
        # Floats are added in a different order, so a value halfway between two steps may be rounded to the other one.
        assert difference.max() <= 1
        assert np.count_nonzero(difference) < 0.001 * a.size


def test_the_shipped_network_scores_the_same_to_the_last_bit() -> None:
    bundle = open_bundle(default_bundle())
    network, _ = load_checkpoint(default_bundle() / "checkpoint.safetensors")
    model, ranges = to_onnx(network), read_ranges(bundle.read("ranges"))
    rng = np.random.default_rng(4)
    size = network.config.size
    inputs = {m: rng.integers(0, 256, (3, size, size, c), np.uint8) for m, c in (("rgb", 3), ("ir", 1))}
    folded, plain = (
        session(quantize_for_cpu(model, ranges, byte_stems=stems)).run(OUTPUTS, inputs) for stems in (True, False)
    )
    assert all(np.array_equal(a, b) for a, b in zip(folded, plain, strict=True))


@pytest.mark.parametrize("channels", [1, 3])
def test_a_folded_convolution_is_the_same_convolution(channels: int) -> None:
    rng = np.random.default_rng(5)
    image = rng.integers(-128, 128, (2, 32, 32, channels))
    weights = rng.integers(-64, 65, (5, channels, 7, 7)).astype(np.int8)
    expected = F.conv2d(
        torch.from_numpy(image).permute(0, 3, 1, 2).double(), torch.from_numpy(weights).double(), stride=2, padding=3
    )
    columns = torch.from_numpy(image.reshape(2, 32, 8, 4 * channels)).permute(0, 3, 1, 2).double()
    # Padding: one folded column on each side, three rows above, two below.
    padded = F.pad(columns, (1, 1, 3, 2))
    folded = F.conv2d(padded, torch.from_numpy(fold_weights(weights)).double(), stride=(2, 1))
    assert torch.equal(folded.permute(0, 2, 3, 1).reshape(2, 16, 16, 5).permute(0, 3, 1, 2), expected)


def test_every_value_of_a_camera_is_a_step_of_its_own() -> None:
    values = np.arange(256).astype(np.uint8)
    dequantised = (values.astype(np.float32) - np.float32(ZERO_POINT)) * SCALE
    normalised = (torch.from_numpy(values).to(torch.float32) - 128.0) * (1.0 / 128.0)
    assert np.array_equal(dequantised, normalised.numpy())


def test_the_input_s_scale_is_the_camera_s_whatever_the_samples_used(
    graph: tuple[Modalities, bytes, Ranges],
) -> None:
    modalities, model, ranges = graph
    cameras = {f"/inputs.{i}/Mul_output_0" for i, name in enumerate(modalities) if name != "depth"}
    narrow = replace(ranges, tensors={n: ((-0.1, 0.1) if n in cameras else r) for n, r in ranges.tensors.items()})
    data = quantize_for_cpu(model, narrow)
    assert data == quantize_for_cpu(model, ranges)
    values = initialisers(data)
    for name in set(modalities) - {"depth"}:
        assert values[f"{name}/scale"].item() == 1 / 128
        assert values[f"{name}/zero_point"].item() == 128


def test_no_float_operator_lies_before_a_stem(graph: tuple[Modalities, bytes, Ranges]) -> None:
    modalities, model, ranges = graph
    data = quantize_for_cpu(model, ranges)
    check_model(data, "the folded model")
    nodes = onnx.load_from_string(data).graph.node
    producers = {name: node for node in nodes for name in node.output}
    for index, name in enumerate(modalities):
        conv = next(n for n in nodes if n.name == f"/streams.{index}/stem/Conv")
        way, tensor = [], conv.input[0]
        while tensor in producers:
            way.append(producers[tensor].op_type)
            tensor = producers[tensor].input[0]
        assert tensor == name
        if name == "depth":
            assert way[:2] == ["DequantizeLinear", "QuantizeLinear"]
        else:
            assert way == ["DequantizeLinear", "Transpose", "Reshape"]


def test_the_runtime_computes_the_stem_in_integers_and_moves_nothing_before_it(tmp_path: Path) -> None:
    model, ranges = trained_alike(("rgb", "ir"))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    onnxruntime.InferenceSession(quantize_for_cpu(model, ranges), options, providers=["CPUExecutionProvider"])
    nodes = onnx.load(tmp_path / "optimised.onnx").graph.node
    producers = {name: node for node in nodes for name in node.output}
    stems = [n for n in nodes if n.op_type == "QLinearConv" and "/stem/Conv" in n.name]
    assert len(stems) == 2
    for stem in stems:
        before = producers[stem.input[0]]
        assert before.op_type == "Reshape"
        assert before.input[0] in ("rgb", "ir")


def test_a_stem_left_in_float_keeps_its_normalisation() -> None:
    model, ranges = trained_alike(("rgb", "ir"))
    data = quantize_for_cpu(model, ranges, ["/streams.0/stem"])
    names = [node.name for node in onnx.load_from_string(data).graph.node]
    assert "/inputs.0/Sub" in names
    assert "/inputs.1/Sub" not in names
    inputs = batch(("rgb", "ir"), 2)
    expected = session(quantize_for_cpu(model, ranges, ["/streams.0/stem"], byte_stems=False)).run(OUTPUTS, inputs)
    assert all(np.array_equal(a, b) for a, b in zip(session(data).run(OUTPUTS, inputs), expected, strict=True))


def test_another_normalisation_is_refused() -> None:
    model, ranges = trained_alike(("rgb", "ir"))
    proto = onnx.load_from_string(model)
    sub = next(node for node in proto.graph.node if node.name == "/inputs.0/Sub")
    mean = next(t for t in proto.graph.initializer if t.name == sub.input[1])
    mean.CopyFrom(numpy_helper.from_array(np.array(127.5, np.float32), mean.name))
    with pytest.raises(ExportError, match=r"normalised with \[127\.5, 0\.0078125\]"):
        quantize_for_cpu(proto.SerializeToString(), ranges)
    sub.op_type = "Add"
    with pytest.raises(ExportError, match=r"used before it is normalised, by \['Add'\]"):
        quantize_for_cpu(proto.SerializeToString(), ranges)


def test_another_brightening_is_refused() -> None:
    model, ranges = trained_alike(("rgb", "ir"), ir_level=64)
    proto = onnx.load_from_string(model)
    nodes = {node.name: node for node in proto.graph.node}
    nodes["/inputs.1/brightening/Clip"].op_type = "Relu"
    with pytest.raises(ExportError, match=r"is used by \['Relu'\], not by one Clip"):
        quantize_for_cpu(proto.SerializeToString(), ranges)
    nodes["/inputs.1/brightening/Clip"].op_type = "Clip"
    division = nodes["/inputs.1/brightening/Div"]
    division.input[1] = division.input[0]
    with pytest.raises(ExportError, match="used before it is normalised"):
        quantize_for_cpu(proto.SerializeToString(), ranges)
    division.input[1] = nodes["/inputs.1/brightening/Clip"].output[0]
    limit = next(t for t in proto.graph.initializer if t.name == nodes["/inputs.1/brightening/Clip_1"].input[2])
    limit.CopyFrom(numpy_helper.from_array(np.array(200, np.float32), limit.name))
    with pytest.raises(ExportError, match="brightened in a way that this export does not know"):
        quantize_for_cpu(proto.SerializeToString(), ranges)
