"""Create the HTTP application: its components, and its routes, each with the components that it uses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

from fastapi import FastAPI

from runtime import __version__
from runtime.core.processors import usable_cores
from runtime.liveness.open import LoadedModel
from runtime.pairing.feed import PairFeed
from service.audit.trail import DecisionTrail
from service.auth.guard import Guard
from service.auth.middleware import AuthMiddleware
from service.config.settings import Settings
from service.config.trust import open_trail
from service.console.login import add_login_routes
from service.console.page import add_console_routes
from service.console.reference import add_reference_routes
from service.http import openapi
from service.http.head import HeadMiddleware
from service.http.middleware import BodyLimitMiddleware, RequestIdMiddleware
from service.http.responses import add_error_handlers
from service.liveness.active_model import ActiveModel, log_failure
from service.liveness.capture import RigPairSource
from service.liveness.document import describe
from service.liveness.pool import WorkerPool
from service.liveness.route import LivenessRoute, add_liveness_route
from service.monitoring.collection import add_metrics_routes, count_answers, watch_parts, with_start_metrics
from service.monitoring.events import EventHub, add_events_routes
from service.monitoring.health import Health
from service.monitoring.metrics import Metrics
from service.monitoring.rig_watch import RigWatch
from service.monitoring.status import add_status_routes, info_body
from service.monitoring.vitals import Vitals
from service.oip.route import OpenInference, add_oip_routes
from service.store.base import Store
from service.store.open import open_store

DESCRIPTION = (
    "Decides whether the face in a pair of RGB and infrared images belongs to a live person in front of the cameras. "
    "The shipped weights were trained on synthetic faces only. Use them to try, develop and test, not at a door."
)


@dataclass(frozen=True, slots=True)
class AppComponents:
    """Components of an application. ``hub``: hub for events, None without a rig. ``stopping``: called when the service
    begins to stop, before it waits for running requests."""

    store: Store
    guard: Guard
    model: ActiveModel
    pool: WorkerPool
    camera: RigPairSource
    trail: DecisionTrail
    vitals: Vitals
    metrics: Metrics
    hub: EventHub | None
    stopping: tuple[Callable[[], None], ...]


def create_app(
    settings: Settings,
    load: Callable[[], LoadedModel],
    on_failure: Callable[[BaseException], None] = log_failure,
    *,
    feed: PairFeed | None = None,
    hub: EventHub | None = None,
    health: Health | None = None,
    metrics: Metrics | None = None,
    trail: DecisionTrail | None = None,
) -> FastAPI:
    """Create the application. `components_of` returns its components.

    ``load``: opens the pipeline; called in a thread. ``on_failure``: called with the exception if that fails. ``feed``:
    an attached rig, which the caller starts and closes. The other arguments are for programs that embed the
    application; by default they are created here. ``hub``: distributes the events. ``health``: if given, the
    program reports the conditions of the cameras itself. ``trail``: signing and audit log; if given, the program closes
    it.

    Raises:
        ConfigError: a key, the store or the audit log cannot be used.
        AuditBroken: the file is not an audit log.
    """
    metrics = metrics or Metrics()
    model = ActiveModel(with_start_metrics(load, metrics))
    pool = WorkerPool(settings.worker_count, settings.limits.queue, settings.limits.judge_s, usable_cores())
    camera = RigPairSource(feed, settings.rig.geometry)
    hub, stop_events = _events(hub, model, feed, settings.expose_score)
    store = open_store(settings, observe=metrics.store_called)
    parts = AppComponents(
        store=store,
        guard=Guard(settings, metrics.refused, store=store),
        model=model,
        pool=pool,
        camera=camera,
        trail=trail or open_trail(settings.attestation, settings.audit),
        vitals=Vitals(
            health or Health(),
            model,
            pool,
            store.status,
            judge_s=settings.limits.judge_s,
            feed=feed,
            cameras=health is None,
        ),
        metrics=metrics,
        hub=hub,
        stopping=(camera.stop, *stop_events),
    )
    watch_parts(metrics, pool=pool, health=parts.vitals.health, feed=feed, trail=parts.trail, store=store)
    close_trail = parts.trail.close if trail is None else lambda: None
    lifespan = partial(_lifespan, parts=parts, on_failure=on_failure, close_trail=close_trail)
    app = FastAPI(
        title="adsn", version=__version__, description=DESCRIPTION, lifespan=lifespan, docs_url=None, redoc_url=None
    )
    app.state.parts = parts
    _add_routes(app, settings, parts)
    _add_middleware(app, settings, parts.guard)
    return app


def components_of(app: FastAPI) -> AppComponents:
    """Return the components of an application created by `create_app`."""
    parts: AppComponents = app.state.parts
    return parts


def _events(
    hub: EventHub | None, model: ActiveModel, feed: PairFeed | None, expose_score: bool
) -> tuple[EventHub | None, tuple[Callable[[], None], ...]]:
    """Return the event hub, or None without a rig, and the functions that stop the events.

    If the caller passes no hub, a `RigWatch` feeds the new one.
    """
    if hub is not None:
        return hub, (hub.close,)
    if feed is None:
        return None, ()
    hub = EventHub()
    watch = RigWatch(model, feed, hub, expose_score=expose_score)
    watch.start()
    return hub, (watch.close, hub.close)


@asynccontextmanager
async def _lifespan(
    app: FastAPI, parts: AppComponents, on_failure: Callable[[BaseException], None], close_trail: Callable[[], None]
) -> AsyncIterator[None]:
    parts.model.start(on_failure)
    watching = [asyncio.create_task(parts.vitals.watch()), asyncio.create_task(parts.store.watch())]
    yield
    for task in watching:
        task.cancel()
    # Close in a thread, because closing waits for running pairs, and these report to the event loop when they end.
    await asyncio.to_thread(parts.pool.close)
    parts.model.close()
    await parts.store.close()
    close_trail()


def _add_routes(app: FastAPI, settings: Settings, parts: AppComponents) -> None:
    guard, model, pool, vitals = parts.guard, parts.model, parts.pool, parts.vitals
    shown = settings.expose_score
    add_error_handlers(app)
    observe = count_answers(parts.metrics)
    route = LivenessRoute(settings, guard, model, pool, parts.camera, parts.trail, parts.store, observe=observe)
    add_liveness_route(app, route)
    add_status_routes(app, guard, vitals, partial(info_body, settings, model, vitals))
    add_console_routes(app, guard, model, pool, vitals.feed, expose_score=shown)
    add_events_routes(app, guard, parts.hub)
    add_metrics_routes(app, guard, parts.metrics)
    add_oip_routes(
        app,
        OpenInference(
            guard, model, pool, parts.metrics.scored, expose_score=shown, max_bytes=settings.limits.pair_bytes
        ),
    )
    add_login_routes(app, guard, settings.auth.session_s)
    add_reference_routes(app, keyed=guard.keyed)
    openapi.install(app, (describe,), keyed=guard.keyed)


def _add_middleware(app: FastAPI, settings: Settings, guard: Guard) -> None:
    # The middleware added last is the outermost.
    app.add_middleware(HeadMiddleware)
    app.add_middleware(BodyLimitMiddleware, limit=settings.limits.body_bytes)
    app.add_middleware(AuthMiddleware, guard=guard, hosts=settings.auth.hosts)
    app.add_middleware(RequestIdMiddleware)
