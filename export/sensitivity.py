"""What each layer costs when it alone runs in 8 bits, and the search for the fewest layers to leave in float."""

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
"""More layers in float than this, and 8 bits are not the way."""


@dataclass(frozen=True, slots=True)
class LayerCost:
    """``rms``: root mean square of the change of the score's logit over the sample when only ``layer`` is quantised."""

    layer: str
    rms: float


def layers(model: bytes) -> list[str]:
    """The convolutions that are quantised by default, in graph order."""
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
    """Every layer's cost on ``inputs`` (graph input → [N, S, S, C]), dearest first.

    Measured with Q/DQ as TensorRT's placement has them, computed literally: a property of the layer's weights and of
    the values that reach it, not of one processor's kernels. ``tick`` is called once a layer.
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
    """The shortest beginning of ``order`` (dearest layer first) that ``passes`` when left in float; None where even
    ``most`` do not.

    Doubles, then halves: the gate is asked about 2·log₂(``most``) times. It takes for granted that leaving more in
    float does not make the gate fail; where it does, the answer still passes, but a shorter one may exist.
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
