"""Collect the metrics of an application, and serve them to Prometheus on ``/metrics``."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from runtime.liveness.open import LoadedModel
from runtime.pairing.feed import PairFeed
from service.audit.trail import DecisionTrail
from service.auth.guard import Guard
from service.http.openapi import problems
from service.liveness.pool import WorkerPool
from service.liveness.route import CompletedRequest, RequestObserver
from service.monitoring.health import Health
from service.monitoring.metrics import CONTENT_TYPE, Metrics
from service.store.base import Store


def with_start_metrics(load: Callable[[], LoadedModel], metrics: Metrics) -> Callable[[], LoadedModel]:
    """Return ``load`` wrapped so that ``metrics`` records its duration and the engine it returned."""

    def run() -> LoadedModel:
        began = time.monotonic()
        loaded = load()
        info = loaded.pipeline.engine.info
        labels = {
            "backend": info.backend,
            "precision": info.precision,
            "device": info.device,
            "runtime": " ".join(f"{name} {version}" for name, version in info.versions.items()),
            "model": loaded.manifest.name,
            "model_version": loaded.manifest.version,
            "model_sha256": loaded.model_sha256,
        }
        metrics.engine_started(labels, degraded=info.degraded, seconds=time.monotonic() - began)
        return loaded

    return run


def count_answers(metrics: Metrics) -> RequestObserver:
    """Return an observer that counts each request to ``POST /liveness``."""

    def count(one: CompletedRequest) -> None:
        if one.answer is not None:
            metrics.answered(one.answer, one.seconds)
        elif one.status >= 400:
            metrics.failed(one.code, one.seconds)

    return count


def watch_parts(
    metrics: Metrics,
    *,
    pool: WorkerPool,
    health: Health,
    feed: PairFeed | None,
    trail: DecisionTrail,
    store: Store,
) -> None:
    """Register the components of an application with ``metrics``, which reads them at each scrape."""
    if trail.log is not None:
        log = trail.log
        metrics.watch("adsn_audit_seq", "Sequence number of the audit log's last line.", lambda: log.link.seq)
        metrics.watch_counter("adsn_audit_failures", "Audit log lines that could not be written.", lambda: log.failures)
    metrics.watch("adsn_queue_depth", "Pairs running or queued.", lambda: pool.in_flight)
    metrics.watch("adsn_queue_limit", "Limit of pairs running or queued.", lambda: pool.capacity)
    metrics.watch("adsn_ready", "1 while pairs can be scored.", lambda: float(health.ready))
    if store.status().shared:
        metrics.watch_store(store.status)
    metrics.watch_conditions(lambda: health.conditions)
    if feed is not None:
        metrics.watch_feed(feed.status, time.monotonic_ns)


def add_metrics_routes(app: FastAPI, guard: Guard, metrics: Metrics) -> None:
    """Add the route ``/metrics``."""
    plain: dict[int | str, dict[str, Any]] = {
        200: {
            "description": "Metrics in Prometheus text format",
            "content": {"text/plain": {"schema": {"type": "string"}}},
        }
    }

    @app.get(
        "/metrics",
        name="metrics",
        summary="Metrics for Prometheus",
        response_class=Response,
        responses={**plain, **problems(401, 403)},
    )
    async def text(request: Request) -> Response:
        await guard.authorize(request, "metrics")
        # Use a thread, because reading the counters of a rig may wait for locks.
        return Response(await asyncio.to_thread(metrics.text), media_type=CONTENT_TYPE)
