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
    """Pairs can be judged."""

    status: Annotated[str, Field(examples=["ready"])]
    conditions: Annotated[list[ConditionView], Field(description="What someone should look at nevertheless.")]
    rig: Annotated[FeedView | None, Field(description="Null without cameras.")]


class InfoApcer(TypedDict):
    """How often an attack species got through when the model was measured."""

    species: Annotated[str, Field(examples=["mask_paper"])]
    errors: Annotated[int, Field(description="Presentations taken for bona fide.")]
    trials: Annotated[int, Field(description="All presentations of the species.")]
    data: Annotated[str, Field(description="The data set.")]


class InfoModel(TypedDict):
    """The model that judges."""

    name: str
    version: str
    sha256: str
    modalities: Annotated[list[str], Field(description="The two pictures that it takes.", examples=[["rgb", "ir"]])]
    apcer_over_limit: Annotated[
        list[InfoApcer],
        Field(
            description=f"Attack species with a measured APCER above {APCER_LIMIT:.0%}, worst first. Not empty: do not "
            "let this model open anything."
        ),
    ]


class InfoEngine(TypedDict):
    """What runs the model."""

    backend: str
    precision: str
    device: str
    threads: int
    versions: dict[str, str]
    degraded: bool
    reason: Annotated[str, Field(description="Why it is not what was asked for.")]


class InfoDetector(TypedDict):
    """What finds the face."""

    kind: Annotated[str, Field(examples=["yunet"])]
    sha256: Annotated[str | None, Field(description="Of its model file; null without one.")]
    degraded: Annotated[bool, Field(description="Less than what was configured is running.")]
    reason: Annotated[str, Field(description="Why it is not what was asked for.")]


class Info(TypedDict):
    """What is running."""

    contract_version: str
    version: str
    model: InfoModel
    summary: str
    engine: InfoEngine
    detector: InfoDetector
    capabilities: Annotated[
        list[str], Field(description="What this service does beyond uploads.", examples=[["camera", "explain"]])
    ]
    limits: Annotated[dict[str, float], Field(description="What is accepted; see the settings' section of that name.")]
    rig: FeedView | None


def add_status_routes(app: FastAPI, guard: Guard, vitals: Vitals, about: Callable[[], Info]) -> None:
    """Add the routes ``/livez``, ``/readyz`` and ``/info``. ``about``: the body of ``/info``, from `info_body`."""

    @app.get("/livez", summary="Whether the process answers", response_model=Alive, tags=["status"])
    async def livez() -> Response:
        """200 for as long as the process serves; a supervisor restarts it otherwise."""
        alive: Alive = {"status": "alive"}
        return json_response(alive)

    @app.get(
        "/readyz",
        summary="Whether pairs can be judged",
        response_model=Ready,
        responses=problems(503),
        tags=["status"],
    )
    async def readyz() -> Response:
        """200 once the engine has reproduced the model's golden vectors and while nothing critical is wrong; else 503
        with what is, as `conditions`."""
        vitals.refresh()
        found = vitals.health.conditions
        conditions, rig = [condition.view() for condition in found], vitals.feed_view()
        if found and found[0].severity == "critical":
            raise RequestError(503, "not_ready", found[0].detail, conditions=conditions, rig=rig)
        ready: Ready = {"status": "ready", "conditions": conditions, "rig": rig}
        return json_response(ready)

    @app.get(
        "/info", summary="What is running", response_model=Info, responses=problems(401, 403, 503), tags=["status"]
    )
    async def info(request: Request) -> Response:
        """Model, engine, limits and cameras."""
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
