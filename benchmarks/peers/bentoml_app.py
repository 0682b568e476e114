"""The pipeline in BentoML: ``bentoml serve benchmarks.peers.bentoml_app:Liveness --port PORT``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import bentoml

from benchmarks.peers.pairs import assess, load


@bentoml.service(workers=int(os.environ.get("PEER_WORKERS", "2")), logging={"access": {"enabled": False}})
class Liveness:
    """Worker process with its own pipeline. BentoML passes uploads as files."""

    def __init__(self) -> None:
        self.pipeline = load()

    @bentoml.api(route="/liveness")  # type: ignore[untyped-decorator]  # not installed where types are checked
    def liveness(self, rgb: Path, ir: Path, meta: dict[str, Any]) -> dict[str, Any]:
        return assess(self.pipeline, rgb.read_bytes(), ir.read_bytes(), meta)
