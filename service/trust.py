"""What an application owes to whoever must trust it: its answers are signed, written down and counted.

`equip` reads the settings once and hangs what they ask for into the application's `State`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from runtime.liveness.open import Loaded
from service.audit.attestation import Attester
from service.audit.log import AuditLog
from service.http.openapi import problems
from service.http.parsing import Context
from service.monitoring.metrics import CONTENT_TYPE, Metrics
from service.state import Judged, State


def timed(load: Callable[[], Loaded], metrics: Metrics) -> Callable[[], Loaded]:
    """``load``, telling ``metrics`` what it took and what came of it."""

    def run() -> Loaded:
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


def equip(state: State) -> Callable[[], None]:
    """Attestations, audit log and counters, as the settings say. Returns what closes them.

    Raises:
        ConfigError: a key or the log cannot be used. AuditBroken: what is there is no audit log.
    """
    settings = state.settings
    attester = settings.attestation.attester()
    log = settings.audit.open(attester.signer if attester is not None else None)
    witness(state, attester, log, settings.attestation.device)
    _count(state)
    return log.close if log is not None else lambda: None


def witness(state: State, attester: Attester | None, log: AuditLog | None, device: str) -> None:
    """Have answers signed by ``attester`` and written to ``log``, where there is one. ``device``: this machine's name
    there."""
    if attester is not None:

        def attest(answer: Mapping[str, Any], context: Context) -> str:
            return attester.attest(answer, context.nonce, int(time.time()))

        state.attest = attest
    if log is not None:

        def record(answer: Mapping[str, Any], caller: str) -> None:
            log.decision(answer, caller=caller, device=device)

        state.record = record
        state.metrics.watch("adsn_audit_seq", "Number of the audit log's last line.", lambda: log.link.seq)
        state.metrics.watch_counter("adsn_audit_failures", "Lines that could not be written.", lambda: log.failures)


def _count(state: State) -> None:
    metrics, settings = state.metrics, state.settings

    def judged(one: Judged) -> None:
        if one.answer is not None:
            metrics.answered(one.answer, one.seconds)
        elif one.status >= 400:
            metrics.failed(one.code, one.seconds)

    state.observers.append(judged)
    metrics.watch("adsn_queue_depth", "Pairs that are judged or wait.", lambda: state.pool.inside)
    limit = settings.worker_count + settings.limits.queue
    metrics.watch("adsn_queue_limit", "Pairs that may be judged or wait.", lambda: limit)
    metrics.watch("adsn_ready", "1: pairs can be judged.", lambda: float(state.health.ready))
    metrics.watch_conditions(lambda: state.health.conditions)
    if state.feed is not None:
        metrics.watch_feed(state.feed.status, time.monotonic_ns)


def mount(app: FastAPI, state: State) -> None:
    """Add ``/metrics``."""

    plain: dict[int | str, dict[str, Any]] = {
        200: {"description": "Prometheus' text format", "content": {"text/plain": {"schema": {"type": "string"}}}}
    }

    @app.get(
        "/metrics",
        summary="Counters for Prometheus",
        response_class=Response,
        responses={**plain, **problems(401, 403)},
    )
    async def metrics(request: Request) -> Response:
        state.authorize(request, "metrics")
        # In a thread: a rig's counters are behind its locks.
        return Response(await asyncio.to_thread(state.metrics.text), media_type=CONTENT_TYPE)
