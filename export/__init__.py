"""Checkpoint → ONNX → Q/DQ INT8 → parity → bundle."""

import runtime  # noqa: F401  # first of all: it switches ONNX Runtime's telemetry off, which must precede loading it
