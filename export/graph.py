"""Checkpoint → ONNX: opset 17, IR 8, static shapes but for the batch.

Opset 17 because TensorRT 8's parser ignores the axes *input* that Reduce operators have from opset 18 on and
reduces over every axis, the batch included, without a word.
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

OPSET = 17
IR_VERSION = 8
OUTPUTS = ["score", "stream_scores", "attention"]
FORBIDDEN_OPERATORS = frozenset({"Shape", "Expand", "Gather", "If", "Loop", "Resize", "ReduceL2"})
TORCH_TOLERANCE = 1e-4


def blank_inputs(network: ADSN, count: int) -> dict[str, torch.Tensor]:
    """Zero inputs of the right names, dtypes and shapes."""
    size = network.config.size
    return {
        name: torch.zeros(
            count, size, size, INPUT_CHANNELS[name], dtype=torch.float32 if name == "depth" else torch.uint8
        )
        for name in network.config.modalities
    }


def to_onnx(network: ADSN) -> bytes:
    """The float32 graph of a network in evaluation mode.

    Raises:
        ExportError: the exporter wrote something this project does not allow; names the operators.
    """
    network = network.eval()
    names = list(network.config.modalities)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        path = Path(folder) / "model.onnx"
        # The tracing exporter is announced as superseded. It is used because it honours opset 17 exactly;
        # its successor stays at 18 with no more than a log line.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            tuple(blank_inputs(network, 2).values()),
            path,
            input_names=names,
            output_names=OUTPUTS,
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
    """An ONNX Runtime session. ``literal``: run Q/DQ as written instead of fusing integer kernels."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    if literal:
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def require_half_precision(version: str = onnxruntime.__version__) -> None:
    """Raise unless this ONNX Runtime computes Q/DQ with half-precision scales as they are written.

    Up to 1.29 it does not: scores of the shipped ``int8-trt11`` artifact were up to 0.56 off (1.23.2, 1.24.4, 1.26.0,
    1.28.0 and 1.29.0), and equal to the last bit in 1.30.0 and 1.32.0. The gate would measure that instead of the
    artifact, and the golden scores would be ones that no engine reproduces.

    Raises:
        ExportError: it is older; says what to do.
    """
    if tuple(int(part) for part in version.split(".")[:2]) < (1, 30):
        raise ExportError(
            f"the artifact for TensorRT 11 cannot be measured with ONNX Runtime {version}, which rounds half-precision "
            "scales wrongly; nothing was written. Use Python 3.11 or later and pip install 'onnxruntime>=1.30', or "
            "leave out --target trt11."
        )


def check_against_torch(network: ADSN, model: bytes, inputs: dict[str, NDArray[Any]]) -> float:
    """Largest difference of any output between torch and ONNX Runtime on ``inputs``.

    Raises:
        ExportError: it exceeds `TORCH_TOLERANCE`.
    """
    with torch.no_grad():
        expected = [t.numpy() for t in network(*(torch.from_numpy(inputs[m]) for m in network.config.modalities))]
    got = session(model).run(OUTPUTS, inputs)
    worst = max(float(np.abs(a - b).max()) for a, b in zip(expected, got, strict=True))
    if not worst <= TORCH_TOLERANCE:
        raise ExportError(f"ONNX Runtime and torch differ by {worst:.2e} on the same input; nothing was written.")
    return worst
