"""Engines: what runs the network."""

from typing import TYPE_CHECKING

from runtime.core.lazy import lazy_names

if TYPE_CHECKING:
    from runtime.engines.base import Batch, Engine, EngineInfo, InputSpec, Scores

__all__ = [
    "Batch",
    "Engine",
    "EngineInfo",
    "InputSpec",
    "Scores",
]

__getattr__ = lazy_names(
    __name__,
    {
        "base": ("Batch", "Engine", "EngineInfo", "InputSpec", "Scores"),
    },
)
