"""Face detectors with one convolution per output and known results, and images for them."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from runtime.core.values import Image
from runtime.face.scrfd import STRIDES

MARKS = np.array([[-1.5, 0], [1.5, 0], [0, 1.6], [-1.2, 3.2], [1.2, 3.2]], np.float32)
"""Landmarks relative to the anchor of a cell, in units of the stride."""


def spot(x: int, y: int, size: tuple[int, int] = (256, 320), edge: int = 32, channels: int = 3) -> Image:
    """Return a black image with one white cell."""
    image = np.zeros((*size, channels), np.uint8)
    image[y : y + edge, x : x + edge] = 255
    return image


def tiny_model(
    heads: dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]], shape: list[Any], repeat: int
) -> bytes:
    """Return a model in which each output is a convolution: weights for the mean brightness of a cell, and a bias.

    ``heads``: name, which ends in an underscore and the stride → weights [C] and bias [C]. ``repeat``: number of
    anchors per cell.
    """
    nodes, weights, outputs = [], [], []
    for name, (gain, bias) in heads.items():
        stride = int(name.rsplit("_", 1)[1])
        width = len(gain) // repeat
        kernel = np.ones((len(gain), 3, stride, stride), np.float32) / (3 * stride * stride) * gain[:, None, None, None]
        weights += [numpy_helper.from_array(kernel, f"{name}.w"), numpy_helper.from_array(bias, f"{name}.b")]
        weights.append(numpy_helper.from_array(np.array([1, -1, width], np.int64), f"{name}.s"))
        nodes += [
            helper.make_node("Conv", ["input", f"{name}.w", f"{name}.b"], [f"{name}.c"], strides=[stride] * 2),
            helper.make_node("Transpose", [f"{name}.c"], [f"{name}.t"], perm=[0, 2, 3, 1]),
            helper.make_node("Reshape", [f"{name}.t", f"{name}.s"], [name]),
        ]
        outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, None, width]))
    graph = helper.make_graph(
        nodes, "tiny", [helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)], outputs, weights
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 12)], ir_version=7)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def constant(values: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    return np.zeros(values.size, np.float32), values.reshape(-1).astype(np.float32)


def yunet() -> bytes:
    """Return a model for which white cells of the coarsest stride are faces. Its input is 0 to 255, as OpenCV passes
    it."""
    heads: dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]] = {}
    for kind in ("cls", "obj", "bbox", "kps"):
        for stride in (8, 16, 32):
            if kind in ("cls", "obj"):
                gain = 1 / 255 if stride == 32 else 0.0
                heads[f"{kind}_{stride}"] = (np.array([gain], np.float32), np.zeros(1, np.float32))
            elif kind == "bbox":
                heads[f"{kind}_{stride}"] = constant(np.array([0.5, 0.5, 1.0, 1.0], np.float32))
            else:
                heads[f"{kind}_{stride}"] = constant(MARKS)
    return tiny_model(heads, [1, 3, "h", "w"], 1)


def scrfd(edge: int = 320, outputs: int = 9) -> bytes:
    """Return a model for which the first anchor of a white cell of stride 16 is a face. Its input is −1 to 1."""
    heads: dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]] = {}
    for kind in ("score", "bbox", "kps")[: outputs // 3]:
        for stride in STRIDES:
            if kind == "score":
                gain = 0.5 if stride == 16 else 0.0
                heads[f"{kind}_{stride}"] = (np.array([gain, 0], np.float32), np.array([gain * 0.9, 0], np.float32))
            elif kind == "bbox":
                heads[f"{kind}_{stride}"] = constant(np.full(8, 2.0, np.float32))
            else:
                heads[f"{kind}_{stride}"] = constant(np.stack([MARKS, MARKS]))
    return tiny_model(heads, [1, 3, edge, edge], 2)
