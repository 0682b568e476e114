"""Face liveness for RGB-IR, RGB-depth and IR-depth camera rigs.

The Python API is `load_pipeline` and the `Pipeline` that it returns::

    import adsn

    pipeline = adsn.load_pipeline()
    result = pipeline.assess("rgb.jpg", "ir.png")
    if result.is_live:
        ...

Importing the package loads nothing else: OpenCV, ONNX Runtime and the model are loaded with a pipeline.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from adsn.pipeline import ColourOrderWarning, Pipeline, Result, load_pipeline
    from runtime import __version__
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

_HOMES = {
    "AdsnError": "runtime.core.errors",
    "Box": "runtime.core.values",
    "Check": "runtime.core.check",
    "ColourOrderWarning": "adsn.pipeline",
    "InputError": "runtime.core.errors",
    "NoFace": "runtime.core.errors",
    "Pipeline": "adsn.pipeline",
    "Result": "adsn.pipeline",
    "__version__": "runtime",
    "load_pipeline": "adsn.pipeline",
}


def __getattr__(name: str) -> object:
    # `runtime.core.lazy` is not used, because importing this package must work even if a different ``runtime`` is on
    # the path.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(_HOMES[name]), name)
    except ModuleNotFoundError as error:
        raise _explained(error) from error


def _explained(error: ModuleNotFoundError) -> ImportError:
    """Return the error, or one that says that a different package called ``runtime`` hides ours."""
    if not (error.name or "").startswith("runtime."):
        return error
    import runtime

    where = runtime.__file__ or ", ".join(runtime.__path__)
    return ImportError(
        f"adsn needs its own package 'runtime', but {where} is found first. Rename that one, or install adsn in a "
        "separate environment and use it over HTTP."
    )


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
