"""Golden vectors: inputs and their expected scores, recorded when the model was exported.

Every engine must reproduce them before it serves. They detect errors that digests cannot: a CPU whose 8-bit arithmetic
saturates, or a driver or library version that computes different scores.
"""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.core.errors import GoldenMismatch, ManifestInvalid
from runtime.engines.base import Engine, Precision

TOLERANCE = {"fp32": 1e-3, "int8": 0.01, "int8-trt": 0.05, "int8-trt11": 0.05}
"""Recorded precision → largest accepted difference. FP32 scores vary with the order of additions. The ``int8`` model
adds integers, so all CPUs agree: its scores were bit-identical with and without VNNI. (With 8-bit weights, which
saturate without VNNI, they differed by 0.2.) TensorRT may run layers that are not INT8 in FP16 or TF32, and decides
which layers to fuse. On an H200 with TensorRT 8.5.3.1 the largest difference from the recorded ``int8-trt`` scores,
fused or single-stream, was 0.0185."""


@dataclass(frozen=True, slots=True)
class GoldenVectors:
    """Test inputs and their expected scores.

    ``inputs``: name → array [K, S, S, C]. ``scores``: recorded precision → float32 [K, 3], the fused score followed
    by each stream's score.
    """

    inputs: dict[str, NDArray[Any]]
    scores: dict[str, NDArray[np.float32]]

    def to_bytes(self) -> bytes:
        """Return an ``.npz`` archive of plain arrays."""
        buffer = io.BytesIO()
        arrays: dict[str, NDArray[Any]] = {f"input.{k}": v for k, v in self.inputs.items()}
        arrays |= {f"scores.{k}": v for k, v in self.scores.items()}
        np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]  # the type stub mistakes the names for a flag
        return buffer.getvalue()


def read_golden(data: bytes) -> GoldenVectors:
    """Parse an ``.npz`` archive. Object arrays are refused, because reading them would run pickle.

    Raises:
        ManifestInvalid: the data is not such an archive, or lacks inputs or scores.
    """
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (ValueError, OSError, zipfile.BadZipFile) as error:
        raise ManifestInvalid(f"the golden vectors cannot be read: {error}") from error
    inputs = {k[6:]: v for k, v in arrays.items() if k.startswith("input.")}
    scores = {k[7:]: v for k, v in arrays.items() if k.startswith("scores.")}
    if not inputs or not scores:
        raise ManifestInvalid("the golden vectors contain no inputs or no scores.")
    return GoldenVectors(inputs, scores)


def check_golden(engine: Engine, golden: GoldenVectors, recorded: str = "") -> float:
    """Run the golden inputs one by one and as a batch, and return the largest difference.

    ``recorded``: the recorded scores to compare with, e.g. ``int8-trt``; by default those of the engine's precision.

    Raises:
        GoldenMismatch: a score differs by more than the tolerance of the recorded scores.
    """
    precision: Precision = engine.info.precision
    recorded = recorded or precision
    if recorded not in golden.scores:
        raise GoldenMismatch(f"the bundle has no expected scores for {recorded}; export it again.")
    expected = golden.scores[recorded]
    batches = [golden.inputs] + [{k: v[i : i + 1] for k, v in golden.inputs.items()} for i in range(len(expected))]
    wanted = [expected] + [expected[i : i + 1] for i in range(len(expected))]
    worst = 0.0
    for batch, want in zip(batches, wanted, strict=True):
        scores = engine.infer(batch)
        got = np.concatenate([scores.score[:, None], scores.stream_scores], 1)
        worst = max(worst, float(np.abs(got - want).max()))
    if worst > TOLERANCE[recorded]:
        raise GoldenMismatch(
            f"this machine does not reproduce the model's recorded scores: {engine.info.backend} {precision} "
            f"differs by {worst:.3f}; the tolerance is {TOLERANCE[recorded]:g}. The engine is not used. "
            "On a CPU without 8-bit dot products, use the int8-cpu artifact, which has 7-bit weights; "
            "otherwise try precision fp32."
        )
    return worst
