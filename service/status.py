"""``/livez``, ``/readyz`` and ``/info``: how the service is, and what it is."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from runtime import __version__
from service.contract import CONTRACT_VERSION
from service.openapi import problems
from service.respond import json_response
from service.state import State


def mount(app: FastAPI, state: State) -> None:
    """Add the three."""

    @app.get("/livez", summary="Whether the process answers")
    async def livez() -> Response:
        return json_response({"status": "alive"})

    @app.get("/readyz", summary="Whether pairs can be judged", responses=problems(503))
    async def readyz() -> Response:
        """200 once the engine has reproduced the model's golden vectors; 503 before that and when it never could."""
        state.model.require()
        return json_response({"status": "ready"})

    @app.get("/info", summary="What is running", responses=problems(401, 503))
    async def info(request: Request) -> Response:
        state.authorize(request, "score")
        loaded = state.model.require()
        running = loaded.pipeline.engine.info
        return json_response({
            "contract_version": CONTRACT_VERSION,
            "version": __version__,
            "model": {"name": loaded.manifest.name, "version": loaded.manifest.version, "sha256": loaded.model_sha256},
            "summary": loaded.manifest.summary,
            "engine": {
                "backend": running.backend,
                "precision": running.precision,
                "device": running.device,
                "threads": running.threads,
                "versions": dict(running.versions),
                "degraded": running.degraded,
            },
        })  # fmt: skip
