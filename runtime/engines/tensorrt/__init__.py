"""TensorRT: building, caching and running an engine."""

from typing import TYPE_CHECKING

from runtime.core.lazy import lazy_names

if TYPE_CHECKING:
    from runtime.engines.tensorrt.cache import EngineCache, EngineKey
    from runtime.engines.tensorrt.engine import TensorRTEngine
    from runtime.engines.tensorrt.open import open_tensorrt
    from runtime.engines.tensorrt.versions import BuildSettings

__all__ = [
    "BuildSettings",
    "EngineCache",
    "EngineKey",
    "TensorRTEngine",
    "open_tensorrt",
]

__getattr__ = lazy_names(
    __name__,
    {
        "versions": ("BuildSettings",),
        "cache": ("EngineCache", "EngineKey"),
        "engine": ("TensorRTEngine",),
        "open": ("open_tensorrt",),
    },
)
