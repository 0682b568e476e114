"""8-bit weights on a CPU without 8-bit dot products: sums saturate silently, and the golden vectors detect it.

QEMU (user mode) emulates such a CPU if the real one has these instructions.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from adsn.network.checkpoint import load_checkpoint
from calib.ranges import read_ranges
from export.build import literal_scorer
from export.graph import to_onnx
from export.quantize import quantize_for_cpu
from runtime.bundle.manifest import open_bundle
from runtime.engines.golden import GoldenVectors, read_golden
from runtime.liveness.open import default_bundle

EMULATOR = "qemu-x86_64"
CHECK = """
import sys
from runtime.engines.onnx import OnnxCpuEngine
from runtime.core.errors import GoldenMismatch
from runtime.engines.golden import check_golden, read_golden
model, golden = (open(path, "rb").read() for path in sys.argv[1:3])
try:
    check_golden(OnnxCpuEngine(model, "int8", profile="throughput"), read_golden(golden))
except GoldenMismatch as error:
    print("refused:", error)
else:
    print("accepted")
"""


def without_dot_products() -> list[str]:
    """Return the command prefix that runs a program on an x86 CPU without VNNI."""
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    if "avx2" in flags and "vnni" not in flags:
        return []
    found = shutil.which(EMULATOR)
    if found is None:
        pytest.skip(f"this processor does not clip, and {EMULATOR} (Debian: qemu-user) is not there to emulate one")
    return [found, "-cpu", "Haswell"]


def verdict(model: bytes, golden: GoldenVectors, folder: Path) -> str:
    (folder / "m.onnx").write_bytes(model)
    (folder / "g.npz").write_bytes(golden.to_bytes())
    command = [*without_dot_products(), sys.executable, "-c", CHECK, str(folder / "m.onnx"), str(folder / "g.npz")]
    # NumPy's libraries must not use instructions that are not emulated.
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OPENBLAS_CORETYPE": "Haswell"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, env=environment, check=True)
    return done.stdout.strip()


def test_the_shipped_model_is_the_same_without_dot_products(tmp_path: Path) -> None:
    bundle = open_bundle(default_bundle())
    assert verdict(bundle.read("model-int8-cpu"), read_golden(bundle.read("golden")), tmp_path) == "accepted"


def test_eight_bit_weights_are_caught_by_the_golden_vectors(tmp_path: Path) -> None:
    bundle = open_bundle(default_bundle())
    network, _ = load_checkpoint(default_bundle() / "checkpoint.safetensors")
    model = quantize_for_cpu(to_onnx(network), read_ranges(bundle.read("ranges")), seven_bits=False)
    inputs = read_golden(bundle.read("golden")).inputs
    # Expected scores with every Q/DQ computed step by step: only saturation can differ from them.
    literal = literal_scorer(model, float_inputs=False)(inputs)
    found = verdict(model, GoldenVectors(inputs, {"int8": literal}), tmp_path)
    assert found.startswith("refused"), found
