"""``/login``: exchange a key for a browser session. The form needs no script, so that it works on a locked-down
kiosk."""

from __future__ import annotations

from html import escape
from string import Template
from urllib.parse import parse_qs

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from service.auth.guard import Guard
from service.auth.middleware import PAGE_PATHS
from service.console.assets import asset, source_hash
from service.http.parsing import require_plain
from service.http.problems import RequestError

MAX_FORM_BYTES = 4096


PAGE, STYLE = Template(asset("login.html")), asset("login.css")
POLICY = (
    f"default-src 'none'; style-src {source_hash(STYLE)}; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


def page(then: str, message: str = "", status: int = 200) -> Response:
    """Return the page with the form. ``then``: page to open after the login. ``message``: why the form is shown
    again."""
    shown = f'<p class="wrong" role="alert">{escape(message)}</p>' if message else ""
    body = PAGE.substitute(style=STYLE, then=escape(then, quote=True), message=shown)
    return HTMLResponse(body, status, {"Content-Security-Policy": POLICY})


def _own_path(value: str) -> str:
    """Return the page to open after the login. It is always a page of this service, never another site."""
    path = "/" + value.removeprefix("/")
    return path if value and path in PAGE_PATHS else "/docs"


def add_login_routes(app: FastAPI, guard: Guard, session_s: float) -> None:
    """Add the routes ``/login`` and ``/logout``. ``session_s``: lifetime of the cookie."""

    @app.get("/login", include_in_schema=False)
    async def form(request: Request) -> Response:
        if not guard.keyed:
            return RedirectResponse("/docs", 303)
        return page(_own_path(request.query_params.get("next", "")))

    @app.post("/login", include_in_schema=False)
    async def enter(request: Request) -> Response:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/x-www-form-urlencoded":
            raise RequestError(
                415, "unsupported_media", "POST /login takes only its page's form. Programs send their key in a header."
            )
        require_plain(request.headers)
        body = await request.body()
        if len(body) > MAX_FORM_BYTES:
            raise RequestError(413, "body_too_large", f"the form is larger than {MAX_FORM_BYTES} bytes.")
        given = parse_qs(body.decode("utf-8", "replace"), max_num_fields=4)
        then, key = _own_path(given.get("next", [""])[0]), given.get("key", [""])[0].strip()
        found = await guard.check(key, request.client.host if request.client else "")
        if found.caller is None:
            guard.refused(found.refused)
            if found.refused == "limited":
                return page(then, f"Too many wrong keys. Try again in {found.wait_s:.0f} seconds.", 429)
            return page(then, "The service does not accept this key.", 401)
        response = RedirectResponse(then, 303)
        response.set_cookie(
            guard.cookie,
            await guard.begin(found.caller),
            max_age=int(session_s),
            secure=guard.secure,
            httponly=True,
            samesite="strict",
        )
        return response

    @app.post("/logout", include_in_schema=False)
    async def leave(request: Request) -> Response:
        await guard.end(request.cookies.get(guard.cookie, ""))
        response = RedirectResponse("/login", 303)
        response.delete_cookie(guard.cookie, secure=guard.secure, httponly=True, samesite="strict")
        return response
