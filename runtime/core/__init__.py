"""Values, errors, reason codes and small helpers. Imports nothing else of this project."""

from typing import TYPE_CHECKING

from runtime.core.lazy import lazy_names

if TYPE_CHECKING:
    from runtime.core.check import Check
    from runtime.core.errors import AdsnError, BundleError, CaptureError, ConfigError, EngineError, InputError, NotReady
    from runtime.core.operating_point import OperatingPoint
    from runtime.core.reasons import REASONS, Reason
    from runtime.core.values import MODALITIES, Box, DepthMap, Frame, Image, Lit, Modality, Pair

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
    "Image",
    "InputError",
    "Lit",
    "Modality",
    "NotReady",
    "OperatingPoint",
    "Pair",
    "Reason",
]

__getattr__ = lazy_names(
    __name__,
    {
        "check": ("Check",),
        "errors": ("AdsnError", "BundleError", "CaptureError", "ConfigError", "EngineError", "InputError", "NotReady"),
        "operating_point": ("OperatingPoint",),
        "reasons": ("REASONS", "Reason"),
        "values": ("MODALITIES", "Box", "DepthMap", "Frame", "Image", "Lit", "Modality", "Pair"),
    },
)
