"""Engines that run the network."""

from typing import TYPE_CHECKING

from runtime.core.lazy import attach

if TYPE_CHECKING:
    from runtime.engines.base import Batch, Engine, EngineInfo, InputSpec, Scores

__all__ = [
    "Batch",
    "Engine",
    "EngineInfo",
    "InputSpec",
    "Scores",
]

__getattr__ = attach(
    __name__,
    {
        "Batch": "runtime.engines.base",
        "Engine": "runtime.engines.base",
        "EngineInfo": "runtime.engines.base",
        "InputSpec": "runtime.engines.base",
        "Scores": "runtime.engines.base",
    },
)
