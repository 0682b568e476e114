"""uvicorn's HTTP protocol with additional limits.

They apply to the time and size of headers, the time for the body, and the number of open connections. A client that
sends one byte a minute, or endless headers, cannot occupy a connection for longer than the limits allow. Requests
refused here get a problem document, as all refused requests do, if a response can still be sent.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
from typing import Any, cast

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service.config.settings import LimitSettings
from service.http.connections import Shares, group_of
from service.http.problem_catalogue import PROBLEMS
from service.http.problem_document import problem_body
from service.http.problems import MEDIA_TYPE

log = logging.getLogger("adsn.service")
CHUNKING = 8
"""Upper bound of bytes on the wire per byte of the body. A chunk with a single byte takes six bytes."""

TLS_HELLO = b"\x16\x03"
"""First bytes of a TLS handshake record."""


def refusal(status: int, code: str, detail: str, phrase: str) -> bytes:
    """Return a complete raw HTTP response, for requests that never reach the application."""
    request_id = secrets.token_hex(12)
    body = json.dumps(problem_body(status, code, detail, request_id)).encode()
    again = "retry-after: 1\r\n" if PROBLEMS[code].retryable else ""
    head = (
        f"HTTP/1.1 {status} {phrase}\r\ncontent-type: {MEDIA_TYPE}\r\ncontent-length: {len(body)}\r\n"
        f"x-request-id: {request_id}\r\ncache-control: no-store\r\nx-content-type-options: nosniff\r\n{again}"
        "connection: close\r\n\r\n"
    )
    return head.encode() + body


class LimitedProtocol(HttpToolsProtocol):
    """A `service.http.connections.Connection`. `protocol_with_limits` creates a subclass with ``limits`` and
    ``shares``."""

    limits: LimitSettings
    shares: Shares
    address = ""
    waiting_since: float | None = None
    _timer: asyncio.TimerHandle | None = None
    _heading = True
    """Whether arriving bytes belong to a request line or headers."""
    _head = 0
    _raw = 0
    _tls_hello = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        super().connection_made(transport)
        self.address = group_of(self.client[0]) if self.client else ""
        refused = self.shares.enter(self, self.loop.time())
        if refused:
            self._refuse(503, "overloaded", refused, "Service Unavailable")
            return
        self.waiting_since = self.loop.time()
        self._arm(self.limits.header_s)

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        self.shares.leave(self)
        super().connection_lost(exc)

    @property
    def sent(self) -> int:
        """Bytes received of a request whose headers are still incomplete."""
        return self._head

    def make_room(self) -> None:
        """Close this connection, which is waiting for a request, to make room for another."""
        log.info("a connection from %s that had nothing to say was closed for another one.", self.address)
        self._end()

    def eof_received(self) -> bool | None:  # type: ignore[override]  # True keeps the connection half open
        """Handle the end of the client's data. If the client has sent a complete request, it still gets the
        response."""
        cycle = self.cycle
        if cycle is None or cycle.more_body or cycle.response_started or self.scheme == "https":
            # TLS connections cannot be half-closed, and a streaming response ends when the client closes.
            return None
        cycle.keep_alive = False
        return True

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        # Count raw bytes before parsing, to limit endless headers, trailers and one-byte chunks.
        self._raw += len(data)
        if self._heading:
            self._tls_hello = self._head == 0 and data.startswith(TLS_HELLO)
            self._head += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._heading and self._head > self.limits.header_bytes:
            detail = f"the request's headers are larger than the {self.limits.header_bytes} bytes accepted."
            self._refuse(431, "request_header_too_large", detail, "Request Header Fields Too Large")
        elif self._raw > CHUNKING * self.limits.body_bytes + self.limits.header_bytes:
            self._end()
        elif self._timer is None and self._heading and self.timeout_keep_alive_task is None and self._idle:
            # A request begins on an idle connection.
            self._arm(self.limits.header_s)

    @property
    def _idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._raw = 0
        if self._timer is None:
            self._arm(self.limits.header_s)

    def on_headers_complete(self) -> None:
        self._heading, self._head = False, 0
        self.waiting_since = None
        self._use_target_authority()
        super().on_headers_complete()
        self._arm(self.limits.body_s)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._heading = True
        self._disarm()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self.pipeline:
            self.waiting_since = self.loop.time()

    def _use_target_authority(self) -> None:
        """Take the host from a request target in absolute form and ignore the Host header (RFC 9112, section 3.2.2)."""
        if self.url.startswith(b"/"):
            return
        found = httptools.parse_url(self.url)
        if not found.host:
            return
        host = b"[%s]" % found.host if b":" in found.host else found.host
        authority = host if found.port is None else b"%s:%d" % (host, found.port)
        self.headers[:] = [entry for entry in self.headers if entry[0] != b"host"]
        self.headers.append((b"host", authority))

    def _arm(self, seconds: float) -> None:
        self._disarm()
        self._timer = self.loop.call_later(seconds, self._too_slow)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        self._timer = None
        what, seconds = ("headers", self.limits.header_s) if self._heading else ("body", self.limits.body_s)
        detail = f"the request's {what} did not arrive within {seconds:g} seconds."
        self._refuse(408, "request_timeout", detail, "Request Timeout")

    def _refuse(self, status: int, code: str, detail: str, phrase: str) -> None:
        log.warning("connection refused: %s", detail)
        # Do not write into the middle of another response, or after the response to this request.
        unanswered = self._idle if self._heading else not (self.cycle.response_started or self.pipeline)
        if unanswered:
            self.transport.write(refusal(status, code, detail, phrase))
        self._end()

    def send_400_response(self, msg: str) -> None:
        """Replace uvicorn's response to invalid HTTP with a problem document."""
        self._heading = True
        detail = "this is not an HTTP/1.1 request."
        if self._tls_hello:
            detail = "a TLS connection arrived at a plain HTTP port. Use http://, or configure [tls]."
        self._refuse(400, "malformed_request", detail, "Bad Request")

    def _end(self) -> None:
        self._disarm()
        self.transport.close()


def protocol_with_limits(limits: LimitSettings) -> type[asyncio.Protocol]:
    """Return a protocol class with these limits, for ``uvicorn.Config(http=…)``."""
    namespace: dict[str, Any] = {"limits": limits, "shares": Shares(limits.connections, limits.address_share)}
    return cast("type[asyncio.Protocol]", type("Limited", (LimitedProtocol,), namespace))
