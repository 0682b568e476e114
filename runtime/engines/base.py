"""What an engine is, and what it owes its callers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from runtime.core.errors import InferenceFailed, InvalidBatch

Batch = Mapping[str, NDArray[Any]]
"""Input name → array [N, S, S, C]: uint8 colour or infrared, float32 millimetres of depth."""

Precision = Literal["fp32", "int8"]
ThreadProfile = Literal["latency", "throughput"]
"""``latency``: one worker on all cores. ``throughput``: one thread each, a worker per core. Never both."""


@dataclass(frozen=True, slots=True)
class Scores:
    """What the network says of N pairs.

    ``score`` float32 [N]: probability of bona fide, 0 to 1. ``stream_scores`` float32 [N, 2]: the same from
    each modality alone. ``attention`` float32 [N, 2, M, h, w]: where the local branch looked, non-negative.
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
    """What runs the network, for responses, metrics and logs. ``degraded``: less than what was configured."""

    backend: str
    precision: Precision
    device: str
    versions: Mapping[str, str]
    threads: int
    degraded: bool = False
    reason: str = ""


class Engine(Protocol):
    """Runs the network. Safe to call from several threads; `close` may be called twice."""

    @property
    def info(self) -> EngineInfo: ...

    @property
    def inputs(self) -> tuple[InputSpec, ...]: ...

    def infer(self, batch: Batch) -> Scores:
        """Score a batch.

        Raises:
            InvalidBatch: names, dtypes or shapes differ from `inputs`.
            InferenceFailed: the run failed, or produced something that is no score.
        """
        ...

    def warm_up(self) -> None:
        """Run once on blank input so that the first real call is not the slow one."""
        ...

    def close(self) -> None: ...


def check_batch(batch: Batch, inputs: tuple[InputSpec, ...]) -> int:
    """Return N if ``batch`` is exactly what ``inputs`` describe.

    Raises:
        InvalidBatch: naming the first thing that differs.
    """
    names = [spec.name for spec in inputs]
    if sorted(batch) != sorted(names):
        raise InvalidBatch(f"the model takes the inputs {names}, the batch has {sorted(batch)}.")
    count = -1
    for spec in inputs:
        array = batch[spec.name]
        if array.dtype != np.dtype(spec.dtype):
            raise InvalidBatch(f"input {spec.name!r} must be {spec.dtype}, not {array.dtype}.")
        if array.ndim != 4 or tuple(array.shape[1:]) != spec.shape or array.shape[0] < 1:
            raise InvalidBatch(f"input {spec.name!r} must have shape [N, {', '.join(map(str, spec.shape))}] "
                               f"with N of 1 or more, not {list(array.shape)}.")  # fmt: skip
        if count not in (-1, array.shape[0]):
            raise InvalidBatch(f"input {spec.name!r} has {array.shape[0]} samples, the one before it {count}.")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise InvalidBatch(f"input {spec.name!r} holds values that are not finite; missing depth is 0.")
        count = array.shape[0]
    return count


def check_scores(scores: Scores, count: int) -> Scores:
    """Return ``scores`` unchanged if they are scores.

    Raises:
        InferenceFailed: a shape is wrong, or a value is NaN or outside 0 to 1. Such a result must end a
            request with an error; it may not reach a threshold, where NaN compares as anything.
    """
    if scores.score.shape != (count,) or scores.stream_scores.shape != (count, 2):
        raise InferenceFailed(
            f"the engine returned shapes {scores.score.shape} and {scores.stream_scores.shape} for {count} pairs."
        )
    for values in (scores.score, scores.stream_scores):
        if not ((values >= 0) & (values <= 1)).all():
            raise InferenceFailed(
                "the engine returned a value that is no probability; no decision can be made from it."
            )
    return scores
