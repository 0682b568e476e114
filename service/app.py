"""The HTTP application, put together from the modules in `service.routes`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from fastapi import FastAPI

from runtime import __version__
from runtime.core.processors import usable_cores
from runtime.liveness.open import Loaded
from runtime.pairing.feed import PairFeed
from service.auth.guard import Guard
from service.auth.middleware import GateMiddleware
from service.config.settings import Settings
from service.http import openapi
from service.http.head import HeadMiddleware
from service.http.middleware import BodyLimitMiddleware, RequestIdMiddleware
from service.http.rate_limit import Rates
from service.http.responses import add_error_handlers
from service.liveness.active_model import ActiveModel
from service.liveness.pool import Pool
from service.monitoring.health import Health
from service.monitoring.metrics import Metrics
from service.monitoring.vitals import watch
from service.routes import MOUNTS
from service.state import Hub, State
from service.trust import equip, timed

DESCRIPTION = (
    "Judges whether the face in a pair of RGB and infrared images belongs to a person who is there. "
    "The shipped weights have seen synthetic faces only: to look, develop and test with, not to guard a door."
)


def create_app(
    settings: Settings,
    load: Callable[[], Loaded],
    on_failure: Callable[[], None] = lambda: None,
    *,
    feed: PairFeed | None = None,
    hub: Hub | None = None,
    health: Health | None = None,
    metrics: Metrics | None = None,
) -> FastAPI:
    """The application.

    ``load`` makes the pipeline, in a thread; ``on_failure`` is called when it raises. ``feed``: an attached rig,
    started and closed by whoever made it. ``hub``: where events go. ``health``: what is wrong, by which it
    is ready or not; the caller raises its own conditions in it. ``metrics``: what the caller counts into too.
    ``app.state.shared`` is the `State` that all routes share.
    """
    limits = settings.limits
    metrics = metrics or Metrics()
    state = State(
        settings=settings,
        model=ActiveModel(timed(load, metrics)),
        pool=Pool(settings.worker_count, limits.queue, limits.judge_s, usable_cores()),
        guard=Guard(settings, metrics.refused),
        rates=Rates(limits.rate_per_s, limits.burst),
        health=health or Health(),
        metrics=metrics,
        feed=feed,
        hub=hub,
    )

    close_trust = equip(state)
    if hub is not None:
        state.stopping.append(hub.close)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        state.model.start(on_failure)
        # Whoever brings a registry of what is wrong watches the cameras too.
        watching = asyncio.create_task(watch(state, cameras=health is None))
        yield
        watching.cancel()
        # In a thread: what is being judged is waited for, and tells the loop when it is done.
        await asyncio.to_thread(state.pool.close)
        state.model.close()
        close_trust()

    app = FastAPI(
        title="adsn",
        version=__version__,
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    app.state.shared = state
    add_error_handlers(app)
    for mount in MOUNTS:
        mount(app, state)
    # What is added last is outermost.
    app.add_middleware(HeadMiddleware)
    app.add_middleware(BodyLimitMiddleware, limit=limits.body_bytes)
    app.add_middleware(GateMiddleware, guard=state.guard, hosts=settings.auth.hosts)
    app.add_middleware(RequestIdMiddleware)
    openapi.install(app, state.amends, keyed=state.guard.keyed)
    return app
