"""Merge the float part of the int8-cpu artifact, which follows the backbones, across both streams.

Little is computed there, but in many nodes, and each costs some microseconds whatever its size. ONNX Runtime also moves
the features to another memory layout for every float convolution. This module replaces the nodes by fewer ones that
compute the same:

- A 1×1 convolution is a matrix product over the channels of a pixel, and the INT8 kernels keep these together. Of the
  deep features of each stream, one product computes attention maps and gate; of the features that are compared, one
  computes embedding and doubt.
- What both streams have in common is computed once, on tensors that hold both: [N, 2, …].
- Constant factors, such as those of a mean, are multiplied into the weights.

The order of additions changes, so that scores differ in the last digits of a float. The nodes are checked against those
that they replace by `tests/export/test_tail.py`, and against the float model by every export.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from adsn.network.matching import STEEPNESS
from adsn.network.model import BLOCKS_PER_LAYER, LOCAL_GAIN
from export.nodes import consumers_of

EPSILON, TOTAL_EPSILON = 1e-6, 1e-3
"""Constants of `adsn.network.model.BilinearAttentionPooling` and `adsn.network.matching.Matching`."""
LAST = BLOCKS_PER_LAYER - 1
FUSED = "/fusion/Add_output_0"
FloatArray = NDArray[np.float32]


def merge_streams(graph: onnx.GraphProto) -> None:
    """Replace the nodes after the backbones of a quantised graph by fewer that compute the same.

    A graph whose attention maps are computed from fine features is not changed. The nodes of the result are not sorted.
    """
    reader = _Reader(graph)
    if not reader.maps_from_deep():
        return
    outputs = {output.name for output in graph.output}
    for node in [n for n in graph.node if {*n.output} & (outputs | {FUSED})]:
        graph.node.remove(node)
    _Writer(graph, reader).write()
    _remove_unused(graph)


def _remove_unused(graph: onnx.GraphProto) -> None:
    """Remove the nodes, initialisers and recorded shapes that no output of the graph needs."""
    producers = {output: node for node in graph.node for output in node.output}
    wanted = [output.name for output in graph.output]
    needed: set[str] = set()
    while wanted:
        name = wanted.pop()
        if name not in needed:
            needed.add(name)
            wanted += producers[name].input if name in producers else ()
    for node in [n for n in graph.node if not needed.intersection(n.output)]:
        graph.node.remove(node)
    for tensor in [t for t in graph.initializer if t.name not in needed]:
        graph.initializer.remove(tensor)
    for value in [v for v in graph.value_info if v.name not in needed]:
        graph.value_info.remove(value)


@dataclass(frozen=True, slots=True)
class _Linear:
    """A linear map: ``weight`` [inputs, outputs] and ``bias`` [outputs]."""

    weight: FloatArray
    bias: FloatArray


class _Reader:
    """Reads the weights of the part to be replaced from the nodes of the graph."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.nodes = {node.name: node for node in graph.node}
        self.consumers = consumers_of(graph.node)
        self.constants = {t.name: t for t in graph.initializer}

    def maps_from_deep(self) -> bool:
        """Return whether the attention maps are computed from the deep features."""
        return "/attention.0/DepthToSpace" in self.nodes

    def compares(self) -> bool:
        """Return whether the network compares its streams."""
        return "/matching/project.0/Conv" in self.nodes

    def constant(self, name: str) -> FloatArray:
        return np.asarray(numpy_helper.to_array(self.constants[name]), np.float32)

    def linear(self, name: str) -> _Linear:
        """Return the weights of a Gemm or a 1×1 convolution. Both store [outputs, inputs]."""
        node = self.nodes[name]
        weight = self.constant(node.input[1])
        flat = weight.reshape(weight.shape[0], -1).T
        bias = self.constant(node.input[2]) if len(node.input) > 2 else np.zeros(flat.shape[1], np.float32)
        return _Linear(flat, bias)

    def quantised(self, name: str) -> onnx.NodeProto | None:
        """Return the DequantizeLinear node for the float tensor ``name``, or None if the tensor is not quantised."""
        for node in self.consumers.get(name, []):
            if node.op_type == "QuantizeLinear":
                return next(n for n in self.consumers[node.output[0]] if n.op_type == "DequantizeLinear")
        return None


class _Writer:
    """Writes the merged nodes. Shapes are given for C deep and F fine channels, G×G deep cells, M maps, and D compared
    dimensions a cell."""

    def __init__(self, graph: onnx.GraphProto, reader: _Reader) -> None:
        self.graph, self.reader = graph, reader
        self.maps = [reader.linear(f"/attention.{i}/maps/Conv") for i in range(2)]
        self.deep, self.map_count = self.maps[0].weight.shape[0], self.maps[0].weight.shape[1] // 4
        self.head = reader.linear("/head/Gemm")
        self.fine = self.deep // 2
        pool = reader.nodes["/AveragePool"]
        self.grid = next(a.ints[0] for a in pool.attribute if a.name == "kernel_shape")
        self.deepest = self.head.weight.shape[0] - 2 * self.map_count * self.fine
        self.deepest_cells = ((self.grid + 1) // 2) ** 2
        self.made = 0

    def write(self) -> None:
        """Add the nodes to the graph."""
        shape = [-1, 1, self.grid**2, self.deep]
        deep = [self.pixels(f"/streams.{i}/layer3/layer3.{LAST}/Relu_1_output_0", shape) for i in range(2)]
        maps, gate = self.split(self.products(deep), [4 * self.map_count, 1], axis=3)
        parts = self.pooled(self.attention(maps))
        gated = self.node("Mul", [self.both(deep), self.node("Sigmoid", [gate])])
        sums = self.sum(gated, [2])
        self.fuse(gated, sums)
        self.stream_scores(parts, sums)
        self.score(parts, self.match() if self.reader.compares() else None)

    def node(self, operator: str, inputs: Sequence[str], output: str = "", **attributes: Any) -> str:
        """Add a node, and return the name of its output."""
        self.made += 1
        name = f"/tail/{operator}_{self.made}"
        output = output or f"{name}_output"
        self.graph.node.append(helper.make_node(operator, list(inputs), [output], name, **attributes))
        return output

    def constant(self, value: NDArray[Any], name: str = "") -> str:
        self.made += 1
        name = f"/tail/{name}" if name else f"/tail/constant_{self.made}"
        self.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def scalar(self, value: float) -> str:
        return self.constant(np.array(value, np.float32))

    def reshape(self, tensor: str, shape: Sequence[int], output: str = "") -> str:
        return self.node("Reshape", [tensor, self.constant(np.array(shape, np.int64))], output)

    def sum(self, tensor: str, axes: Sequence[int], *, keep: bool = False) -> str:
        return self.node("ReduceSum", [tensor, self.constant(np.array(axes, np.int64))], keepdims=int(keep))

    def both(self, tensors: Sequence[str]) -> str:
        """Join the tensors of both streams along axis 1."""
        return self.node("Concat", tensors, axis=1)

    def split(self, tensor: str, sizes: Sequence[int], axis: int) -> list[str]:
        """Return consecutive slices of ``sizes`` along ``axis``."""
        ends = np.cumsum(sizes)
        return [
            self.node("Slice", [tensor, *(self.constant(np.array([v], np.int64)) for v in (end - size, end, axis, 1))])
            for size, end in zip(sizes, ends, strict=True)
        ]

    def gemm(self, tensor: str, linear: _Linear, name: str) -> str:
        """Apply a linear map, whose constants are called /tail/``name``.weight and /tail/``name``.bias."""
        weight, bias = (
            self.constant(v, f"{name}.{part}") for v, part in ((linear.weight, "weight"), (linear.bias, "bias"))
        )
        return self.node("Gemm", [tensor, weight, bias])

    def pixels(self, name: str, shape: Sequence[int]) -> str:
        """Return a feature map with channels last, in ``shape``. A quantised one is dequantised after that."""
        dequantise = self.reader.quantised(name)
        tensor = name if dequantise is None else dequantise.input[0]
        flat = self.reshape(self.node("Transpose", [tensor], perm=[0, 2, 3, 1]), shape)
        return flat if dequantise is None else self.node("DequantizeLinear", [flat, *dequantise.input[1:]])

    def product(self, tensors: Sequence[str], linears: Sequence[_Linear], name: str) -> str:
        """Apply each stream's linear map to its pixels [N, 1, cells, inputs], and return [N, 2, cells, outputs]."""
        found = [
            self.node("MatMul", [tensor, self.constant(linear.weight, f"{name}.{stream}.weight")])
            for stream, (tensor, linear) in enumerate(zip(tensors, linears, strict=True))
        ]
        bias = self.constant(np.stack([linear.bias for linear in linears])[:, None], f"{name}.bias")
        return self.node("Add", [self.both(found), bias])

    def products(self, deep: Sequence[str]) -> str:
        """Return attention maps and gate before activation: [N, 2, G·G, 4·M + 1]."""
        names = "attention.{}/maps", "attention.{}/gate"
        linears = [_beside(*(self.reader.linear(f"/{name.format(i)}/Conv") for name in names)) for i in range(2)]
        return self.product(deep, linears, "deep")

    def attention(self, logits: str) -> str:
        """Return the attention maps [N, 2, M, 4·G·G], given [N, 2, G·G, 4·M]. Each cell's four values are a square."""
        g, m = self.grid, self.map_count
        squares = self.reshape(self.node("Sigmoid", [logits]), [-1, 2, g, g, m, 2, 2])
        grids = self.node("Transpose", [squares], perm=[0, 1, 4, 2, 5, 3, 6])
        return self.reshape(self.reshape(grids, [-1, 2, m, 2 * g, 2 * g], "attention"), [-1, 2, m, 4 * g * g])

    def pooled(self, maps: str) -> str:
        """Return the parts [N, 2, M·F]; see `adsn.network.model.BilinearAttentionPooling`."""
        shape = [-1, 1, 4 * self.grid**2, self.fine]
        fine = self.both([self.pixels(f"/streams.{i}/layer2/layer2.{LAST}/Relu_1_output_0", shape) for i in range(2)])
        total = self.node("Add", [self.sum(maps, [3], keep=True), self.scalar(TOTAL_EPSILON)])
        mean = self.node("Div", [self.node("MatMul", [maps, fine]), total])
        squared = self.node("Add", [mean, self.scalar(EPSILON)])
        norm = self.node("Add", [self.sum(squared, [3], keep=True), self.scalar(EPSILON)])
        parts = self.node("Sqrt", [self.node("Div", [squared, norm])])
        return self.reshape(parts, [-1, 2, self.map_count * self.fine])

    def fuse(self, gated: str, sums: str) -> None:
        """Write the fused features [N, C, G, G]; see `adsn.network.model.CrossModalFusion`."""
        squeeze = self.reader.linear("/fusion/squeeze/Gemm")
        means = _Linear(squeeze.weight / np.float32(self.grid**2), squeeze.bias)
        hidden = self.node("Relu", [self.gemm(self.reshape(sums, [-1, 2 * self.deep]), means, "fusion.squeeze")])
        excite = self.gemm(hidden, self.reader.linear("/fusion/excite/Gemm"), "fusion.excite")
        gates = self.node("Sigmoid", [excite])
        streams = self.split(self.node("Mul", [gated, self.reshape(gates, [-1, 2, 1, self.deep])]), [1, 1], axis=1)
        fused = self.node("Add", streams)
        self.node("Transpose", [self.reshape(fused, [-1, self.grid, self.grid, self.deep])], FUSED, perm=[0, 3, 1, 2])

    def stream_scores(self, parts: str, sums: str) -> None:
        """Write the output ``stream_scores``."""
        heads = [self.reader.linear(f"/stream_heads.{i}/Gemm") for i in range(2)]
        weights = np.stack([head.weight[:, 0] for head in heads])[None]
        width = self.map_count * self.fine
        weights = np.concatenate([weights[..., :width] * LOCAL_GAIN, weights[..., width:] / self.grid**2], 2)
        own = self.node("Concat", [parts, sums], axis=2)
        weight = self.constant(weights.astype(np.float32), "stream_heads.weight")
        logits = self.sum(self.node("Mul", [own, weight]), [2])
        bias = self.constant(np.concatenate([head.bias for head in heads]), "stream_heads.bias")
        self.node("Sigmoid", [self.node("Add", [logits, bias])], "stream_scores")

    def score(self, parts: str, match: str | None) -> None:
        """Write the output ``score``. ``match``: probability that both images show one moment."""
        deepest = self.pixels(f"/layer4/layer4.{LAST}/Relu_1_output_0", [-1, self.deepest_cells, self.deepest])
        width = 2 * self.map_count * self.fine
        factors = np.repeat(np.array([1 / self.deepest_cells, LOCAL_GAIN], np.float32), [self.deepest, width])
        head = _Linear(self.head.weight * factors[:, None], self.head.bias)
        joined = self.node("Concat", [self.sum(deepest, [1]), self.reshape(parts, [-1, width])], axis=1)
        logit = self.reshape(self.gemm(joined, head, "head"), [-1])
        if match is None:
            self.node("Sigmoid", [logit], "score")
        else:
            self.node("Mul", [self.node("Sigmoid", [logit]), match], "score")

    def match(self) -> str:
        """Return the match probability [N]; see `adsn.network.matching.Matching`."""
        embeddings = [self.embedding(stream) for stream in range(2)]
        inner, width = embeddings[0].weight.shape
        shape = [-1, 1, 4 * self.grid**2, inner]
        seen = [self.pixels(f"/matching/outline.{i}/outline.{i}.2/Relu_output_0", shape) for i in range(2)]
        projected, doubts = self.split(self.product(seen, embeddings, "matching"), [width - 1, 1], axis=3)
        squares = self.sum(self.node("Mul", [projected, projected]), [2, 3], keep=True)
        length = self.node("Sqrt", [self.node("Add", [squares, self.scalar(EPSILON)])])
        first, second = self.split(self.node("Div", [projected, length]), [1, 1], axis=1)
        cosine = self.sum(self.node("Mul", [first, second]), [1, 2, 3])
        gain = STEEPNESS * float(self.reader.constant("matching.gain"))
        logit = self.node("Add", [self.node("Mul", [cosine, self.scalar(gain)]), self.sum(doubts, [1, 2, 3])])
        return self.node("Sigmoid", [logit])

    def embedding(self, stream: int) -> _Linear:
        """Return the map from a cell's features to its part of the embedding and of the doubt [D + 1]."""
        project = self.reader.linear(f"/matching/project.{stream}/Conv")
        doubt = self.reader.linear(f"/matching/doubt.{stream}/Gemm")
        cells = 4 * self.grid**2
        scale = np.float32((cells * project.weight.shape[1]) ** -0.5)
        share = np.float32(STEEPNESS / cells)
        return _beside(
            _Linear(project.weight * scale, project.bias * scale), _Linear(doubt.weight * share, doubt.bias * share)
        )


def _beside(*linears: _Linear) -> _Linear:
    """Return the map to the outputs of all ``linears``, which have the same inputs."""
    return _Linear(np.concatenate([m.weight for m in linears], 1), np.concatenate([m.bias for m in linears]))
