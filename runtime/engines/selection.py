"""Engine selection: open the requested engine or the best one that works, and record why others were rejected."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal, get_args

from runtime.core.errors import BundleMissing, ConfigError, EngineError, EngineUnavailable
from runtime.engines.base import Batch, Engine, EngineInfo, InputSpec, Scores
from runtime.engines.driver import find_gpus

Backend = Literal["tensorrt", "onnx-cuda", "onnx-cpu", "remote"]
BACKENDS: tuple[Backend, ...] = get_args(Backend)
"""All backends, fastest first. ``remote`` is opened only on request: with ``auto``, callers pass no opener for it."""
EngineOpeners = Mapping[Backend, Callable[[], Engine]]


@dataclass(frozen=True, slots=True)
class EngineCandidate:
    """Result of trying one backend. ``reason``: why it was rejected; empty only for the backend that runs."""

    backend: Backend
    accepted: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class SelectedEngine:
    """The opened `Engine` and all candidates that were tried."""

    engine: Engine
    info: EngineInfo
    candidates: tuple[EngineCandidate, ...]

    @property
    def inputs(self) -> tuple[InputSpec, ...]:
        return self.engine.inputs

    def infer(self, batch: Batch) -> Scores:
        return self.engine.infer(batch)

    def warm_up(self) -> None:
        self.engine.warm_up()

    def close(self) -> None:
        self.engine.close()


def has_gpu() -> bool:
    """Return whether the NVIDIA driver reports a GPU."""
    try:
        return bool(find_gpus())
    except EngineUnavailable:
        return False


def select_engine(
    openers: EngineOpeners, wanted: Backend | Literal["auto"] = "auto", *, required: bool = False
) -> SelectedEngine:
    """Open ``wanted`` or, if that fails, the next backend that works. ``auto`` opens the first that works.

    The engine is marked as ``degraded`` if it is not what was requested: a backend other than ``wanted`` or, for
    ``auto``, the CPU on a machine with a GPU. Backends without an opener are skipped. With ``required`` there is no
    fallback.

    Raises:
        BundleError: a file of the bundle does not match its manifest; there is no fallback for an altered bundle.
        EngineUnavailable: no backend works, or ``wanted`` is ``required`` and does not work. The message has the reason
            for each candidate.
    """
    order = BACKENDS if wanted == "auto" else (wanted, *(b for b in BACKENDS if b != wanted))
    candidates: list[EngineCandidate] = []
    for backend in order:
        if backend not in openers:
            continue
        try:
            engine = openers[backend]()
        except (BundleMissing, EngineError, ConfigError) as error:
            candidates.append(EngineCandidate(backend, False, error.message))
            if required and backend == wanted:
                raise EngineUnavailable(f"{wanted} is required and does not work: {error.message}") from error
            continue
        candidates.append(EngineCandidate(backend, True))
        degraded = backend != wanted if wanted != "auto" else backend == "onnx-cpu" and has_gpu()
        refused = "; ".join(f"not {c.backend}: {c.reason}" for c in candidates if not c.accepted)
        return SelectedEngine(engine, replace(engine.info, degraded=degraded, reason=refused), tuple(candidates))
    reasons = "\n  ".join(f"{c.backend}: {c.reason}" for c in candidates)
    raise EngineUnavailable(f"no engine works on this machine:\n  {reasons}")
