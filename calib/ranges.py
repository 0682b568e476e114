"""Activation ranges: what each tensor of the float graph takes on real pairs. Measured once, kept as JSON.

Streams: memory does not grow with the number of samples.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class Ranges:
    """``tensors``: name → (lowest, highest) seen. ``data_sha256``: of the sample bytes in order."""

    method: str
    samples: int
    data: str
    data_sha256: str
    tensors: Mapping[str, tuple[float, float]]

    def to_json(self) -> bytes:
        """Reviewable, and the same bytes for the same ranges."""
        body = {
            "schema_version": SCHEMA_VERSION,
            "method": self.method,
            "samples": self.samples,
            "data": self.data,
            "data_sha256": self.data_sha256,
            "tensors": {name: list(self.tensors[name]) for name in sorted(self.tensors)},
        }
        return (json.dumps(body, indent=1) + "\n").encode()


def with_outputs(model: bytes, names: Sequence[str]) -> bytes:
    """``model`` with the tensors ``names`` as its only outputs, so that a session returns them."""
    import onnx

    graph = onnx.load_from_string(model)
    del graph.graph.output[:]
    graph.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    result: bytes = graph.SerializeToString()
    return result


def measure_ranges(
    model: bytes, names: Sequence[str], batches: Iterable[Mapping[str, NDArray[Any]]], data: str
) -> Ranges:
    """Lowest and highest value of each tensor in ``names`` over all ``batches`` (method ``minmax``).

    ``batches``: graph input name → array [N, S, S, C].

    Raises:
        ValueError: no samples, or a tensor took a value that is not finite.
    """
    from runtime.engines.onnx import import_onnxruntime

    ort = import_onnxruntime()
    options = ort.SessionOptions()
    # Fused away, a tensor could not be measured.
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(with_outputs(model, names), options, providers=["CPUExecutionProvider"])
    low, high = np.full(len(names), np.inf), np.full(len(names), -np.inf)
    samples, h = 0, hashlib.sha256()
    for batch in batches:
        for name in sorted(batch):
            h.update(np.ascontiguousarray(batch[name]).data)
        samples += len(next(iter(batch.values())))
        for i, values in enumerate(session.run(list(names), dict(batch))):
            low[i], high[i] = min(low[i], values.min()), max(high[i], values.max())
    if not samples:
        raise ValueError("no calibration samples: activation ranges cannot be measured.")
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        bad = [n for n, a, b in zip(names, low, high, strict=True) if not np.isfinite([a, b]).all()]
        raise ValueError(f"these tensors take values that are not finite: {bad[:5]}. The checkpoint is damaged.")
    tensors = {name: (float(a), float(b)) for name, a, b in zip(names, low, high, strict=True)}
    return Ranges("minmax", samples, data, h.hexdigest(), tensors)
