"""The artifacts for TensorRT: Q/DQ placement, node by node, and agreement with FP32."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from export.build import ExportResult
from export.errors import ExportError
from export.graph import session
from export.lint import lint
from export.manifest import GOLDEN_PAIRS, NEAR_PAIRS
from export.tensorrt_graph import as_float_inputs, channel_scales, quantize_for_tensorrt, sorted_nodes, strongly_typed
from runtime.bundle.onnx_check import check_model
from runtime.engines.base import OUTPUTS
from runtime.engines.golden import read_golden
from tests.support.models.onnx_graphs import initialisers, ranges_of

ARTIFACTS = ["int8-trt", "int8-trt11"]
BACKBONE = ("/streams", "/layer4", "/matching/outline")
CONVOLUTIONS = 2 * 14 + 5 + 2
"""Quantised convolutions: those of both streams after the stem, of layer4, and before the comparison."""


class Placement:
    """A quantised graph, with queries that the tests of placement need."""

    def __init__(self, data: bytes) -> None:
        self.model = onnx.load_from_string(data)
        self.nodes = list(self.model.graph.node)
        self.values = initialisers(data)
        self.producers = {name: node for node in self.nodes for name in node.output}

    def quantised(self, name: str) -> bool:
        return name in self.producers and self.producers[name].op_type == "DequantizeLinear"

    def producer(self, name: str) -> str:
        return self.producers[name].op_type if name in self.producers else ""


@pytest.mark.parametrize("artifact", ARTIFACTS)
def test_every_node_is_placed_by_the_rules(built: ExportResult, artifact: str) -> None:
    g = Placement(built.files[f"model.{artifact}.onnx"])
    seen = {"Conv": 0, "Add": 0}
    for node in g.nodes:
        backbone = node.name.startswith(BACKBONE)
        flags = [g.quantised(name) for name in node.input]
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            continue
        if node.op_type == "Conv" and backbone and "/stem/" not in node.name:
            assert flags == [True, True, False], f"{node.name}: input and weights quantised, bias not"
            seen["Conv"] += 1
        elif node.op_type == "Add" and backbone:
            assert sum(flags) == 1, f"{node.name}: the skip input alone"
            main = node.input[flags.index(False)]
            assert g.producers[main].op_type == "Conv", f"{node.name}: the branch that fuses is a convolution"
            assert "conv2" in g.producers[main].name
            seen["Add"] += 1
        else:
            assert not any(flags), f"{node.name}: {node.op_type} stays in float"
    assert seen == {"Conv": CONVOLUTIONS, "Add": 2 * 6 + 2}
    for node in g.nodes:
        if node.op_type == "QuantizeLinear":
            consumers = [n for n in g.nodes if node.output[0] in n.input]
            assert [n.op_type for n in consumers] == ["DequantizeLinear"], "each Q has its DQ"
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            scale, zero = g.values[node.input[1]], g.values[node.input[2]]
            assert zero.dtype == np.int8
            assert not zero.any()
            assert (scale > 0).all()
            if scale.ndim:
                axis = next(a.i for a in node.attribute if a.name == "axis")
                assert axis == 0, "weights by output channel"


def test_a_tensor_is_quantised_once(built: ExportResult) -> None:
    g = Placement(built.files["model.int8-trt.onnx"])
    names = [node.input[0] for node in g.nodes if node.op_type == "QuantizeLinear"]
    assert len(names) == len(set(names))


def test_types_of_the_two_artifacts(built: ExportResult) -> None:
    first, second = (onnx.load_from_string(built.files[f"model.{a}.onnx"]) for a in ARTIFACTS)
    assert [o.version for o in first.opset_import] == [17]
    assert [o.version for o in second.opset_import] == [19]
    for model in (first, second):
        assert [v.type.tensor_type.elem_type for v in model.graph.input] == [TensorProto.FLOAT] * 2
        assert [v.type.tensor_type.elem_type for v in model.graph.output] == [TensorProto.FLOAT] * 3
        assert [v.name for v in model.graph.output] == list(OUTPUTS)
    assert all(t.data_type != TensorProto.FLOAT16 for t in first.graph.initializer)
    values = initialisers(built.files["model.int8-trt11.onnx"])
    for node in second.graph.node:
        if node.op_type == "Conv" and node.name.startswith(BACKBONE):
            assert values[node.input[2]].dtype == np.float16, node.name
        if node.op_type in ("Gemm", "MatMul", "Sigmoid"):
            assert all(values[n].dtype == np.float32 for n in node.input if n in values), node.name
    assert sum(v.dtype == np.int8 and v.ndim == 4 for v in values.values()) == CONVOLUTIONS, "weights stored in 8 bits"


@pytest.mark.parametrize("artifact", ARTIFACTS)
def test_integers_fit_the_parser_that_has_int32_alone(built: ExportResult, artifact: str) -> None:
    def outside(file: str) -> list[str]:
        return [n for n, v in initialisers(built.files[file]).items() if v.dtype == np.int64 and (v > 2**31 - 1).any()]

    assert len(outside("model.onnx")) == 1, "PyTorch's end of a slice"
    assert outside(f"model.{artifact}.onnx") == []


@pytest.mark.parametrize("artifact", ARTIFACTS)
def test_they_compute_what_fp32_computes(built: ExportResult, artifact: str) -> None:
    golden = read_golden(built.files["golden.npz"])
    found = session(built.files[f"model.{artifact}.onnx"], literal=True).run(OUTPUTS, as_float_inputs(golden.inputs))
    expected = session(built.files["model.onnx"]).run(OUTPUTS, golden.inputs)
    for a, b in zip(found, expected, strict=True):
        assert a.shape == b.shape
        assert np.abs(a - b).max() < 0.1
    assert golden.scores[artifact].shape == (GOLDEN_PAIRS + NEAR_PAIRS, 3)


def test_the_weights_of_both_are_the_same_integers(built: ExportResult) -> None:
    floats = initialisers(built.files["model.int8-trt.onnx"])
    stored = initialisers(built.files["model.int8-trt11.onnx"])
    compared = 0
    for name, value in stored.items():
        if value.dtype == np.int8 and value.ndim == 4:
            weights = floats[name.removesuffix("/q")]
            scale = floats[f"{name.removesuffix('/q')}/scale"][:, None, None, None]
            assert np.array_equal(value, np.rint(weights / scale).astype(np.int8)), name
            compared += 1
    assert compared == CONVOLUTIONS


def test_a_dead_channel_keeps_a_scale_above_zero() -> None:
    weights = np.zeros((2, 3, 1, 1), np.float32)
    weights[1] = -2.54
    assert channel_scales(weights) == pytest.approx([1.0, 0.02])


def test_kept_layers_and_foreign_ranges(built: ExportResult) -> None:
    ranges = ranges_of(built)
    whole = Placement(quantize_for_tensorrt(built.files["model.onnx"], ranges))
    kept = Placement(quantize_for_tensorrt(built.files["model.onnx"], ranges, ["/layer4/layer4.1"]))
    weights = [sum(n.endswith("/zero") and v.ndim == 1 for n, v in g.values.items()) for g in (whole, kept)]
    assert weights[0] - weights[1] == 2
    partial = type(ranges)("minmax", 1, "x", "0", dict(list(ranges.tensors.items())[:5]))
    with pytest.raises(ExportError, match="another graph"):
        quantize_for_tensorrt(built.files["model.onnx"], partial)


def test_a_graph_in_a_circle_is_refused() -> None:
    nodes = [onnx.helper.make_node("Relu", ["a"], ["b"], "one"), onnx.helper.make_node("Relu", ["b"], ["a"], "two")]
    with pytest.raises(ExportError, match="one needs a tensor"):
        sorted_nodes(nodes, set())


@pytest.mark.parametrize(("artifact", "target"), [("int8-trt", "8.6"), ("int8-trt", "10"), ("int8-trt11", "11")])
def test_the_lint_passes_what_is_exported(built: ExportResult, artifact: str, target: Any) -> None:
    assert lint(built.files[f"model.{artifact}.onnx"], target) == []
    check_model(built.files[f"model.{artifact}.onnx"], artifact)


def broken(data: bytes, rule: str) -> bytes:
    """Return an exported graph that breaks one rule."""
    model = onnx.load_from_string(data)
    graph = model.graph
    tensors = {t.name: t for t in graph.initializer}
    quantiser = next(n for n in graph.node if n.op_type == "QuantizeLinear" and n.input[0] not in tensors)
    weight = next(n for n in graph.node if n.op_type == "DequantizeLinear" and tensors[n.input[1]].dims)

    def put(name: str, value: NDArray[Any]) -> None:
        tensors[name].CopyFrom(numpy_helper.from_array(value, name))

    if rule == "opset":
        model.opset_import[0].version = 18
    elif rule == "reduce-axes":
        axes = numpy_helper.from_array(np.array([1], np.int64), "axes")
        graph.initializer.append(axes)
        graph.node.append(onnx.helper.make_node("ReduceMean", ["score", "axes"], ["mean"], "mean"))
    elif rule == "uint8":
        graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8
    elif rule == "int32-dequantize":
        graph.initializer.append(numpy_helper.from_array(np.array([1, 2], np.int32), "bias"))
        graph.node.append(
            onnx.helper.make_node("DequantizeLinear", ["bias", *quantiser.input[1:]], ["fbias"], "bias/dq")
        )
    elif rule == "zero-scale":
        put(quantiser.input[1], np.zeros((), np.float32))
    elif rule == "dead-channel":
        scale = numpy_helper.to_array(tensors[weight.input[1]]).copy()
        scale[0] = 0
        put(weight.input[1], scale)
    elif rule == "scale-constant":
        quantiser.input[1] = "score"
    elif rule == "zero-point":
        put(quantiser.input[2], np.array(3, np.int8))
    elif rule == "operator":
        graph.node.append(onnx.helper.make_node("Shape", ["score"], ["shape"], "shape"))
    elif rule == "fusion":
        relu = next(n for n in graph.node if n.op_type == "Relu" and "Conv" in n.input[0])
        scales = list(quantiser.input[1:])
        graph.node.append(onnx.helper.make_node("QuantizeLinear", [relu.input[0], *scales], ["rq"], "rq"))
        graph.node.append(onnx.helper.make_node("DequantizeLinear", ["rq", *scales], ["rdq"], "rdq"))
        relu.input[0] = "rdq"
    elif rule == "int32-range":
        end = next(n.input[2] for n in graph.node if n.op_type == "Slice")
        put(end, np.array([2**63 - 1], np.int64))
    elif rule == "external-data":
        tensors[weight.input[1]].external_data.add(key="location", value="../secret")
    elif rule == "not-finite":
        bias = next(t for t in graph.initializer if t.name.startswith("onnx::Conv") and len(t.dims) == 1)
        put(bias.name, np.full(list(bias.dims), np.nan, np.float32))
    result: bytes = model.SerializeToString()
    return result


BREACHES = ["opset", "reduce-axes", "uint8", "int32-dequantize", "zero-scale", "dead-channel", "scale-constant"]
BREACHES += ["zero-point", "operator", "fusion", "int32-range", "external-data", "not-finite"]


@pytest.mark.parametrize("rule", BREACHES)
def test_the_lint_finds_every_breach(built: ExportResult, rule: str) -> None:
    findings = lint(broken(built.files["model.int8-trt.onnx"], rule), "8.6")
    assert rule in {f.rule for f in findings}, findings
    assert all(str(f).endswith(f"[{f.rule}]") and f.where for f in findings)


def test_the_lint_knows_what_each_generation_needs(built: ExportResult) -> None:
    assert {f.rule for f in lint(built.files["model.int8-trt.onnx"], "11")} == {"opset", "strong-types"}
    assert {f.rule for f in lint(built.files["model.int8-trt11.onnx"], "8.6")} == {"opset"}
    half = onnx.load_from_string(built.files["model.int8-trt11.onnx"])
    for tensor in half.graph.initializer:
        if tensor.name.endswith("/scale"):
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name))
    assert "strong-types" in {f.rule for f in lint(half.SerializeToString(), "11")}
    cpu = {f.rule for f in lint(built.files["model.int8-cpu.onnx"], "10")}
    assert {"uint8", "int32-dequantize", "zero-point"} <= cpu


def test_strong_typing_is_its_own_step(built: ExportResult) -> None:
    again = strongly_typed(built.files["model.int8-trt.onnx"])
    assert again == built.files["model.int8-trt11.onnx"]
    assert len(again) < 0.5 * len(built.files["model.int8-trt.onnx"])
    assert io.BytesIO(again).read(1)
