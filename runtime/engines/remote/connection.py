"""HTTP client for a scoring server: keep-alive, one deadline per exchange, bounded retries; standard library only.

The timeout of `http.client` applies to single reads, so a server that sends one byte at a time could block a kiosk
forever. Here all reads and writes of an exchange share one deadline.
"""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

from runtime.core.errors import ConfigError
from runtime.core.hosts import is_loopback
from runtime.core.retry import Backoff
from runtime.core.tls_files import TlsFile, client_context, speaks_no_tls

MAX_IDLE_S = 10
"""Longest time that a connection is kept idle. It is shorter than the keep-alive timeout of common servers, so that a
reused connection is rarely one that the server has just closed."""
RETRIED = frozenset({429, 502, 503, 504})
FIRST_PAUSE_S = 0.05


class Unreachable(Exception):
    """There was no valid HTTP response in time. The message says why."""


@dataclass(frozen=True, slots=True)
class RemoteSettings:
    """Address and credentials of a scoring server.

    ``url``: ``https://host:port``, or ``http://`` on this machine. ``plaintext`` allows ``http://`` to other hosts, for
    networks that another layer encrypts. ``key``: sent as a bearer token. ``ca``: CA certificates (PEM) to trust
    instead of the system's. ``certificate`` and ``certificate_key``: certificate of this device for mutual TLS.
    ``timeout_s``: time limit for one batch, including all ``retries``. ``model``: name of the model on the server; by
    default the name in the bundle.
    """

    url: str
    key: str | None = field(default=None, repr=False)
    ca: Path | None = None
    certificate: Path | None = None
    certificate_key: Path | None = None
    timeout_s: float = 2.0
    retries: int = 2
    plaintext: bool = False
    model: str = ""


@dataclass(frozen=True, slots=True)
class HttpReply:
    """HTTP response: status, headers by lower-case name, and complete body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class RemoteConnection:
    """Client for the server in ``settings``. Thread-safe.

    Raises:
        ConfigError: the address, key or a certificate cannot be used.
    """

    def __init__(self, settings: RemoteSettings) -> None:
        parts = urlsplit(settings.url)
        try:
            port = parts.port
        except ValueError as error:
            raise ConfigError(f"{settings.url}: the port must be a number from 0 to 65535.") from error
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path not in ("", "/") or parts.query:
            raise ConfigError(f"{settings.url}: not a scoring server's address. Use https://HOST:PORT, without a path.")
        if parts.username is not None or parts.password is not None:
            raise ConfigError("the scoring server's address contains a password. Put the key in remote_key instead.")
        if parts.scheme == "http" and not settings.plaintext and not is_loopback(parts.hostname):
            raise ConfigError(
                f"{settings.url}: images of faces would cross the network unencrypted, and anyone on it could answer. "
                "Use https, or set plaintext if another layer encrypts the traffic."
            )
        if settings.key is not None and not (settings.key.isascii() and settings.key.isprintable()):
            raise ConfigError("the scoring server's key contains characters other than printable ASCII.")
        self.host, self.port = parts.hostname, port or (443 if parts.scheme == "https" else 80)
        self._context = _context(settings) if parts.scheme == "https" else None
        self._settings = settings
        self._headers = {"Authorization": f"Bearer {settings.key}"} if settings.key else {}
        self._lock = threading.Lock()
        self._idle: list[tuple[http.client.HTTPConnection, float]] = []

    def exchange(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None, *, limit: int
    ) -> HttpReply:
        """Send a request and return the response. Retries included, this takes at most ``timeout_s``.

        ``limit``: largest accepted response body in bytes. Use this method only for requests without side effects,
        because a request whose response was lost is sent again.

        Raises:
            Unreachable: there was no response in time, or its body was larger than ``limit``.
        """
        deadline = time.monotonic() + self._settings.timeout_s
        backoff = Backoff(first_s=FIRST_PAUSE_S, last_s=self._settings.timeout_s, spread=0.5)
        for attempt in range(self._settings.retries + 1):
            last = attempt == self._settings.retries
            try:
                reply = self._once(method, path, body, {**self._headers, **(headers or {})}, limit, deadline)
                if reply.status not in RETRIED or last:
                    return reply
                why = f"status {reply.status}"
            except (OSError, http.client.HTTPException) as error:
                # A retry helps neither with a wrong certificate nor with a body that is too large.
                if last or isinstance(error, (ssl.SSLCertVerificationError, TooLarge)):
                    raise Unreachable(_reason(error)) from error
                reply, why = None, _reason(error)
            wait = backoff.next()
            if time.monotonic() + wait >= deadline:
                if reply is not None:
                    return reply
                raise Unreachable(f"{why}; no time is left for another attempt.")
            time.sleep(wait)
        raise AssertionError("the last attempt returns or raises")

    def close(self) -> None:
        """Close all idle connections."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection, _ in idle:
            connection.close()

    def _once(
        self, method: str, path: str, body: bytes, headers: Mapping[str, str], limit: int, deadline: float
    ) -> HttpReply:
        kept = self._idle_connection()
        if kept is not None:
            try:
                return self._on(kept, method, path, body, headers, limit, deadline)
            except (http.client.RemoteDisconnected, ConnectionError):
                # The server has closed the idle connection, which is not an error.
                pass
        return self._on(self._connect(deadline), method, path, body, headers, limit, deadline)

    def _on(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        body: bytes,
        headers: Mapping[str, str],
        limit: int,
        deadline: float,
    ) -> HttpReply:
        cast(DeadlineSocket, connection.sock).deadline = deadline
        try:
            connection.request(method, path, body or None, dict(headers))
            response = connection.getresponse()
            data = response.read(limit + 1)
            if len(data) > limit:
                raise TooLarge(f"the response is larger than {limit} bytes")
            if response.length:
                raise http.client.IncompleteRead(data)
        except BaseException:
            connection.close()
            raise
        if response.will_close or not response.isclosed():
            connection.close()
        else:
            with self._lock:
                self._idle.append((connection, time.monotonic()))
        return HttpReply(response.status, {k.lower(): v for k, v in response.getheaders()}, data)

    def _idle_connection(self) -> http.client.HTTPConnection | None:
        with self._lock:
            while self._idle:
                connection, since = self._idle.pop()
                if time.monotonic() - since < MAX_IDLE_S:
                    return connection
                connection.close()
        return None

    def _connect(self, deadline: float) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection(self.host, self.port)
        raw = socket.create_connection((self.host, self.port), max(0.001, deadline - time.monotonic()))
        try:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._context is not None:
                raw = self._context.wrap_socket(raw, server_hostname=self.host)
        except BaseException:
            raw.close()
            raise
        # The socket of http.client would restart its timeout at every read.
        connection.sock = DeadlineSocket(raw, deadline)
        return connection


class TooLarge(OSError):
    """The response is larger than the limit."""


class DeadlineSocket:
    """Socket with the methods that `http.client` uses. All of them share one deadline (``time.monotonic``)."""

    def __init__(self, inner: socket.socket, deadline: float) -> None:
        self._inner = inner
        self.deadline = deadline
        self._readers = 0
        self._closing = False

    def _arm(self) -> None:
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        self._inner.settimeout(left)

    def sendall(self, data: Any) -> None:
        view = memoryview(data).cast("B")
        while view:
            self._arm()
            view = view[self._inner.send(view) :]

    def receive(self, buffer: Any) -> int:
        self._arm()
        return self._inner.recv_into(buffer)

    def makefile(self, mode: str) -> io.BufferedReader:
        self._readers += 1
        return io.BufferedReader(_Reader(self), 64 << 10)

    def release(self) -> None:
        """Count one reader as finished. Closes the socket after the last one if `close` has been called."""
        self._readers -= 1
        if self._closing and not self._readers:
            self._inner.close()

    def close(self) -> None:
        # `http.client` may still read a response after it has closed the connection.
        self._closing = True
        if not self._readers:
            self._inner.close()


class _Reader(io.RawIOBase):
    def __init__(self, owner: DeadlineSocket) -> None:
        self._owner = owner

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._owner.receive(buffer)

    def close(self) -> None:
        if not self.closed:
            super().close()
            self._owner.release()


def _context(settings: RemoteSettings) -> ssl.SSLContext:
    def named(setting: str, path: Path | None) -> TlsFile | None:
        return TlsFile(f"remote.{setting}", path) if path is not None else None

    return client_context(
        named("ca", settings.ca),
        named("certificate", settings.certificate),
        named("certificate_key", settings.certificate_key),
    )


def _reason(error: BaseException) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if speaks_no_tls(error):
        return "it does not speak TLS on this port: write http:// in remote.url, or name its TLS port"
    if isinstance(error, TimeoutError):
        return "timed out"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
