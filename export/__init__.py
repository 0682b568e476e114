"""Checkpoint → ONNX → Q/DQ INT8 → parity → bundle."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.core.lazy import lazy_names

if TYPE_CHECKING:
    from export.build import Built, Options, Source, Step, build
    from export.errors import ExportError, ParityError
    from export.graph import to_onnx
    from export.parity import ParityLimits
    from export.triton import write_repository
    from export.write import write_bundle

__all__ = [
    "Built",
    "ExportError",
    "Options",
    "ParityError",
    "ParityLimits",
    "Source",
    "Step",
    "build",
    "to_onnx",
    "write_bundle",
    "write_repository",
]

__getattr__ = lazy_names(
    __name__,
    {
        "build": (
            "Built",
            "Options",
            "Source",
            "Step",
            "build",
        ),
        "errors": (
            "ExportError",
            "ParityError",
        ),
        "graph": ("to_onnx",),
        "parity": ("ParityLimits",),
        "triton": ("write_repository",),
        "write": ("write_bundle",),
    },
)
