"""Access to the contents of ONNX graphs and their ranges."""

from __future__ import annotations

import json
from typing import Any

import onnx

from calib.ranges import Ranges
from export.build import ExportResult


def initialisers(data: bytes) -> dict[str, Any]:
    return {t.name: onnx.numpy_helper.to_array(t) for t in onnx.load_from_string(data).graph.initializer}


def ranges_of(built: ExportResult) -> Ranges:
    stored = json.loads(built.files["ranges.json"])["tensors"]
    return Ranges("minmax", 1, "x", "0", {name: tuple(entry["range"]) for name, entry in stored.items()})
