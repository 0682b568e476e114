"""Convert a checkpoint to ONNX: opset 17, IR version 8, static shapes except for the batch.

Opset 17 is used because from opset 18 on, Reduce operators take their axes as an *input*. The parser of TensorRT 8
ignores this input and silently reduces over all axes, including the batch.
"""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import onnxslim
import torch
from numpy.typing import NDArray

from adsn.network.model import ADSN, INPUT_CHANNELS
from export.errors import ExportError
from runtime.engines.base import OUTPUTS

OPSET = 17
IR_VERSION = 8
FORBIDDEN_OPERATORS = frozenset({"Shape", "Expand", "Gather", "If", "Loop", "Resize", "ReduceL2"})
TORCH_TOLERANCE = 1e-4


def blank_inputs(network: ADSN, count: int) -> dict[str, torch.Tensor]:
    """Return inputs of zeros with the names, dtypes and shapes that the network expects."""
    size = network.config.size
    return {
        name: torch.zeros(
            count, size, size, INPUT_CHANNELS[name], dtype=torch.float32 if name == "depth" else torch.uint8
        )
        for name in network.config.modalities
    }


def to_onnx(network: ADSN) -> bytes:
    """Return the float32 graph of a network in evaluation mode.

    Raises:
        ExportError: the exporter wrote operators that this project does not allow. The message names them.
    """
    network = network.eval()
    names = list(network.config.modalities)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        path = Path(folder) / "model.onnx"
        # The tracing exporter is deprecated, but it supports opset 17. Its successor writes opset 18 instead and only
        # logs that.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            tuple(blank_inputs(network, 2).values()),
            path,
            input_names=names,
            output_names=list(OUTPUTS),
            dynamic_axes={name: {0: "N"} for name in [*names, *OUTPUTS]},
            opset_version=OPSET,
            dynamo=False,
        )
        model = onnxslim.slim(onnx.load(path))
    model.ir_version = IR_VERSION
    model.producer_name, model.producer_version, model.doc_string = "adsn", "", ""
    onnx.checker.check_model(model, full_check=True)
    found = sorted({node.op_type for node in model.graph.node} & FORBIDDEN_OPERATORS)
    opset = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    if found or opset != OPSET:
        raise ExportError(f"the exporter wrote opset {opset} with the operators {found}; they are not allowed here.")
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def session(model: bytes, *, literal: bool = False, threads: int = 0) -> Any:
    """Return an ONNX Runtime session. ``literal``: whether to compute Q/DQ step by step instead of fusing it into
    integer kernels."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    if literal:
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def require_half_precision(version: str = onnxruntime.__version__) -> None:
    """Check that ONNX Runtime computes Q/DQ with float16 scales exactly.

    Versions up to 1.29 do not: with 1.23.2, 1.24.4, 1.26.0, 1.28.0 and 1.29.0, scores of the shipped ``int8-trt11``
    artifact were off by up to 0.56. With 1.30.0 and 1.32.0 they were correct to the last bit. With an older version the
    parity gate would measure this error instead of the artifact, and no engine would reproduce the golden scores.

    Raises:
        ExportError: the version is too old. The message gives the remedy.
    """
    if tuple(int(part) for part in version.split(".")[:2]) < (1, 30):
        raise ExportError(
            f"the artifact for TensorRT 11 cannot be measured with ONNX Runtime {version}, which rounds half-precision "
            "scales wrongly; nothing was written. Use Python 3.11 or later and pip install 'onnxruntime>=1.30', or "
            "leave out --target trt11."
        )


def check_against_torch(network: ADSN, model: bytes, inputs: dict[str, NDArray[Any]]) -> float:
    """Return the largest difference of any output between PyTorch and ONNX Runtime on ``inputs``.

    Raises:
        ExportError: the difference exceeds `TORCH_TOLERANCE`.
    """
    with torch.no_grad():
        expected = [t.numpy() for t in network(*(torch.from_numpy(inputs[m]) for m in network.config.modalities))]
    got = session(model).run(OUTPUTS, inputs)
    worst = max(float(np.abs(a - b).max()) for a, b in zip(expected, got, strict=True))
    if not worst <= TORCH_TOLERANCE:
        raise ExportError(f"ONNX Runtime and torch differ by {worst:.2e} on the same input; nothing was written.")
    return worst
