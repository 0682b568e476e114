"""Complete the shipped bundle with the files that are not in the repository: the float model and the artifacts for
TensorRT, rebuilt from its checkpoint and ranges."""

from __future__ import annotations

import json
from pathlib import Path

from adsn.network.checkpoint import load_checkpoint
from calib.ranges import read_ranges
from export.build import literal_scorer, quantised
from export.graph import to_onnx
from export.write import write_bundle
from runtime.bundle.manifest import Bundle, open_bundle
from runtime.engines.golden import GoldenVectors, read_golden
from runtime.liveness.open import default_bundle


def complete_bundle(folder: Path) -> Bundle:
    """Write the complete bundle to ``folder``, which must not exist. The bundle is loaded and verified."""
    source = default_bundle()
    shipped = open_bundle(source)
    network, _ = load_checkpoint(source / "checkpoint.safetensors")
    fp32 = to_onnx(network)
    assert shipped.manifest.calibration is not None
    kept = shipped.manifest.calibration.kept_in_float
    models = quantised(fp32, read_ranges(shipped.read("ranges")), ("int8-cpu", "int8-trt", "int8-trt11"), kept)
    golden = read_golden(shipped.read("golden"))
    scores = dict(golden.scores)
    for name in ("int8-trt", "int8-trt11"):
        scores[name] = literal_scorer(models[name], float_inputs=True)(golden.inputs)
    files = {
        "checkpoint.safetensors": (source / "checkpoint.safetensors").read_bytes(),
        "model.onnx": fp32,
        **{f"model.{name}.onnx": model for name, model in models.items()},
        "ranges.json": shipped.read("ranges"),
        "golden.npz": GoldenVectors(golden.inputs, scores).to_bytes(),
    }
    manifest = json.loads((source / "manifest.json").read_bytes())
    write_bundle(folder, files, {**manifest, "files": []})
    return open_bundle(folder)
