"""uvicorn, configured for this project: connection limits, listening socket, signals, and TLS."""

from __future__ import annotations

import logging
import signal
import socket
import ssl
import threading
from collections.abc import Callable, Iterable
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI

from runtime.core.errors import ConfigError
from service.config.settings import Settings
from service.http.protocol import protocol_with_limits

log = logging.getLogger("adsn.service")
BACKLOG = 512


def listen(settings: Settings) -> socket.socket:
    """Return the listening socket.

    Raises:
        ConfigError: the address cannot be bound.
    """
    host = settings.host.strip("[]")
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, proto)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {settings.host} port {settings.port}: {error.strerror or error}. Choose another address "
            "with --host and --port, or stop the program that uses this one."
        ) from error
    # Accepted connections inherit this option: the kernel drops a connection whose peer does not acknowledge data.
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(settings.limits.write_s * 1000))
    listener.listen(BACKLOG)
    listener.setblocking(False)
    return listener


def configure(app: FastAPI, settings: Settings) -> uvicorn.Config:
    """Return the configuration of uvicorn, with the limits, TLS and drain time in ``settings``.

    Raises:
        ConfigError: a TLS file cannot be used.
    """
    return _Config(
        settings.tls.context(),
        app,
        http=protocol_with_limits(settings.limits),
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=settings.limits.idle_s,
        # The two remaining seconds are for the pool and the cameras.
        timeout_graceful_shutdown=max(1, int(settings.drain_s) - 2),
    )


class _Config(uvicorn.Config):
    """Configuration of uvicorn with our own TLS context. uvicorn's would ask for pass phrases on the terminal, and its
    errors do not name the file."""

    def __init__(self, context: ssl.SSLContext | None, app: FastAPI, **options: Any) -> None:
        super().__init__(app, **options)
        self._context = context

    def load(self) -> None:
        super().load()
        self.ssl = self._context


class Server(uvicorn.Server):
    """Server with callbacks.

    ``announce``: called with the URL when the server listens, possibly before the model is loaded. ``reload``: called
    on SIGHUP. ``stopping``: functions called before the server waits for running requests.
    """

    def __init__(
        self,
        app: FastAPI,
        settings: Settings,
        *,
        announce: Callable[[str], None] = lambda url: None,
        reload: Callable[[], None] = lambda: None,
        stopping: Iterable[Callable[[], None]] = (),
    ) -> None:
        super().__init__(configure(app, settings))
        self._settings = settings
        self._announce = announce
        self._reload = reload
        self._stopping = tuple(stopping)
        self._listener = listen(settings)
        self.failed = False

    @property
    def url(self) -> str:
        """URL of the server."""
        host = self._settings.host.strip("[]")
        shown = f"[{host}]" if ":" in host else host
        scheme = "https" if self._settings.tls.certificate is not None else "http"
        return f"{scheme}://{shown}:{self._listener.getsockname()[1]}"

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until a signal arrives or `stop_failed` is called. Outside the main thread, serve until ``should_exit``
        is set."""
        signals = threading.current_thread() is threading.main_thread()
        previous = signal.signal(signal.SIGHUP, self._hangup) if signals else None
        try:
            super().run(sockets=[self._listener] if sockets is None else sockets)
        finally:
            if signals:
                signal.signal(signal.SIGHUP, previous)
            self._listener.close()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._announce(self.url)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if not self.failed:
            log.info("stopping after the requests in progress")
        for stop in self._stopping:
            stop()
        await super().shutdown(sockets)

    def stop_failed(self) -> None:
        """Make the process end because the engine cannot start. Thread-safe."""
        # Do not use a signal: uvicorn raises it again at the end, and a service manager takes SIGTERM for a clean stop.
        self.failed = True
        self.should_exit = True

    def _hangup(self, number: int, frame: FrameType | None) -> None:
        self._reload()
