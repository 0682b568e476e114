"""Quantisation cost of each layer alone, and the search for the fewest layers to keep in float."""

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
"""Largest number of layers to keep in float; a model that needs more is not suited to INT8."""


@dataclass(frozen=True, slots=True)
class LayerCost:
    """Cost of quantising only ``layer``. ``rms``: root mean square change of the score's logit over the sample."""

    layer: str
    rms: float


def layers(model: bytes) -> list[str]:
    """Return the convolutions that are quantised by default, in graph order."""
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
    """Return every layer's cost on ``inputs`` (graph input → [N, S, S, C]), the most expensive first.

    The Q/DQ placement is TensorRT's, and every Q/DQ is computed step by step. The cost therefore depends on the layer's
    weights and inputs, not on one CPU's kernels. ``tick`` is called once per layer.
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


def fewest_kept(order: Sequence[str], passes: Callable[[list[str]], bool], most: int = MOST_KEPT) -> list[str] | None:
    """Return the shortest prefix of ``order`` (most expensive layer first) that ``passes`` when kept in float, or None
    if even ``most`` layers do not pass.

    The search doubles and then bisects, so it calls ``passes`` about 2·log₂(``most``) times. It assumes that keeping
    more layers in float never makes the gate fail. If this does not hold, the result still passes, but a shorter one
    may exist.
    """
    low, high = -1, 0
    limit = min(most, len(order))
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
