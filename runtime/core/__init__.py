"""Value types, errors, reason codes and small helpers. This package imports no other package of the project."""

from typing import TYPE_CHECKING

from runtime.core.lazy import attach

if TYPE_CHECKING:
    from runtime.core.check import Check
    from runtime.core.errors import AdsnError, BundleError, CaptureError, ConfigError, EngineError, InputError, NotReady
    from runtime.core.operating_point import OperatingPoint
    from runtime.core.reasons import REASONS, Reason
    from runtime.core.values import MODALITIES, Box, DepthMap, Frame, IlluminationState, Image, Modality, Pair

__all__ = [
    "MODALITIES",
    "REASONS",
    "AdsnError",
    "Box",
    "BundleError",
    "CaptureError",
    "Check",
    "ConfigError",
    "DepthMap",
    "EngineError",
    "Frame",
    "IlluminationState",
    "Image",
    "InputError",
    "Modality",
    "NotReady",
    "OperatingPoint",
    "Pair",
    "Reason",
]

__getattr__ = attach(
    __name__,
    {
        "AdsnError": "runtime.core.errors",
        "Box": "runtime.core.values",
        "BundleError": "runtime.core.errors",
        "CaptureError": "runtime.core.errors",
        "Check": "runtime.core.check",
        "ConfigError": "runtime.core.errors",
        "DepthMap": "runtime.core.values",
        "EngineError": "runtime.core.errors",
        "Frame": "runtime.core.values",
        "IlluminationState": "runtime.core.values",
        "Image": "runtime.core.values",
        "InputError": "runtime.core.errors",
        "MODALITIES": "runtime.core.values",
        "Modality": "runtime.core.values",
        "NotReady": "runtime.core.errors",
        "OperatingPoint": "runtime.core.operating_point",
        "Pair": "runtime.core.values",
        "REASONS": "runtime.core.reasons",
        "Reason": "runtime.core.reasons",
    },
)
