"""Output that POSTs signed events to a URL, so that the receiver can verify the sender and the time.

The body is JSON. The header is ``Adsn-Signature: t=SECONDS,v1=HEX``. HEX is the HMAC-SHA256, keyed with the shared
secret, of ``SECONDS``, a full stop and the body as sent. Receivers verify it as `verify` does.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import http.client
import json
import socket
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

from runtime.core.retry import Backoff
from runtime.core.tls_files import TlsFile, client_context, speaks_no_tls
from service.outputs.base import Clock, Event, EventExpired, EventKind, OutputError, boottime_ns

RETRIES, FIRST_PAUSE_S = 4, 0.1
CONNECT_ERRORS = (OSError, http.client.HTTPException)


def sign(secret: bytes, seconds: int, body: bytes) -> str:
    """Return the value of the signature header."""
    digest = hmac.new(secret, str(seconds).encode() + b"." + body, hashlib.sha256).hexdigest()
    return f"t={seconds},v1={digest}"


def verify(secret: bytes, header: str, body: bytes, now: float, tolerance_s: float = 5.0) -> bool:
    """Return whether ``body`` was signed with ``secret`` within ``tolerance_s`` of ``now``, in seconds since 1970."""
    parts = dict(part.partition("=")[::2] for part in header.split(","))
    try:
        seconds = int(parts.get("t", ""))
    except ValueError:
        return False
    expected = sign(secret, seconds, body)
    return hmac.compare_digest(header.encode(), expected.encode()) and abs(now - seconds) <= tolerance_s


class WebhookOutput:
    """Output that POSTs events to ``url``. Redirects are not followed. Decisions are retried until they expire.

    ``kinds``: kinds of events to send. ``timeout_s``: limit for one attempt, from the name look-up to the status line
    of the response. ``authorities``: CA certificates (PEM) to verify the receiver with, instead of the system's.
    """

    name = "webhook"

    def __init__(
        self, url: str, secret: bytes, *, kinds: frozenset[EventKind] = frozenset({"decision"}), timeout_s: float = 2.0,
        authorities: Path | None = None, clock: Clock = boottime_ns,
    ) -> None:  # fmt: skip
        parts = urlsplit(url)
        assert parts.hostname is not None
        self._host, self._port = parts.hostname, parts.port
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        trusted = TlsFile("webhook.authorities", authorities) if authorities is not None else None
        self._tls = client_context(trusted) if parts.scheme == "https" else None
        self._secret, self._kinds, self._timeout = secret, kinds, timeout_s
        self._clock = clock
        self._stop = threading.Event()

    def wants(self, event: Event) -> bool:
        return event.kind in self._kinds

    def send(self, event: Event) -> None:
        """Deliver the event. Any 2xx response counts as delivered.

        Raises:
            EventExpired: the event expired before delivery. OutputError: the receiver refused it or cannot be reached.
        """
        failure = OutputError("not tried.")
        backoff = Backoff(first_s=FIRST_PAUSE_S, spread=0)
        for retries in range(RETRIES, -1, -1):
            try:
                return self._try(event)
            except EventExpired:
                raise
            except _RequestRejected as error:
                raise OutputError(str(error.message)) from error
            except OutputError as error:
                failure = error
            # Events without expiry are not retried, because the next event reports the current state.
            if not retries or event.expires_ns is None or self._stop.wait(backoff.next()):
                break
            if not event.fresh(self._clock()):
                break
        raise failure

    def _try(self, event: Event) -> None:
        connection = self._connection()
        # A receiver that sends one byte at a time never exceeds the timeout of a single read. This timer limits the
        # whole exchange.
        guard = threading.Timer(self._timeout, _cut, (connection,))
        guard.daemon = True
        guard.start()
        try:
            connection.connect()
            _bound_unacknowledged(connection.sock, self._timeout)
            now = self._clock()
            event.require_fresh(now)
            body = json.dumps(event.body(now), separators=(",", ":"), allow_nan=False).encode()
            headers = {
                "Content-Type": "application/json",
                "Idempotency-Key": event.id,
                "Adsn-Signature": sign(self._secret, int(time.time()), body),
                "User-Agent": "adsn-kiosk",
                "Connection": "close",
            }
            connection.request("POST", self._target, body, headers)
            status = connection.getresponse().status
        except CONNECT_ERRORS as error:
            if speaks_no_tls(error):
                raise OutputError(
                    f"{self._host}: it does not speak TLS on this port. Name its TLS port in webhook.url."
                ) from error
            text = (str(error) or type(error).__name__).rstrip(".")
            # A port that expects TLS shows itself only by closing the connection without a response.
            closed = self._tls is None and isinstance(error, ConnectionResetError)
            advice = " If it speaks TLS on this port, write https:// in webhook.url." if closed else ""
            raise OutputError(f"{self._host}: {text}.{advice}") from error
        finally:
            guard.cancel()
            connection.close()
        if 300 <= status < 400:
            raise _RequestRejected(
                f"{self._host} answered {status}, and redirects are not followed. Set webhook.url to the final address."
            )
        if 400 <= status < 500 and status not in (408, 425, 429):
            raise _RequestRejected(f"{self._host} refused the event with status {status}.")
        if not 200 <= status < 300:
            raise OutputError(f"{self._host} answered {status}.")

    def _connection(self) -> http.client.HTTPConnection:
        if self._tls is not None:
            return http.client.HTTPSConnection(self._host, self._port, timeout=self._timeout, context=self._tls)
        return http.client.HTTPConnection(self._host, self._port, timeout=self._timeout)

    def probe(self) -> bool:
        return False

    def close(self) -> None:
        self._stop.set()


class _RequestRejected(OutputError):
    """The receiver refused the event, and a retry would not help."""


def _cut(connection: http.client.HTTPConnection) -> None:
    if connection.sock is not None:
        with contextlib.suppress(OSError):
            connection.sock.shutdown(socket.SHUT_RDWR)


def _bound_unacknowledged(sock: socket.socket, timeout_s: float) -> None:
    """Make the kernel discard unacknowledged data after ``timeout_s``, so that it is never delivered late."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(timeout_s * 1000))
