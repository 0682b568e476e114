"""Measure the cost of quantising each layer alone, and search for the fewest layers to keep in float."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from calib.ranges import Ranges
from export.graph import session
from export.quantize import backbone_nodes
from export.tensorrt_graph import as_float_inputs, quantize_for_tensorrt

MOST_KEPT = 16
"""Maximum number of layers to keep in float. A model that needs more is not suited to INT8."""


@dataclass(frozen=True, slots=True)
class LayerCost:
    """Cost of quantising only ``layer``. ``rms``: root mean square, over the samples, of the change in the logit of the
    score."""

    layer: str
    rms: float


def layers(model: bytes) -> list[str]:
    """Return the names of the convolutions that are quantised by default, in graph order."""
    nodes = backbone_nodes(onnx.load_from_string(model))
    return [node.name for node in nodes if node.op_type == "Conv" and "/stem/" not in node.name]


def _logits(model: bytes, inputs: Mapping[str, NDArray[Any]]) -> NDArray[np.float64]:
    score = session(model, literal=True).run(["score"], dict(inputs))[0].astype(np.float64)
    score = np.clip(score, 1e-7, 1 - 1e-7)
    result: NDArray[np.float64] = np.log(score / (1 - score))
    return result


def sensitivity(
    model: bytes, ranges: Ranges, inputs: Mapping[str, NDArray[Any]], tick: Callable[[int], None] = lambda n: None
) -> list[LayerCost]:
    """Return the cost of each layer on ``inputs`` (graph input → [N, S, S, C]), the most expensive first.

    Q/DQ nodes are placed as for TensorRT, and every Q/DQ is computed step by step. The cost therefore depends on the
    weights and inputs of the layer, not on the kernels of a CPU. ``tick``: called after each layer.
    """
    names = layers(model)
    additions = [n.name for n in backbone_nodes(onnx.load_from_string(model)) if n.op_type == "Add"]
    floats = as_float_inputs(inputs)
    before = _logits(model, inputs)
    costs = []
    for name in names:
        others = [other for other in names if other != name]
        quantised = quantize_for_tensorrt(model, ranges, others + additions)
        change = _logits(quantised, floats) - before
        costs.append(LayerCost(name, float(np.sqrt(np.mean(np.square(change))))))
        tick(1)
    return sorted(costs, key=lambda cost: -cost.rms)


def fewest_kept(order: Sequence[str], passes: Callable[[list[str]], bool]) -> list[str] | None:
    """Return the shortest prefix of ``order`` for which ``passes`` is true.

    Returns None if ``passes`` is false even for `MOST_KEPT` layers. ``order``: layers, most expensive first.
    ``passes``: whether the gate passes with the given layers in float. The search doubles the number of layers and then
    bisects, so it calls ``passes`` about 2·log₂(`MOST_KEPT`) times. It assumes that keeping more layers in float never
    makes the gate fail. If that is wrong, the result still passes, but there may be a shorter one.
    """
    low, high = -1, 0
    limit = min(MOST_KEPT, len(order))
    while not passes(list(order[:high])):
        if high >= limit:
            return None
        low, high = high, min(max(1, 2 * high), limit)
    while high - low > 1:
        middle = (low + high) // 2
        if passes(list(order[:middle])):
            high = middle
        else:
            low = middle
    return list(order[:high])
