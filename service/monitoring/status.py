"""``/livez``, ``/readyz`` and ``/info``: status and description of the service."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from fastapi import FastAPI
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response
from typing_extensions import TypedDict

from runtime import __version__
from runtime.bundle.measured import APCER_LIMIT, apcer_over_limit
from runtime.face.open import detector_info
from service.auth.guard import Guard
from service.config.settings import Settings
from service.http.openapi import problems
from service.http.problems import RequestError
from service.http.responses import json_response
from service.liveness.active_model import ActiveModel
from service.liveness.contract import CONTRACT_VERSION
from service.monitoring.health import ConditionView
from service.monitoring.vitals import FeedView, Vitals


class Alive(TypedDict):
    """The process answers."""

    status: Annotated[str, Field(examples=["alive"])]


class Ready(TypedDict):
    """Pairs can be scored."""

    status: Annotated[str, Field(examples=["ready"])]
    conditions: Annotated[list[ConditionView], Field(description="Warnings that need attention.")]
    rig: Annotated[FeedView | None, Field(description="Null without cameras.")]


class InfoApcer(TypedDict):
    """Measured errors of the model for one attack species."""

    species: Annotated[str, Field(examples=["mask_paper"])]
    errors: Annotated[int, Field(description="Attack presentations accepted as bona fide.")]
    trials: Annotated[int, Field(description="Attack presentations of the species.")]
    data: Annotated[str, Field(description="Name of the data set.")]


class InfoModel(TypedDict):
    """The loaded model."""

    name: str
    version: str
    sha256: str
    modalities: Annotated[list[str], Field(description="The two images that it takes.", examples=[["rgb", "ir"]])]
    apcer_over_limit: Annotated[
        list[InfoApcer],
        Field(
            description=f"Attack species with a measured APCER above {APCER_LIMIT:.0%}, worst first. If there are any, "
            "do not let this model open anything."
        ),
    ]


class InfoEngine(TypedDict):
    """The engine that runs the model."""

    backend: str
    precision: str
    device: str
    threads: int
    versions: dict[str, str]
    degraded: bool
    reason: Annotated[str, Field(description="Why a fallback is running; empty otherwise.")]


class InfoDetector(TypedDict):
    """The face detector."""

    kind: Annotated[str, Field(examples=["yunet"])]
    sha256: Annotated[str | None, Field(description="SHA-256 of its model file; null without one.")]
    degraded: Annotated[bool, Field(description="Whether a fallback runs instead of the configured detector.")]
    reason: Annotated[str, Field(description="Why a fallback is running; empty otherwise.")]


class Info(TypedDict):
    """Description of the running service."""

    contract_version: str
    version: str
    model: InfoModel
    summary: str
    engine: InfoEngine
    detector: InfoDetector
    capabilities: Annotated[
        list[str], Field(description="Optional features that are available.", examples=[["camera", "explain"]])
    ]
    limits: Annotated[
        dict[str, float], Field(description="Limits on requests; see the section [limits] of the settings.")
    ]
    rig: FeedView | None


def add_status_routes(app: FastAPI, guard: Guard, vitals: Vitals, about: Callable[[], Info]) -> None:
    """Add the routes ``/livez``, ``/readyz`` and ``/info``. ``about``: returns the body of ``/info``; see
    `info_body`."""

    @app.get("/livez", summary="Liveness of the process", response_model=Alive, tags=["status"])
    async def livez() -> Response:
        """Returns 200 while the process answers. A supervisor should restart it otherwise."""
        alive: Alive = {"status": "alive"}
        return json_response(alive)

    @app.get(
        "/readyz",
        summary="Readiness to score pairs",
        response_model=Ready,
        responses=problems(503),
        tags=["status"],
    )
    async def readyz() -> Response:
        """Returns 200 once the engine has reproduced the model's golden vectors, as long as no condition is critical.
        Otherwise returns 503 with the current `conditions`."""
        vitals.refresh()
        found = vitals.health.conditions
        conditions, rig = [condition.view() for condition in found], vitals.feed_view()
        if found and found[0].severity == "critical":
            raise RequestError(503, "not_ready", found[0].detail, conditions=conditions, rig=rig)
        ready: Ready = {"status": "ready", "conditions": conditions, "rig": rig}
        return json_response(ready)

    @app.get(
        "/info",
        summary="Description of the running service",
        response_model=Info,
        responses=problems(401, 403, 503),
        tags=["status"],
    )
    async def info(request: Request) -> Response:
        """Returns the model, engine, limits and cameras. Needs the role `score`."""
        await guard.authorize(request, "score")
        return json_response(about())


def info_body(settings: Settings, model: ActiveModel, vitals: Vitals) -> Info:
    """Return the body of ``/info``.

    Raises:
        NotReady: no model is loaded.
    """
    loaded = model.require()
    running = loaded.pipeline.engine.info
    detector = detector_info(loaded.pipeline.detector)
    capabilities = {"camera": vitals.feed is not None, "explain": settings.expose_score}
    return {
        "contract_version": CONTRACT_VERSION,
        "version": __version__,
        "model": {
            "name": loaded.manifest.name,
            "version": loaded.manifest.version,
            "sha256": loaded.model_sha256,
            "modalities": list(loaded.manifest.modalities),
            "apcer_over_limit": [
                {"species": found.species, "errors": found.errors, "trials": found.trials, "data": found.data}
                for found in apcer_over_limit(loaded.manifest, running.precision)
            ],
        },
        "summary": loaded.manifest.summary,
        "engine": {
            "backend": running.backend,
            "precision": running.precision,
            "device": running.device,
            "threads": running.threads,
            "versions": dict(running.versions),
            "degraded": running.degraded,
            "reason": running.reason,
        },
        "detector": {
            "kind": detector.kind,
            "sha256": detector.sha256,
            "degraded": detector.degraded,
            "reason": detector.reason,
        },
        "capabilities": [name for name, on in capabilities.items() if on],
        "limits": settings.limits.model_dump(
            include={"body_bytes", "part_bytes", "pixels", "pair_bytes", "max_age_ms"}
        ),
        "rig": vitals.feed_view(),
    }
