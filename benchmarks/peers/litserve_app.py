"""The pipeline in LitServe: ``python -m benchmarks.peers.litserve_app PORT WORKERS``."""

import json
import sys
from typing import Any

import litserve
from fastapi import Request

from benchmarks.peers.pairs import assess, load
from runtime.liveness.pair_pipeline import LivenessPipeline


class Liveness(litserve.LitAPI):  # type: ignore[misc]  # the package is not installed where types are checked
    """Worker process with its own pipeline."""

    pipeline: LivenessPipeline

    def setup(self, device: str) -> None:
        self.pipeline = load()

    def decode_request(self, request: Request) -> tuple[bytes, bytes, dict[str, Any]]:
        # This annotation makes LitServe pass the parsed form to the worker.
        form: Any = request
        return form["rgb"].file.read(), form["ir"].file.read(), json.loads(_text(form["meta"]))

    def predict(self, pair: tuple[bytes, bytes, dict[str, Any]]) -> dict[str, Any]:
        return assess(self.pipeline, *pair)

    def encode_response(self, found: dict[str, Any]) -> dict[str, Any]:
        return found


def _text(part: Any) -> str:
    """Return a part of a form as text, no matter whether it was sent as a field or as a file."""
    return part if isinstance(part, str) else part.file.read().decode()


if __name__ == "__main__":
    server = litserve.LitServer(Liveness(api_path="/liveness"), accelerator="cpu", workers_per_device=int(sys.argv[2]))
    server.run(host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False, log_level="warning")
