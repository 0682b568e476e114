"""Check that a TensorRT generation accepts a graph and reads it correctly. Needs neither a GPU nor TensorRT.

The rules come from TensorRT's documentation and the source code of its parsers (onnx-tensorrt 8.5-GA, 8.6-GA and 10.x).
The parsers reject some mistakes, but not the worst ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from export.nodes import consumers_of
from runtime.bundle.onnx_check import OPERATORS
from runtime.engines.tensorrt.versions import TensorRtGeneration

IGNORES_AXES_INPUT = frozenset({"ReduceL1", "ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd"}) | {
    "ReduceSumSquare",
    "ReduceLogSum",
    "ReduceLogSumExp",
}
FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16)


@dataclass(frozen=True, slots=True)
class LintViolation:
    """A violation of ``rule`` at ``where``, which names the node, the tensor or the graph. ``words``: the
    consequence."""

    rule: str
    where: str
    words: str

    def __str__(self) -> str:
        return f"{self.where}: {self.words} [{self.rule}]"


class _Graph:
    """A model with the look-up tables that the rules need."""

    def __init__(self, model: onnx.ModelProto, target: TensorRtGeneration) -> None:
        self.model, self.target = model, target
        self.nodes = list(model.graph.node)
        self.tensors = {t.name: t for t in model.graph.initializer}
        self.opset = max((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=0)

    def value(self, name: str) -> NDArray[np.float64] | None:
        tensor = self.tensors.get(name)
        return None if tensor is None else numpy_helper.to_array(tensor).astype(np.float64)

    def quantisers(self) -> Iterator[onnx.NodeProto]:
        yield from (n for n in self.nodes if n.op_type in ("QuantizeLinear", "DequantizeLinear"))


Rule = Callable[[_Graph], Iterator[LintViolation]]


def opset(g: _Graph) -> Iterator[LintViolation]:
    """Check the opset: TensorRT 8 supports opsets up to 17; float16 scales need opset 19."""
    if g.target == "8.6" and g.opset > 17:
        yield LintViolation("opset", "graph", f"opset {g.opset}; TensorRT 8.6 knows 17 at most and does not check")
    if g.target == "11" and g.opset < 19:
        yield LintViolation(
            "opset", "graph", f"opset {g.opset}; strongly typed Q/DQ with float16 scales needs 19 or later"
        )


def reduce_axes(g: _Graph) -> Iterator[LintViolation]:
    """Check the axes of Reduce: TensorRT 8 reads them from an attribute and silently ignores them as an input."""
    if g.target == "8.6":
        for node in g.nodes:
            if node.op_type in IGNORES_AXES_INPUT and len(node.input) > 1:
                yield LintViolation(
                    "reduce-axes", node.name, "axes as an input: it would reduce over all axes, the batch too"
                )


def uint8(g: _Graph) -> Iterator[LintViolation]:
    """Refuse uint8 tensors: TensorRT 8 rejects them, and later versions read a uint8 zero point differently."""
    for value in g.model.graph.input:
        if value.type.tensor_type.elem_type == TensorProto.UINT8:
            yield LintViolation("uint8", value.name, "a uint8 graph input; give it float32 values 0 to 255")
    for node in g.quantisers():
        zero = g.tensors.get(node.input[2]) if len(node.input) > 2 else None
        if zero is not None and zero.data_type == TensorProto.UINT8:
            yield LintViolation("uint8", node.name, "a uint8 zero point; TensorRT quantises to int8 only")


def int32_dequantize(g: _Graph) -> Iterator[LintViolation]:
    """Refuse a quantised bias: TensorRT has no int32 DequantizeLinear."""
    for node in g.quantisers():
        tensor = g.tensors.get(node.input[0])
        if node.op_type == "DequantizeLinear" and tensor is not None and tensor.data_type == TensorProto.INT32:
            yield LintViolation(
                "int32-dequantize", node.name, "dequantises int32 (a quantised bias); leave biases in float"
            )


def scales(g: _Graph) -> Iterator[LintViolation]:
    """Require scales that are constant, finite and above zero."""
    for node in g.quantisers():
        value = g.value(node.input[1])
        if value is None:
            yield LintViolation("scale-constant", node.name, "its scale is no constant of the graph")
        elif value.ndim == 0 or value.size == 1:
            if not (np.isfinite(value).all() and (value > 0).all()):
                yield LintViolation("zero-scale", node.name, f"scale {float(value.ravel()[0])}; it must be above 0")
        elif not (np.isfinite(value).all() and (value > 0).all()):
            dead = np.flatnonzero(~(np.isfinite(value) & (value > 0)))
            words = f"scale 0 in {len(dead)} channels ({dead[:4].tolist()}…): dead channels"
            yield LintViolation("dead-channel", node.name, f"{words} need a scale above 0 all the same")


def zero_points(g: _Graph) -> Iterator[LintViolation]:
    """Require symmetric quantisation with an explicit zero point."""
    for node in g.quantisers():
        if len(node.input) < 3:
            if g.target == "8.6":
                yield LintViolation("zero-point", node.name, "no zero point; TensorRT 8 wants all three inputs")
            continue
        value = g.value(node.input[2])
        if value is None or value.any():
            yield LintViolation("zero-point", node.name, "a zero point other than 0; TensorRT quantises symmetrically")


def operators(g: _Graph) -> Iterator[LintViolation]:
    """Allow only operators that are known to be served, and no other domain."""
    for node in g.nodes:
        if node.domain not in ("", "ai.onnx") or node.op_type not in OPERATORS:
            name = f"{node.domain}::{node.op_type}" if node.domain else node.op_type
            yield LintViolation("operator", node.name, f"{name} is not among the operators this export may use")


def conv_relu_fusion(g: _Graph) -> Iterator[LintViolation]:
    """Refuse Q/DQ between a convolution and its ReLU, which would keep TensorRT from fusing the two."""
    producers = {name: node for node in g.nodes for name in node.output}
    consumers = consumers_of(g.nodes)
    for node in g.quantisers():
        producer = producers.get(node.input[0])
        if node.op_type == "QuantizeLinear" and producer is not None and producer.op_type == "Conv":
            after = [c.op_type for dq in consumers.get(node.output[0], []) for c in consumers.get(dq.output[0], [])]
            if "Relu" in after:
                yield LintViolation(
                    "fusion", node.name, "Q/DQ between a convolution and its ReLU; they would not be fused"
                )


def strong_types(g: _Graph) -> Iterator[LintViolation]:
    """Require float16 scales for Q/DQ of float16 tensors: TensorRT 11 computes in the types that the graph declares."""
    if g.target != "11":
        return
    types = {node.input[1]: g.tensors[node.input[1]].data_type for node in g.quantisers() if node.input[1] in g.tensors}
    convolutions = [n for n in g.nodes if n.op_type == "Conv" and len(n.input) > 2 and n.input[2] in g.tensors]
    half = any(g.tensors[n.input[2]].data_type == TensorProto.FLOAT16 for n in convolutions)
    for name, kind in types.items():
        if half and kind != TensorProto.FLOAT16:
            yield LintViolation("strong-types", name, "a float32 scale in a float16 network; the types do not meet")
    if not half:
        yield LintViolation(
            "strong-types", "graph", "no float16 backbone: on TensorRT 11 all but int8 would run in float32"
        )


def int32_range(g: _Graph) -> Iterator[LintViolation]:
    """Require integers within int32: TensorRT 8 has no int64 and clamps larger values."""
    limits = np.iinfo(np.int32)
    for tensor in g.model.graph.initializer:
        if g.target == "8.6" and tensor.data_type == TensorProto.INT64:
            value = numpy_helper.to_array(tensor)
            if value.size and not (limits.min <= value.min() and value.max() <= limits.max):
                yield LintViolation("int32-range", tensor.name, "holds integers beyond int32, which TensorRT 8 clamps")


def finite(g: _Graph) -> Iterator[LintViolation]:
    """Require weights that are finite and stored inside the file."""
    for tensor in g.model.graph.initializer:
        if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
            yield LintViolation("external-data", tensor.name, "its values lie outside the model file")
        elif tensor.data_type in FLOATS and not np.isfinite(numpy_helper.to_array(tensor)).all():
            yield LintViolation("not-finite", tensor.name, "holds values that are not finite")


RULES: tuple[Rule, ...] = (
    opset,
    reduce_axes,
    uint8,
    int32_dequantize,
    scales,
    zero_points,
    operators,
    conv_relu_fusion,
    strong_types,
    int32_range,
    finite,
)


def lint(model: bytes, target: TensorRtGeneration) -> list[LintViolation]:
    """Return all violations of the rules for ``target`` in a serialised ONNX model."""
    graph = _Graph(onnx.load_from_string(model), target)
    return [finding for rule in RULES for finding in rule(graph)]
