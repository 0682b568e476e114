"""Create the int8-cpu artifact from the float graph and activation ranges.

It has explicit Q/DQ, uint8 activations and 7-bit int8 weights. Weights have 7 bits because x86 CPUs without VNNI add
two uint8×int8 products in 16 bits with saturation, so that with 8-bit weights the scores are silently wrong. On such a
CPU the largest score change was 0.66 with 8 bits and 0.03 with 7 bits.

Only the backbones are quantised, and the convolutions before the comparison of the streams. Attention maps, gates, the
attention product and the heads stay in float: they are less than 1 % of the arithmetic, and a quantised gate or head
changes every score. `export.tail` merges them into fewer nodes. The stems read the camera's bytes directly; see
`export.stem`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationMethod, QuantType
from onnxruntime.quantization.calibrate import TensorsData
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

from calib.ranges import Ranges
from export.errors import ExportError
from export.stem import CAMERA_RANGE, accept_bytes, camera_inputs
from export.tail import merge_streams

BACKBONE = re.compile(r"^/(streams\.\d+|layer4|matching/outline\.\d+)/")
OPERATORS = ("Conv", "Add", "Relu", "MaxPool")


def backbone_nodes(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """Return the nodes of the backbones, which run in INT8.

    Raises:
        ExportError: the node names are not those of an export of this network.
    """
    nodes = [n for n in model.graph.node if n.op_type in OPERATORS and BACKBONE.match(n.name)]
    if sum(n.op_type == "Conv" for n in nodes) < 20:
        raise ExportError("the graph has no recognisable backbones; export it from a checkpoint of this project.")
    return nodes


def tensors_to_measure(model: bytes) -> list[str]:
    """Return the names of the activations whose ranges are needed for quantisation, in graph order."""
    proto = onnx.load_from_string(model)
    weights = {tensor.name for tensor in proto.graph.initializer}
    names = (name for node in backbone_nodes(proto) for name in (*node.input, *node.output))
    return list(dict.fromkeys(name for name in names if name and name not in weights))


def kept_nodes(model: onnx.ModelProto, keep_float: Iterable[str]) -> list[str]:
    """Return the names of the backbone nodes to keep in float. ``keep_float``: name prefixes, such as
    ``/streams.0/stem``.

    Raises:
        ExportError: a prefix matches no backbone node.
    """
    nodes = [node.name for node in backbone_nodes(model)]
    prefixes = tuple(keep_float)
    unknown = [prefix for prefix in prefixes if not any(name.startswith(prefix) for name in nodes)]
    if unknown:
        raise ExportError(f"no such nodes to keep in float: {unknown}. Known ones begin with: {nodes[:3]}")
    return [name for name in nodes if name.startswith(prefixes)] if prefixes else []


def quantize_for_cpu(
    model: bytes,
    ranges: Ranges,
    keep_float: Iterable[str] = (),
    *,
    seven_bits: bool = True,
    byte_stems: bool = True,
    merged_tail: bool = True,
) -> bytes:
    """Return the int8-cpu artifact of a float graph.

    ``keep_float``: name prefixes of nodes to keep in float, such as ``/streams.0/stem``. ``seven_bits``: False for
    8-bit weights, which no bundle may contain; tests use them to check that they are detected. ``byte_stems``: False to
    normalise the inputs in float first, as in bundles of earlier versions, with the same scores but slower.
    ``merged_tail``: False to keep the nodes after the backbones as exported, with the same scores but slower.

    Raises:
        ExportError: a range is missing, or an entry of ``keep_float`` matches no backbone node.
    """
    proto = onnx.load_from_string(model)
    nodes = [node.name for node in backbone_nodes(proto)]
    keep = kept_nodes(proto, keep_float)
    missing = [name for name in tensors_to_measure(model) if name not in ranges.tensors]
    if missing:
        raise ExportError(
            f"the ranges lack {len(missing)} tensors, {missing[0]!r} first; they belong to another graph."
        )
    # The quantiser needs shape inference to know which tensors are float activations.
    proto = onnx.shape_inference.infer_shapes(proto)
    # The range of camera inputs is fixed, even if the samples used only a part of it. With this range, the camera's
    # bytes are already the quantised tensor.
    spans = {**ranges.tensors, **{camera.normalised: CAMERA_RANGE for camera in camera_inputs(proto.graph)}}
    table = {n: (np.float32(a), np.float32(b)) for n, (a, b) in spans.items()}
    quantiser = QDQQuantizer(
        proto,
        per_channel=True,
        reduce_range=seven_bits,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QUInt8,
        tensors_range=TensorsData(CalibrationMethod.MinMax, table),
        nodes_to_quantize=[name for name in nodes if name not in keep],
        nodes_to_exclude=keep,
        op_types_to_quantize=list(OPERATORS),
        extra_options={},
    )
    quantiser.quantize_model()
    if merged_tail:
        merge_streams(quantiser.model.model.graph)
    if byte_stems:
        accept_bytes(quantiser.model.model.graph)
    quantiser.model.topological_sort()
    result: onnx.ModelProto = quantiser.model.model
    result.producer_name, result.producer_version = "adsn", ""
    onnx.checker.check_model(result, full_check=True)
    data: bytes = result.SerializeToString(deterministic=True)
    return data
