"""Export a checkpoint to a bundle: conversion to ONNX, quantisation to INT8 with Q/DQ, parity check, and writing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.core.lazy import attach

if TYPE_CHECKING:
    from export.build import ExportOptions, ExportResult, ExportSource, build
    from export.errors import ExportError, ParityError
    from export.graph import to_onnx
    from export.parity import ParityLimits
    from export.samples import ProgressStep
    from export.triton import write_repository
    from export.write import write_bundle

__all__ = [
    "ExportError",
    "ExportOptions",
    "ExportResult",
    "ExportSource",
    "ParityError",
    "ParityLimits",
    "ProgressStep",
    "build",
    "to_onnx",
    "write_bundle",
    "write_repository",
]

__getattr__ = attach(
    __name__,
    {
        "ExportError": "export.errors",
        "ExportOptions": "export.build",
        "ExportResult": "export.build",
        "ParityError": "export.errors",
        "ParityLimits": "export.parity",
        "ProgressStep": "export.samples",
        "ExportSource": "export.build",
        "build": "export.build",
        "to_onnx": "export.graph",
        "write_bundle": "export.write",
        "write_repository": "export.triton",
    },
)
