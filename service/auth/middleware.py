"""ASGI middleware in front of every route: check the caller, the requesting site and the Host header.

Access is closed by default: any path that is not listed as open needs a key, even if its route does not check. The
route decides which role is required. Requests that a browser sends on behalf of another site are refused, because every
page open in a browser on the same machine can reach a service on loopback without keys.
"""

from __future__ import annotations

from urllib.parse import quote, urlsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from runtime.core.errors import AdsnError
from runtime.core.hosts import is_loopback
from service.auth.guard import Guard
from service.http.problems import RequestError, problem_of

OPEN_PATHS = frozenset({"/livez", "/readyz", "/login", "/logout", "/v2/health/live", "/v2/health/ready"})
"""Paths that need no key: the liveness and readiness probes, and the login."""
PAGE_PATHS = frozenset({"/", "/docs", "/console"})
"""Paths of web pages. Without a session they redirect to /login instead of returning an error."""
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
HEADERS = [(b"cross-origin-resource-policy", b"same-origin"), (b"cross-origin-opener-policy", b"same-origin")]
HSTS = (b"strict-transport-security", b"max-age=31536000")


class AuthMiddleware:
    """Middleware that checks every request. It must be inside `RequestIdMiddleware` and outside anything that reads a
    body."""

    def __init__(self, app: ASGIApp, guard: Guard, hosts: tuple[str, ...] = ()) -> None:
        self.app = app
        self._guard = guard
        self._hosts = frozenset(host.lower() for host in hosts)
        self._headers = [*HEADERS, HSTS] if guard.secure else HEADERS

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            # There are no WebSocket routes. A new one would have to be checked here first.
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *self._headers]
            await send(message)

        request = Request(scope)
        try:
            self._check_site(request)
            # The path is from the request line. The URL of a request is not used, because it is built from the
            # untrusted Host header.
            if scope["path"] not in OPEN_PATHS:
                await self._check_caller(request)
        except AdsnError as error:
            response = self._refuse(request, error)
            await response(scope, receive, with_headers)
            return
        await self.app(scope, receive, with_headers)

    def _check_site(self, request: Request) -> None:
        """Refuse requests that a browser sends for a page of another site, and unknown Host headers (DNS rebinding)."""
        host = request.headers.get("host", "")
        if not self._guard.keyed and not self._guard.certified and not self._is_own_name(host):
            # The browser considers a page whose host name was rebound to 127.0.0.1 to be the same site.
            raise RequestError(
                421, "wrong_host", "the Host header is not localhost. Add its name to auth.hosts, or configure keys."
            )
        site = request.headers.get("sec-fetch-site")
        if site is not None:
            # Following a link from another site is harmless, because it opens a page of this service.
            navigates = request.headers.get("sec-fetch-mode") == "navigate" and request.method == "GET"
            foreign = site not in ("same-origin", "none") and not navigates
        else:
            # Browsers send Sec-Fetch-Site only to https and localhost. To other hosts they send the Origin of the page.
            origin = request.headers.get("origin")
            foreign = origin is not None and not _same_origin(origin, host, request.scope["scheme"])
        if foreign:
            raise self._cross_site()

    async def _check_caller(self, request: Request) -> None:
        found = await self._guard.identify(request)
        if found.caller is None:
            raise self._guard.refusal(found)
        if found.by_session and request.method not in SAFE_METHODS and not _from_own_page(request):
            # Browsers attach cookies automatically, so require that the request comes from a page of this service.
            raise self._cross_site()
        request.scope.setdefault("state", {})["caller"] = found.caller

    def _cross_site(self) -> RequestError:
        self._guard.refused("cross_site")
        return RequestError(
            403, "cross_site", "requests from other sites' pages are refused; this service does not support CORS."
        )

    def _is_own_name(self, host: str) -> bool:
        try:
            name = (urlsplit(f"//{host}").hostname or "").lower()
        except ValueError:
            return False
        return is_loopback(name) or name in self._hosts

    def _refuse(self, request: Request, error: AdsnError) -> Response:
        path = request.scope["path"]
        asked = isinstance(error, RequestError) and error.request_code == "unauthorized"
        if (
            asked
            and path in PAGE_PATHS
            and request.method == "GET"
            and "text/html" in request.headers.get("accept", "")
        ):
            return RedirectResponse(f"/login?next={quote(path, safe='')}", 303)
        return problem_of(error, request_id=request.state.request_id, path=path)


def _same_origin(origin: str, host: str, scheme: str) -> bool:
    found = urlsplit(origin)
    return found.scheme == scheme and found.netloc.lower() == host.lower()


def _from_own_page(request: Request) -> bool:
    """Return whether the browser says that a page of this origin sent the request. `_check_site` has verified these
    headers."""
    site = request.headers.get("sec-fetch-site")
    return site == "same-origin" if site is not None else "origin" in request.headers
