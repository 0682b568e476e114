"""The HTTP application, put together from the modules in `service.routes`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from fastapi import FastAPI

from runtime import __version__
from runtime.assemble import Loaded
from runtime.feed import PairFeed
from service import openapi
from service.active import ActiveModel
from service.auth import Guard
from service.middleware import BodyLimitMiddleware, RequestIdMiddleware
from service.respond import add_error_handlers
from service.routes import MOUNTS
from service.scoring import Pool
from service.settings import Settings
from service.state import Health, Hub, State

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
) -> FastAPI:
    """The application.

    ``load`` makes the pipeline, in a thread; ``on_failure`` is called when it raises. ``feed``: an attached rig,
    started and closed by whoever made it. ``hub``: where events go. ``health``: what else must be well to be ready.
    ``app.state.shared`` is the `State` that all routes share.
    """
    state = State(
        settings=settings,
        model=ActiveModel(load),
        pool=Pool(settings.workers, settings.queue),
        guard=Guard(settings),
        feed=feed,
        hub=hub,
        health=health,
    )

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        state.model.start(on_failure)
        yield
        state.pool.close()
        state.model.close()

    app = FastAPI(
        title="adsn",
        version=__version__,
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    app.state.shared = state
    app.add_middleware(BodyLimitMiddleware, limit=settings.max_body_bytes)
    app.add_middleware(RequestIdMiddleware)
    add_error_handlers(app)
    for mount in MOUNTS:
        mount(app, state)
    openapi.install(app, state.amends, keyed=state.guard.keyed)
    return app
