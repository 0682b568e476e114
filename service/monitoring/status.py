"""``/livez``, ``/readyz`` and ``/info``: how the service is, and what it is."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response

from runtime import __version__
from runtime.face.open import detector_info
from service.http.openapi import problems
from service.http.problem_document import CameraView
from service.http.problems import RequestError
from service.http.responses import json_response
from service.liveness.contract import CONTRACT_VERSION
from service.monitoring.vitals import feed_view, refresh
from service.state import State


class Alive(BaseModel):
    """The process answers."""

    status: str = Field(examples=["alive"])


class ConditionView(BaseModel):
    """One thing that is wrong."""

    name: str = Field(examples=["camera_lost"])
    subject: str = Field(examples=["ir"])
    severity: str = Field(description="`critical`: nothing can be judged.", examples=["warning"])
    since: str
    detail: str


class FeedView(BaseModel):
    """The attached rig."""

    cameras: list[CameraView]
    last_pair_age_ms: float | None = Field(description="Null before the first.")
    pairs_per_s: float
    skew_ms: float | None
    advice: str = Field(description="Why no pairs are formed; empty when they are.")


class Ready(BaseModel):
    """Pairs can be judged."""

    status: str = Field(examples=["ready"])
    conditions: list[ConditionView] = Field(description="What someone should look at nevertheless.")
    rig: FeedView | None = Field(description="Null without cameras.")


class InfoModel(BaseModel):
    """The model that judges."""

    name: str
    version: str
    sha256: str
    modalities: list[str] = Field(description="The two pictures that it takes.", examples=[["rgb", "ir"]])


class InfoEngine(BaseModel):
    """What runs the model."""

    backend: str
    precision: str
    device: str
    threads: int
    versions: dict[str, str]
    degraded: bool
    reason: str = Field(description="Why it is not what was asked for.")


class InfoDetector(BaseModel):
    """What finds the face."""

    kind: str = Field(examples=["yunet"])
    sha256: str | None = Field(description="Of its model file; null without one.")
    degraded: bool = Field(description="Less than what was configured is running.")
    reason: str = Field(description="Why it is not what was asked for.")


class Info(BaseModel):
    """What is running."""

    contract_version: str
    version: str
    model: InfoModel
    summary: str
    engine: InfoEngine
    detector: InfoDetector
    capabilities: list[str] = Field(
        description="What this service does beyond uploads.", examples=[["camera", "explain"]]
    )
    limits: dict[str, float] = Field(description="What is accepted; see the settings' section of that name.")
    rig: FeedView | None


def mount(app: FastAPI, state: State) -> None:
    """Add the three."""

    @app.get("/livez", summary="Whether the process answers", response_model=Alive, tags=["status"])
    async def livez() -> Response:
        """200 for as long as the process serves; a supervisor restarts it otherwise."""
        return json_response({"status": "alive"})

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
        refresh(state, cameras=False)
        conditions = [condition.view() for condition in state.health.conditions]
        rig = feed_view(state)
        if not state.health.ready:
            worst = state.health.conditions[0].detail
            raise RequestError(503, "not_ready", worst, conditions=conditions, rig=rig)
        return json_response({"status": "ready", "conditions": conditions, "rig": rig})

    @app.get(
        "/info", summary="What is running", response_model=Info, responses=problems(401, 403, 503), tags=["status"]
    )
    async def info(request: Request) -> Response:
        """Model, engine, limits and cameras."""
        state.authorize(request, "score")
        loaded = state.model.require()
        running = loaded.pipeline.engine.info
        detector = detector_info(loaded.pipeline.locator)
        settings = state.settings
        capabilities = {"camera": state.feed is not None, "explain": settings.expose_score}
        limits: dict[str, Any] = settings.limits.model_dump(
            include={"body_bytes", "part_bytes", "pixels", "pair_bytes", "max_age_ms"}
        )
        return json_response({
            "contract_version": CONTRACT_VERSION,
            "version": __version__,
            "model": {
                "name": loaded.manifest.name,
                "version": loaded.manifest.version,
                "sha256": loaded.model_sha256,
                "modalities": list(loaded.manifest.modalities),
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
            "detector": asdict(detector),
            "capabilities": [name for name, on in capabilities.items() if on],
            "limits": limits,
            "rig": feed_view(state),
        })  # fmt: skip
