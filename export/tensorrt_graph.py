"""Quantise the FP32 graph for TensorRT: ``int8-trt`` (versions 8.6 to 10) and ``int8-trt11`` (version 11 and later).

In both artifacts Q/DQ nodes are placed such that TensorRT fuses convolution, addition and ReLU into one INT8 kernel:

- Q/DQ only on the inputs of weighted operators, never on outputs; weights per output channel, activations per tensor.
- Of the inputs of a residual addition only the skip input is quantised. The output of the convolution stays in the
  accumulator.
- Symmetric int8 with zero point 0. The bias is not quantised.
- Stems, heads, gates, attention and its product stay in float, as do nodes that are kept by name.

A tensor with several consumers has a single Q/DQ pair. Sources: NVIDIA TensorRT Developer Guide, "Working with
Quantized Types"; behaviour of the parser and of fusions (onnx-tensorrt 8.6-GA, placement by ModelOpt 0.47).

The graph inputs become float32 with the same values, 0 to 255, because the parser of TensorRT 8 does not accept uint8.
The limits of slices are changed to fit int32, because TensorRT 8 has no int64.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper, version_converter

from calib.ranges import Ranges
from export.errors import ExportError
from export.quantize import BACKBONE, backbone_nodes, kept_nodes

LEVELS = 127
SMALLEST_SCALE = float(np.finfo(np.float16).tiny)
"""Smallest normal float16, used as the minimum scale. Smaller scales would become 0 or imprecise when stored as
float16. The resulting error in a channel with such small weights is at most half of this value."""
STRONG_OPSET = 19
"""First opset in which the scales of Q/DQ may be float16."""


def float_inputs(model: onnx.ModelProto) -> None:
    """Change uint8 graph inputs to float32 and remove the casts after them."""
    graph = model.graph
    for value in graph.input:
        if value.type.tensor_type.elem_type == TensorProto.UINT8:
            value.type.tensor_type.elem_type = TensorProto.FLOAT
    inputs = {value.name for value in graph.input}
    casts = [node for node in graph.node if node.op_type == "Cast" and node.input[0] in inputs]
    for cast in casts:
        _redirect(cast.output[0], cast.input[0], graph.node)
        graph.node.remove(cast)


def bounded_slices(model: onnx.ModelProto) -> None:
    """Clamp the starts and ends of slices to int32.

    PyTorch writes the largest int64 for "to the end". TensorRT 8 has no int64, so it clamps the value and warns that
    weights were out of range. The largest int32 has the same meaning.
    """
    limits = np.iinfo(np.int32)
    bounds = {name for node in model.graph.node if node.op_type == "Slice" for name in node.input[1:3]}
    for tensor in model.graph.initializer:
        if tensor.name in bounds and tensor.data_type == TensorProto.INT64:
            value = np.clip(numpy_helper.to_array(tensor), limits.min, limits.max)
            tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))


def _redirect(old: str, new: str, consumers: Iterable[onnx.NodeProto]) -> None:
    for node in consumers:
        for i, name in enumerate(node.input):
            if name == old:
                node.input[i] = new


def skip_input(node: onnx.NodeProto, producers: dict[str, onnx.NodeProto]) -> int:
    """Return the index of the skip input of a residual Add.

    It is not the output of a convolution, or is that of a 1×1 convolution.

    Raises:
        ExportError: neither input is the output of a 3×3 convolution.
    """
    kernels = []
    for name in node.input:
        producer = producers.get(name)
        is_conv = producer is not None and producer.op_type == "Conv"
        kernels.append(_kernel(producer) if is_conv and producer is not None else 0)
    if sorted(kernels)[1] < 3 or kernels[0] == kernels[1]:
        raise ExportError(f"{node.name} is not a residual addition of this network, so it cannot be quantised.")
    return int(np.argmin(kernels))


def _kernel(node: onnx.NodeProto) -> int:
    return next(int(a.ints[0]) for a in node.attribute if a.name == "kernel_shape")


def channel_scales(weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the symmetric scale of each output channel, float32 [outputs], of weights [outputs, …].

    Scales are at least `SMALLEST_SCALE`. The scale of an all-zero channel is 1, because TensorRT rejects a scale of 0.
    """
    top = np.abs(weights.reshape(len(weights), -1)).max(1)
    return np.where(top > 0, np.maximum(top / LEVELS, SMALLEST_SCALE), 1.0).astype(np.float32)


class _Placer:
    """Placer of Q/DQ nodes in a graph, one pair per tensor."""

    def __init__(self, graph: onnx.GraphProto, ranges: Ranges) -> None:
        self.graph, self.ranges = graph, ranges
        self.weights = {t.name: t for t in graph.initializer}
        self.producers = {name: node for node in graph.node for name in node.output}
        self.made: dict[str, str] = {}

    def activation(self, name: str) -> str:
        """Return the name of the dequantised tensor of an activation. Add its Q/DQ pair if there is none yet."""
        if name not in self.made:
            low, high = self.ranges.tensors[name]
            scale = max(abs(low), abs(high)) / LEVELS
            # Any positive scale is right for a tensor that was zero on all samples.
            self._pair(name, np.array(max(scale, SMALLEST_SCALE) if scale > 0 else 1.0, np.float32), None)
        return self.made[name]

    def weight(self, name: str) -> str:
        """Return the name of the dequantised tensor of a convolution's weights. Add its Q/DQ pair if there is none
        yet."""
        if name not in self.made:
            self._pair(name, channel_scales(numpy_helper.to_array(self.weights[name])), 0)
        return self.made[name]

    def _pair(self, name: str, scale: NDArray[np.float32], axis: int | None) -> None:
        parameters = [f"{name}/scale", f"{name}/zero"]
        self.graph.initializer.extend(
            [
                numpy_helper.from_array(scale, parameters[0]),
                numpy_helper.from_array(np.zeros(scale.shape, np.int8), parameters[1]),
            ]
        )
        attributes: dict[str, Any] = {} if axis is None else {"axis": axis}
        q = helper.make_node(
            "QuantizeLinear", [name, *parameters], [f"{name}/q"], f"{name}/QuantizeLinear", **attributes
        )
        dq = helper.make_node(
            "DequantizeLinear", [f"{name}/q", *parameters], [f"{name}/dq"], f"{name}/DequantizeLinear", **attributes
        )
        self.graph.node.extend([q, dq])
        self.made[name] = dq.output[0]


def quantize_for_tensorrt(model: bytes, ranges: Ranges, keep_float: Iterable[str] = ()) -> bytes:
    """Return the int8-trt artifact of an FP32 graph: opset 17, float32 with Q/DQ, for TensorRT 8.6 to 10.

    Raises:
        ExportError: a range is missing, an entry of ``keep_float`` matches no node, or the graph is not an export of
            this network.
    """
    proto = onnx.load_from_string(model)
    float_inputs(proto)
    bounded_slices(proto)
    kept = kept_nodes(proto, keep_float)
    placer = _Placer(proto.graph, ranges)
    try:
        for node in backbone_nodes(proto):
            if node.name in kept or "/stem/" in node.name:
                continue
            if node.op_type == "Conv":
                node.input[0], node.input[1] = placer.activation(node.input[0]), placer.weight(node.input[1])
            elif node.op_type == "Add":
                skip = skip_input(node, placer.producers)
                node.input[skip] = placer.activation(node.input[skip])
    except KeyError as error:
        raise ExportError(f"the ranges lack the tensor {error}, so they belong to another graph.") from error
    return _finished(proto)


def strongly_typed(model: bytes) -> bytes:
    """Convert an int8-trt artifact to the int8-trt11 artifact.

    The result has opset 19 and weights stored as int8. Parts of the backbones that are not int8 are float16. Inputs,
    attention, gates and heads stay in float32, because float16 steps would be visible in the scores. TensorRT 11
    supports only strongly typed networks, in which the types in the graph decide the precision.
    """
    proto = version_converter.convert_version(onnx.load_from_string(model), STRONG_OPSET)
    _store_weights_as_int8(proto.graph)
    _halve(proto.graph, [node for node in proto.graph.node if _in_backbone(node)])
    return _finished(proto)


def _in_backbone(node: onnx.NodeProto) -> bool:
    """Return whether a node is an operator of a backbone or a Q/DQ node of its inputs. Q/DQ nodes are named after
    tensors."""
    return bool(BACKBONE.match(node.name)) or node.op_type in ("QuantizeLinear", "DequantizeLinear")


def _store_weights_as_int8(graph: onnx.GraphProto) -> None:
    """Replace weights → Q → DQ by int8 weights → DQ. That takes a quarter of the size, and TensorRT 10 and later
    support it."""
    weights = {t.name: t for t in graph.initializer}
    for q in [n for n in graph.node if n.op_type == "QuantizeLinear" and n.input[0] in weights]:
        value, scale = (numpy_helper.to_array(weights[name]) for name in q.input[:2])
        shape = (-1,) + (1,) * (value.ndim - 1)
        stored = np.clip(np.rint(value / scale.reshape(shape)), -LEVELS - 1, LEVELS).astype(np.int8)
        graph.initializer.remove(weights[q.input[0]])
        graph.initializer.append(numpy_helper.from_array(stored, q.output[0]))
        graph.node.remove(q)


def _halve(graph: onnx.GraphProto, inside: list[onnx.NodeProto]) -> None:
    """Convert the nodes ``inside`` to float16, with casts at their inputs and outputs."""
    names = {node.name for node in inside}
    weights = {t.name: t for t in graph.initializer}
    produced = {name for node in inside for name in node.output}
    halved: set[str] = set()
    entering: dict[str, str] = {}
    for node in inside:
        for i, name in enumerate(node.input):
            if name in weights:
                if weights[name].data_type == TensorProto.FLOAT and name not in halved:
                    halved.add(name)
                    weights[name].CopyFrom(
                        numpy_helper.from_array(numpy_helper.to_array(weights[name]).astype(np.float16), name)
                    )
            elif name not in produced:
                entering.setdefault(name, f"{name}/half")
                node.input[i] = entering[name]
    shared = [name for name in halved for n in graph.node if n.name not in names and name in n.input]
    if shared:
        raise ExportError(f"{shared[0]} is used inside and outside the backbones, so it cannot become float16.")
    for name, half in entering.items():
        graph.node.append(helper.make_node("Cast", [name], [half], f"{name}/ToHalf", to=TensorProto.FLOAT16))
    outside = [node for node in graph.node if node.name not in names]
    for name in sorted(produced & {i for node in outside for i in node.input}):
        graph.node.append(
            helper.make_node("Cast", [name], [f"{name}/single"], f"{name}/ToSingle", to=TensorProto.FLOAT)
        )
        _redirect(name, f"{name}/single", outside)
    del graph.value_info[:]


def sorted_nodes(nodes: Collection[onnx.NodeProto], known: set[str]) -> list[onnx.NodeProto]:
    """Return ``nodes`` in topological order. ``known``: names of tensors that no node has to produce.

    Raises:
        ExportError: a node needs a tensor that no node produces.
    """
    rest, ordered, there = list(nodes), [], set(known)
    while rest:
        ready = [node for node in rest if all(not name or name in there for name in node.input)]
        if not ready:
            raise ExportError(f"{rest[0].name} needs a tensor that no node produces.")
        ordered += ready
        there |= {name for node in ready for name in node.output}
        rest = [node for node in rest if not any(node is r for r in ready)]
    return ordered


def _finished(proto: onnx.ModelProto) -> bytes:
    graph = proto.graph
    used = {name for node in graph.node for name in node.input}
    for tensor in [t for t in graph.initializer if t.name not in used]:
        graph.initializer.remove(tensor)
    known = {t.name for t in graph.initializer} | {value.name for value in graph.input}
    nodes = sorted_nodes(graph.node, known)
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)
    proto.producer_name, proto.producer_version = "adsn", ""
    onnx.checker.check_model(proto, full_check=True)
    data: bytes = proto.SerializeToString(deterministic=True)
    return data


def as_float_inputs(batch: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return ``batch`` as float32 with the same values, which is the input of these artifacts."""
    return {name: array.astype(np.float32) for name, array in batch.items()}
