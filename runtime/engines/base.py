"""The `Engine` protocol, its inputs and results, and the checks of both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from runtime.core.errors import InferenceFailed, InvalidBatch

Batch = Mapping[str, NDArray[Any]]
"""Input name → array [N, S, S, C]: uint8 for RGB and IR, float32 in millimetres for depth."""

Precision = Literal["fp32", "int8"]
ThreadProfile = Literal["latency", "throughput"]
"""``latency``: one worker that uses all cores. ``throughput``: one single-threaded worker per core."""


OUTPUTS = ("score", "stream_scores", "attention")
"""Names of the graph's outputs, in the order of the fields of `Scores`."""


@dataclass(frozen=True, slots=True)
class Scores:
    """Network output for N pairs.

    ``score`` float32 [N]: probability of bona fide, 0 to 1. ``stream_scores`` float32 [N, 2]: the same for each
    modality alone. ``attention`` float32 [N, 2, M, h, w]: attention maps of the local branch, non-negative.
    """

    score: NDArray[np.float32]
    stream_scores: NDArray[np.float32]
    attention: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class InputSpec:
    """One input of the graph: its name, dtype and per-sample shape [S, S, C]."""

    name: str
    dtype: str
    shape: tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """Description of an engine for responses, metrics and logs. ``degraded``: whether it is not the configured
    engine."""

    backend: str
    precision: Precision
    device: str
    versions: Mapping[str, str]
    threads: int
    degraded: bool = False
    reason: str = ""


class Engine(Protocol):
    """Engine that runs the network. Thread-safe; `close` may be called more than once."""

    @property
    def info(self) -> EngineInfo: ...

    @property
    def inputs(self) -> tuple[InputSpec, ...]: ...

    def infer(self, batch: Batch) -> Scores:
        """Score a batch.

        Raises:
            InvalidBatch: names, dtypes or shapes do not match `inputs`.
            InferenceFailed: the run failed, or its result is not a score.
        """
        ...

    def warm_up(self) -> None:
        """Run once on blank input, so that the first real batch is not slow."""
        ...

    def close(self) -> None: ...


def check_batch(batch: Batch, inputs: tuple[InputSpec, ...]) -> int:
    """Return the batch size N if ``batch`` matches ``inputs``.

    Raises:
        InvalidBatch: ``batch`` does not match. The message names the first difference.
    """
    names = [spec.name for spec in inputs]
    if sorted(batch) != sorted(names):
        raise InvalidBatch(f"the model takes the inputs {names}, but the batch has {sorted(batch)}.")
    count = -1
    for spec in inputs:
        array = batch[spec.name]
        if array.dtype != np.dtype(spec.dtype):
            raise InvalidBatch(f"input {spec.name!r} must be {spec.dtype}, not {array.dtype}.")
        if array.ndim != 4 or tuple(array.shape[1:]) != spec.shape or array.shape[0] < 1:
            raise InvalidBatch(f"input {spec.name!r} must have shape [N, {', '.join(map(str, spec.shape))}] "
                               f"with N at least 1, not {list(array.shape)}.")  # fmt: skip
        if count not in (-1, array.shape[0]):
            raise InvalidBatch(f"input {spec.name!r} has {array.shape[0]} samples, but the previous input has {count}.")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise InvalidBatch(f"input {spec.name!r} contains NaN or infinity. Write missing depth as 0.")
        count = array.shape[0]
    return count


def check_scores(scores: Scores, count: int) -> Scores:
    """Return ``scores`` unchanged if they are valid.

    Raises:
        InferenceFailed: a shape is wrong, or a value is NaN or outside 0 to 1. Such a result must never be compared
            with the threshold, because every comparison with NaN is false.
    """
    if scores.score.shape != (count,) or scores.stream_scores.shape != (count, 2):
        raise InferenceFailed(
            f"the engine returned shapes {scores.score.shape} and {scores.stream_scores.shape} for {count} pairs."
        )
    for values in (scores.score, scores.stream_scores):
        if not ((values >= 0) & (values <= 1)).all():
            raise InferenceFailed(
                "the engine returned a value that is not a probability; no decision can be based on it."
            )
    return scores
