"""Process a pair in both peers with exactly the code of the service."""

from __future__ import annotations

from typing import Any

from runtime.core.values import Box, Pair
from runtime.imaging.decode import decode
from runtime.liveness.open import default_bundle, open_pipeline
from runtime.liveness.pair_pipeline import LivenessPipeline


def load() -> LivenessPipeline:
    """Load the pipeline with one thread per pair, as in the service."""
    return open_pipeline(default_bundle(), profile="throughput").pipeline


def assess(pipeline: LivenessPipeline, rgb: bytes, ir: bytes, meta: dict[str, Any]) -> dict[str, Any]:
    """Decode the images, detect the face if ``meta`` has no box, score and decide."""
    pair = Pair(decode(rgb, "rgb", max_pixels=1 << 24), decode(ir, "ir", max_pixels=1 << 24))
    found = pipeline.assess(pair, {"rgb": Box(*meta["face_box"])} if "face_box" in meta else None)
    return {"decision": found.decision, "score": found.score, "reasons": list(found.reasons)}
