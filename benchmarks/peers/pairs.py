"""What both peers do with a pair: exactly what the service does, with the same code."""

from __future__ import annotations

from typing import Any

from runtime.core.values import Box, Pair
from runtime.imaging.decode import decode
from runtime.liveness.open import default_bundle, open_pipeline
from runtime.liveness.pair_pipeline import LivenessPipeline


def load() -> LivenessPipeline:
    """One thread for each pair, as the service has it."""
    return open_pipeline(default_bundle(), profile="throughput").pipeline


def assess(pipeline: LivenessPipeline, rgb: bytes, ir: bytes, meta: dict[str, Any]) -> dict[str, Any]:
    """Decode, find the face where ``meta`` names no box, score, decide."""
    pair = Pair(decode(rgb, "rgb", max_pixels=1 << 24), decode(ir, "ir", max_pixels=1 << 24))
    found = pipeline.assess(pair, {"rgb": Box(*meta["face_box"])} if "face_box" in meta else None)
    return {"decision": found.decision, "score": found.score, "reasons": list(found.reasons)}
