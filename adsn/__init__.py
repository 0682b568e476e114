"""Face liveness for RGB-IR, RGB-depth and IR-depth camera rigs.

The Python API is `load_pipeline` and what it returns::

    import adsn

    pipeline = adsn.load_pipeline()
    result = pipeline.assess("rgb.jpg", "ir.png")
    if result.is_live:
        ...

Importing the package loads nothing else: OpenCV, ONNX Runtime and the model load when a pipeline does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime import __version__
from runtime.core.lazy import attach

if TYPE_CHECKING:
    from adsn.pipeline import ColourOrderWarning, Pipeline, Result, load_pipeline
    from runtime.core.check import Check
    from runtime.core.errors import AdsnError, InputError, NoFace
    from runtime.core.values import Box

__all__ = [
    "AdsnError",
    "Box",
    "Check",
    "ColourOrderWarning",
    "InputError",
    "NoFace",
    "Pipeline",
    "Result",
    "__version__",
    "load_pipeline",
]

__getattr__ = attach(
    __name__,
    {
        "AdsnError": "runtime.core.errors",
        "Box": "runtime.core.values",
        "Check": "runtime.core.check",
        "ColourOrderWarning": "adsn.pipeline",
        "InputError": "runtime.core.errors",
        "NoFace": "runtime.core.errors",
        "Pipeline": "adsn.pipeline",
        "Result": "adsn.pipeline",
        "load_pipeline": "adsn.pipeline",
    },
)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
