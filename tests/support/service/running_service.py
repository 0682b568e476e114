"""A real server on a free port, with a fake engine behind it."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import uvicorn
from blockbuster import BlockBuster
from fastapi import FastAPI

from runtime.core.values import Modality
from runtime.liveness.open import LoadedModel
from runtime.pairing.feed import PairFeed
from service.app import components_of, create_app
from service.config.settings import Settings
from service.http.server import configure
from service.monitoring.events import EventHub
from tests.support.fakes import FakeEngine, loaded
from tests.support.waiting import until


@dataclass(slots=True)
class RunningService:
    """A running service: its engine, its address and a client for it."""

    engine: FakeEngine
    port: int
    client: httpx.Client
    app: FastAPI
    server: uvicorn.Server

    def judge(self, files: dict[str, Any], **kwargs: Any) -> httpx.Response:
        return self.client.post("/liveness", files=files, **kwargs)


@contextlib.contextmanager
def nothing_blocks() -> Iterator[None]:
    """Make calls that would block the event loop raise instead, which gives a 500 that no test expects."""
    buster = BlockBuster()
    for name in ("threading.Lock.acquire", "threading.Lock.acquire_lock"):
        # These locks are held only for the time of an assignment, so they may be used.
        del buster.functions[name]
    # The key file is small and local, and is checked for changes only every two seconds.
    buster.functions["os.stat"].can_block_in("service/auth/guard.py", "_file_signature")
    buster.functions["io.BufferedReader.read"].can_block_in("service/auth/keys.py", "read_keys")
    buster.activate()
    try:
        yield
    finally:
        buster.deactivate()


@contextlib.contextmanager
def running(
    settings: Settings,
    load: Callable[[], LoadedModel] | None = None,
    wait: bool = True,
    *,
    feed: PairFeed | None = None,
    hub: EventHub | None = None,
    modalities: tuple[Modality, Modality] = ("rgb", "ir"),
    **client_options: Any,
) -> Iterator[RunningService]:
    """Run the application in a real uvicorn on an ephemeral loopback port. ``client_options``: of its httpx client."""
    engine = FakeEngine(modalities)
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    app = create_app(settings, load or (lambda: loaded(engine)), feed=feed, hub=hub)
    server = uvicorn.Server(configure(app, settings))
    stopping = components_of(app).stopping
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        scheme = "https" if settings.tls.certificate else "http"
        base = f"{scheme}://127.0.0.1:{port}"
        with nothing_blocks(), httpx.Client(base_url=base, timeout=20, **client_options) as client:
            if wait:
                until(lambda: client.get("/readyz").status_code == 200, "the service is not ready")
            until(lambda: server.started, "the service has not started")
            yield RunningService(engine, port, client, app, server)
    finally:
        if engine.gate is not None:
            engine.gate.set()
        for stop in stopping:
            stop()
        server.should_exit = True
        thread.join(20)
        listener.close()
    assert not thread.is_alive()
