"""TensorRT: build, cache and run engines."""

from typing import TYPE_CHECKING

from runtime.core.lazy import attach

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

__getattr__ = attach(
    __name__,
    {
        "BuildSettings": "runtime.engines.tensorrt.versions",
        "EngineCache": "runtime.engines.tensorrt.cache",
        "EngineKey": "runtime.engines.tensorrt.cache",
        "TensorRTEngine": "runtime.engines.tensorrt.engine",
        "open_tensorrt": "runtime.engines.tensorrt.open",
    },
)
