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
class SelectedEngine:
    """The opened `Engine`. Its ``info`` says whether it is degraded and why other backends were rejected."""

    engine: Engine
    info: EngineInfo

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
            for each backend.
    """
    order = BACKENDS if wanted == "auto" else (wanted, *(b for b in BACKENDS if b != wanted))
    rejected: dict[Backend, str] = {}
    for backend in order:
        if backend not in openers:
            continue
        try:
            engine = openers[backend]()
        except (BundleMissing, EngineError, ConfigError) as error:
            rejected[backend] = error.message
            if required and backend == wanted:
                raise EngineUnavailable(f"{wanted} is required and does not work: {error.message}") from error
            continue
        degraded = backend != wanted if wanted != "auto" else backend == "onnx-cpu" and has_gpu()
        reason = "; ".join(f"not {other}: {why}" for other, why in rejected.items())
        return SelectedEngine(engine, replace(engine.info, degraded=degraded, reason=reason))
    reasons = "\n  ".join(f"{backend}: {why}" for backend, why in rejected.items())
    raise EngineUnavailable(f"no engine works on this machine:\n  {reasons}")
