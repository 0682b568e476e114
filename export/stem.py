"""Make the first convolution of each stream in the int8-cpu artifact (the stem) read the camera's bytes directly.

A uint8 image *is* a quantised tensor: with scale 1/128 and zero point 128 it represents the normalised input (v − 128)
/ 128, and padding with the zero point is padding with 0. The input therefore needs no cast, subtraction, multiplication
or quantisation.

ONNX Runtime's 8-bit kernels read channels in groups of four; one or three channels take a slower path. In an NHWC array
the channels of four neighbouring columns are adjacent, so they can be read as one column with four times as many
channels without moving a byte. The convolution then computes two neighbouring output columns per step, as twice as many
channels, which are also adjacent::

    [N, S, S, C] ─ [N, S, S/4, 4·C] ─ Conv 7×3, stride (2, 1) ─ [N, S/2, S/4, 2·O] ─ [N, S/2, S/2, O]

The resulting integers are the same as those of the 7×7 convolution with stride 2. The folded weights contain zeros, but
these cost less than the slower path. The graph has transposes because ONNX convolves NCHW; the runtime removes them.

A network that brightens dark IR images does so in float. Its stem reads the brightened bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from export.errors import ExportError
from export.nodes import consumers_of

CAMERA_RANGE = (-1.0, 127 / 128)
"""Range to which the 256 values of a camera are normalised. If exactly this range is quantised, each value is one
step."""
SCALE, ZERO_POINT = np.float32(1 / 128), np.uint8(128)
NORMALISATION = ("Sub", "Mul")
BRIGHTENING = ("AveragePool", "Mul", "Clip")
"""Operators that compute the share of the wanted brightness that an image has. The image is divided by it."""
CAMERA_VALUES = (0.0, 255.0)
COLUMNS, PHASES = 4, 2
"""Number of input columns folded into one, and number of output columns computed per step (4 columns at stride 2)."""
KERNEL, STRIDE, PADDING = 7, 2, 3


@dataclass(frozen=True, slots=True)
class CameraInput:
    """A uint8 graph input, and the float tensors made of it.

    ``normalised``: the network's value of each pixel. ``brightened``: the brightened image, not yet limited to camera
    values; empty if the network does not brighten this input.
    """

    name: str
    normalised: str
    brightened: str = ""


class _Reader:
    """Follow the nodes of a graph from an input on."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._consumers = consumers_of(graph.node)
        self._constants = {tensor.name: tensor for tensor in graph.initializer}

    def operators(self, name: str) -> list[str]:
        """Return the operators that use a tensor."""
        return sorted(node.op_type for node in self._consumers.get(name, []))

    def follow(self, name: str, operators: Sequence[str]) -> tuple[str, list[float]]:
        """Return what becomes of the tensor ``name`` in a chain of operators, and their constants.

        Raises:
            ExportError: other operators use it.
        """
        values: list[float] = []
        for operator in operators:
            nodes = [node for node in self._consumers.get(name, []) if node.op_type == operator]
            if len(nodes) != 1:
                raise ExportError(f"{name!r} is used by {self.operators(name)}, not by one {operator}.")
            inputs = [self._constants[i] for i in nodes[0].input[1:] if i in self._constants]
            values += [numpy_helper.to_array(constant).item() for constant in inputs]
            name = nodes[0].output[0]
        return name, values


def camera_inputs(graph: onnx.GraphProto) -> list[CameraInput]:
    """Return the uint8 inputs of an export of this network.

    Raises:
        ExportError: an input is not normalised as (v − 128) / 128, or changed before in an unknown way.
    """
    reader = _Reader(graph)
    found = []
    for value in graph.input:
        if value.type.tensor_type.elem_type != TensorProto.UINT8:
            continue
        name, _ = reader.follow(value.name, ("Cast", "Transpose"))
        brightened = ""
        if reader.operators(name) == ["AveragePool", "Div"]:
            share, _ = reader.follow(name, BRIGHTENING)
            brightened, _ = reader.follow(name, ("Div",))
            name, limits = reader.follow(brightened, ("Clip",))
            if reader.follow(share, ("Div",))[0] != brightened or limits != list(CAMERA_VALUES):
                raise ExportError(f"the input {value.name!r} is brightened in a way that this export does not know.")
        if reader.operators(name) != [NORMALISATION[0]]:
            raise ExportError(f"the input {value.name!r} is used before it is normalised, by {reader.operators(name)}.")
        name, values = reader.follow(name, NORMALISATION)
        if values != [float(ZERO_POINT), float(SCALE)]:
            raise ExportError(f"the input {value.name!r} is normalised with {values}, not as (v - 128) / 128.")
        found.append(CameraInput(value.name, name, brightened))
    return found


@dataclass(frozen=True, slots=True)
class _Stem:
    """A quantised stem: its convolution and the Q/DQ nodes around it. ``size``, ``channels``: edge and number of
    channels of the graph input ``name``. ``brightened``: see `CameraInput`."""

    name: str
    brightened: str
    size: int
    channels: int
    quantise: onnx.NodeProto
    conv: onnx.NodeProto
    weights: onnx.NodeProto
    bias: onnx.NodeProto
    requantise: onnx.NodeProto


def accept_bytes(graph: onnx.GraphProto) -> None:
    """Make the quantised stems of a Q/DQ graph read their uint8 input directly, with its columns folded into channels.

    The columns of the input are folded into channels. A stem kept in float is not changed. The nodes of the result are
    not sorted.

    Raises:
        ExportError: the graph is not an export of this network.
    """
    for camera in camera_inputs(graph):
        stem = _find_stem(graph, camera)
        if stem is None:
            continue
        read = _read_columns(graph, stem)
        _fold_convolution(graph, stem)
        write = _split_columns(graph, stem)
        _remove_normalisation(graph, stem.brightened or stem.name, stem.quantise)
        graph.node.extend([*read, *write])
    used = {name for node in graph.node for name in node.input}
    for tensor_proto in [t for t in graph.initializer if t.name not in used]:
        graph.initializer.remove(tensor_proto)
    produced = {name for node in graph.node for name in node.output}
    # Remove the recorded shapes of tensors that were removed or reshaped.
    for value in [v for v in graph.value_info if v.name not in produced or v.name.startswith("/streams")]:
        graph.value_info.remove(value)


def _find_stem(graph: onnx.GraphProto, camera: CameraInput) -> _Stem | None:
    producers = {output: node for node in graph.node for output in node.output}

    def consumer(of: str, operator: str) -> onnx.NodeProto | None:
        nodes = [node for node in graph.node if of in node.input]
        return nodes[0] if [node.op_type for node in nodes] == [operator] else None

    quantise = consumer(camera.normalised, "QuantizeLinear")
    if quantise is None:
        return None
    dequantise = consumer(quantise.output[0], "DequantizeLinear")
    conv = dequantise and consumer(dequantise.output[0], "Conv")
    requantise = conv and consumer(conv.output[0], "QuantizeLinear")
    if conv is None or requantise is None:
        raise ExportError(f"{quantise.name}: no stem between two quantised tensors; it cannot take the camera's bytes.")
    attributes = {a.name: list(a.ints) for a in conv.attribute if a.ints}
    expected = {"kernel_shape": [KERNEL] * 2, "strides": [STRIDE] * 2, "pads": [PADDING] * 4}
    if any(attributes.get(key) != value for key, value in expected.items()):
        raise ExportError(f"{conv.name}: not the stem of this network; it has {attributes}.")
    shape = next(v for v in graph.input if v.name == camera.name).type.tensor_type.shape.dim
    size, channels = shape[2].dim_value, shape[3].dim_value
    weights, bias = (producers[tensor_name] for tensor_name in conv.input[1:3])
    return _Stem(camera.name, camera.brightened, size, channels, quantise, conv, weights, bias, requantise)


def _constant(graph: onnx.GraphProto, name: str, value: NDArray[np.generic]) -> str:
    graph.initializer.append(numpy_helper.from_array(value, name))
    return name


def _read_columns(graph: onnx.GraphProto, stem: _Stem) -> list[onnx.NodeProto]:
    """Return the nodes between the graph input and the input of the stem.

    uint8 [N, S, S, C] → [N, 4·C, S, S/4], dequantised. Brightened images have one channel, so they may be NCHW instead.
    """
    name = source = stem.name
    before: list[onnx.NodeProto] = []
    if stem.brightened:
        source = f"{name}/brightened"
        # Rounds to bytes, and limits them to camera values.
        step = [
            _constant(graph, f"{name}/step", np.array(1, np.float32)),
            _constant(graph, f"{name}/zero", np.array(0, np.uint8)),
        ]
        before = [helper.make_node("QuantizeLinear", [stem.brightened, *step], [source], f"/{name}/QuantizeLinear")]
    shape = np.array([0, stem.size, stem.size // COLUMNS, COLUMNS * stem.channels], np.int64)
    parameters = [
        _constant(graph, f"{name}/scale", np.array(SCALE)),
        _constant(graph, f"{name}/zero_point", np.array(ZERO_POINT)),
    ]
    columns = [source, _constant(graph, f"{name}/columns_shape", shape)]
    stem.conv.input[0] = f"{name}/dequantised"
    return [
        *before,
        helper.make_node("Reshape", columns, [f"{name}/columns"], f"/{name}/Reshape"),
        helper.make_node("Transpose", [f"{name}/columns"], [f"{name}/nchw"], f"/{name}/Transpose", perm=[0, 3, 1, 2]),
        helper.make_node(
            "DequantizeLinear", [f"{name}/nchw", *parameters], [f"{name}/dequantised"], f"/{name}/DequantizeLinear"
        ),
    ]


def fold_weights(weights: NDArray[np.int8]) -> NDArray[np.int8]:
    """Convert weights [O, C, 7, 7] to folded weights [2·O, 4·C, 7, 3].

    The original weights are for stride 2 and padding 3, the folded ones for stride (2, 1) and padding by one folded
    column. Output column 2·g + p reads the input columns 4·g + 2·p − 3 to 4·g + 2·p + 3. They lie in the folded columns
    g − 1 to g + 1, so the weights of phase p start 1 + 2·p columns after the first column of these.
    """
    outputs, channels = weights.shape[:2]
    spread = np.zeros((PHASES, outputs, channels, KERNEL, 3 * COLUMNS), np.int8)
    for phase in range(PHASES):
        start = COLUMNS - PADDING + STRIDE * phase
        spread[phase, ..., start : start + KERNEL] = weights
    folded = spread.reshape(PHASES * outputs, channels, KERNEL, 3, COLUMNS).transpose(0, 4, 1, 2, 3)
    return folded.reshape(PHASES * outputs, COLUMNS * channels, KERNEL, 3)


def _fold_convolution(graph: onnx.GraphProto, stem: _Stem) -> None:
    """Fold the columns of the stem's weights, and repeat its bias, scales and zero points for each phase."""
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    weights = tensors[stem.weights.input[0]]
    weights.CopyFrom(numpy_helper.from_array(fold_weights(numpy_helper.to_array(weights)), weights.name))
    for name in (*stem.weights.input[1:], *stem.bias.input):
        value = numpy_helper.to_array(tensors[name])
        tensors[name].CopyFrom(numpy_helper.from_array(np.concatenate([value] * PHASES), name))
    folded = {"kernel_shape": [KERNEL, 3], "strides": [STRIDE, 1], "pads": [PADDING, 1, PADDING - 1, 1]}
    for attribute in stem.conv.attribute:
        if attribute.name in folded:
            attribute.ints[:] = folded[attribute.name]


def _split_columns(graph: onnx.GraphProto, stem: _Stem) -> list[onnx.NodeProto]:
    """Return the nodes after the stem: uint8 [N, 2·O, S/2, S/4] → [N, O, S/2, S/2]."""
    name, quantised = f"{stem.name}/stem", stem.requantise.output[0]
    tensor = next(t for t in graph.initializer if t.name == stem.weights.input[0])
    shape = np.array([0, stem.size // STRIDE, stem.size // STRIDE, tensor.dims[0] // PHASES], np.int64)
    for node in graph.node:
        for i, used in enumerate(node.input):
            if used == quantised:
                node.input[i] = f"{name}/quantised"
    split = [f"{name}/nhwc", _constant(graph, f"{name}/split_shape", shape)]
    return [
        helper.make_node("Transpose", [quantised], [split[0]], f"/{name}/ToNHWC", perm=[0, 2, 3, 1]),
        helper.make_node("Reshape", split, [f"{name}/split"], f"/{name}/Reshape"),
        helper.make_node("Transpose", [f"{name}/split"], [f"{name}/quantised"], f"/{name}/ToNCHW", perm=[0, 3, 1, 2]),
    ]


def _remove_normalisation(graph: onnx.GraphProto, name: str, last: onnx.NodeProto) -> None:
    """Remove the nodes from the tensor ``name`` to the quantiser ``last``, and the dequantiser after that."""
    producers = {output: node for node in graph.node for output in node.output}
    graph.node.remove(next(node for node in graph.node if last.output[0] in node.input))
    node = last
    while True:
        graph.node.remove(node)
        if node.input[0] == name:
            return
        node = producers[node.input[0]]
