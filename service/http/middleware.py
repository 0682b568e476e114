"""Pure ASGI middleware: request ids, security headers, a catch-all for errors, and body limits counted on chunks."""

from __future__ import annotations

import logging
import re
import secrets

import anyio
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.http.problems import problem

log = logging.getLogger("adsn.service")
ACCEPTED_ID = re.compile(rb"^[A-Za-z0-9._:-]{1,64}\Z")
SECURITY_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    # No referrer is sent to other sites. "no-referrer" is not used, because browsers would then also hide the origin of
    # this site's own forms.
    (b"referrer-policy", b"same-origin"),
    (b"x-frame-options", b"DENY"),
]
LINGER_S = 1.0
LINGER_FACTOR = 4
"""A body of up to this many times the limit is read and discarded before it is refused. Otherwise the client, which is
still sending, would see a broken connection instead of the reason."""


class RequestIdMiddleware:
    """Middleware that gives every request an id, and adds the id and security headers to every response.

    The id is the caller's if that is valid. This is the outermost layer, so it also handles errors that nothing else
    has caught.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
        # Other characters could be used to forge lines in a log.
        request_id = given if ACCEPTED_ID.match(given) else secrets.token_hex(12).encode()
        scope.setdefault("state", {})["request_id"] = request_id.decode()

        started = False

        async def send_with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = [*message.get("headers", []), (b"x-request-id", request_id), *SECURITY_HEADERS]
            await send(message)

        try:
            await self.app(scope, receive, send_with_headers)
        except ClientDisconnect:
            log.info("%s the client disconnected", request_id.decode())
        except Exception as error:
            # Neither the response nor the log contains the text of the exception, because it may quote the upload.
            frame = error.__traceback__
            while frame is not None and frame.tb_next is not None:
                frame = frame.tb_next
            at = f"{frame.tb_frame.f_code.co_filename}:{frame.tb_lineno}" if frame else "?"
            log.error("%s %s at %s", request_id.decode(), type(error).__name__, at)
            if not started:
                detail = "an unexpected error occurred. It is in the service's log under this request id."
                path = scope["path"]
                response = problem(500, "internal_error", detail, request_id=request_id.decode(), path=path)
                await response(scope, receive, send_with_headers)


class BodyTooLarge(Exception):
    """The body exceeds the limit."""


class BodyLimitMiddleware:
    """Middleware that stops reading when a body exceeds the limit. The declared length is checked first, but not
    trusted."""

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self.app = app
        self.limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD"):
            await self.app(scope, receive, send)
            return
        declared = next((value for name, value in scope["headers"] if name == b"content-length"), b"")
        if declared.isdigit() and int(declared) > self.limit:
            await self._refuse(scope, receive, send, int(declared))
            return
        received, started = 0, False

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self.limit:
                raise BodyTooLarge
            return message

        async def watched(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self.app(scope, counted, watched)
        except BodyTooLarge:
            if started:
                raise
            await self._refuse(scope, receive, send, received)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send, size: int) -> None:
        if size <= LINGER_FACTOR * self.limit:
            left = LINGER_FACTOR * self.limit
            with anyio.move_on_after(LINGER_S):
                while left > 0:
                    message = await receive()
                    left -= len(message.get("body", b""))
                    if message["type"] == "http.disconnect":
                        return
                    if not message.get("more_body", False):
                        break
        response = problem(
            413,
            "body_too_large",
            f"the request's body is larger than the {self.limit} bytes accepted. Send smaller images.",
            request_id=scope["state"]["request_id"],
            path=scope["path"],
        )
        # The rest of the body is not read, so the connection cannot be reused.
        response.headers["connection"] = "close"
        await response(scope, receive, send)


class DirectMiddleware:
    """Innermost middleware, which calls the application of one path directly, without the framework's layers."""

    def __init__(self, app: ASGIApp, path: str, method: str, direct: ASGIApp) -> None:
        self.app, self.direct = app, direct
        self._path, self._method = path, method

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == self._path and scope["method"] == self._method:
            await self.direct(scope, receive, send)
        else:
            await self.app(scope, receive, send)
