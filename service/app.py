"""The HTTP application."""

from __future__ import annotations

import hmac
import json
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, RedirectResponse, Response

from runtime import __version__
from runtime.assemble import Loaded
from runtime.errors import AdsnError, NotReady
from service.contract import CONTRACT_VERSION, LivenessResponse, Problem
from service.middleware import BodyLimitMiddleware, RequestIdMiddleware
from service.page import CONTENT_SECURITY_POLICY, reference_page
from service.parse import PARTS, Meta, read_meta, split_multipart
from service.problems import MEDIA_TYPE, RequestError, problem, problem_of
from service.scoring import Pool, judge
from service.settings import Settings

log = logging.getLogger("adsn.service")
HTTP_ERRORS = {
    404: ("not_found", "there is nothing at this path; see /docs."),
    405: ("method_not_allowed", "this path takes another method, which the Allow header names; see /docs."),
}
DESCRIPTION = (
    "Judges whether the face in a pair of RGB and infrared images belongs to a person who is there. "
    "The shipped weights have seen synthetic faces only: to look, develop and test with, not to guard a door."
)


class Engine:
    """The pipeline behind the application: starting, ready or failed."""

    def __init__(self, load: Callable[[], Loaded]) -> None:
        self._load = load
        self.loaded: Loaded | None = None
        self.failure: BaseException | None = None

    def start(self, failed: Callable[[], None]) -> None:
        """Load in a thread, so that the service answers /livez meanwhile; ``failed`` is called if it cannot."""

        def run() -> None:
            try:
                self.loaded = self._load()
                log.info("ready: %s", self.loaded.manifest.name)
            except BaseException as error:
                self.failure = error
                log.error("the engine cannot start: %s", error)
                failed()

        threading.Thread(target=run, name="adsn-load", daemon=True).start()

    def require(self) -> Loaded:
        """The pipeline.

        Raises:
            NotReady: still starting, or it could not start.
        """
        if self.loaded is None:
            raise NotReady(
                "the engine is starting."
                if self.failure is None
                else "the engine could not start; see the service's log."
            )
        return self.loaded

    def close(self) -> None:
        if self.loaded is not None:
            self.loaded.pipeline.engine.close()


def create_app(
    settings: Settings, load: Callable[[], Loaded], on_failure: Callable[[], None] = lambda: None
) -> FastAPI:
    """The application. ``load`` makes the pipeline, in a thread; ``on_failure`` is called when it raises."""
    engine = Engine(load)
    pool = Pool(settings.workers, settings.queue)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        engine.start(on_failure)
        yield
        pool.close()
        engine.close()

    app = FastAPI(
        title="adsn",
        version=__version__,
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    app.add_middleware(BodyLimitMiddleware, limit=settings.max_body_bytes)
    app.add_middleware(RequestIdMiddleware)
    _add_error_handlers(app)
    key = settings.api_key.get_secret_value().encode() if settings.api_key else None

    def authorize(request: Request) -> None:
        if key is None:
            return
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        given = token if scheme.lower() == "bearer" else request.headers.get("x-api-key", "")
        if not hmac.compare_digest(given.encode(), key):
            raise RequestError(401, "unauthorized", "send the API key as Authorization: Bearer KEY, or as X-API-Key.")

    @app.post("/liveness", response_model=LivenessResponse, summary="Judge a pair of images")
    async def liveness(request: Request) -> Response:
        """Judge one pair. A spoof is a 200, and so is a pair too poor to judge (`uncertain`, with reasons)."""
        received = time.perf_counter_ns()
        authorize(request)
        loaded = engine.require()
        parts = split_multipart(await request.body(), request.headers.get("content-type", ""))
        meta = read_meta(parts.get("meta"))
        request_id = request.state.request_id
        body = await pool.run(
            judge, loaded, settings, parts["rgb"], parts["ir"], meta, request_id=request_id, received_ns=received
        )
        log.info("%s %s %s", request_id, body["decision"], ",".join(body["reasons"]))
        return _json(body)

    @app.get("/livez", summary="Whether the process answers")
    async def livez() -> Response:
        return _json({"status": "alive"})

    @app.get("/readyz", summary="Whether pairs can be judged")
    async def readyz() -> Response:
        """200 once the engine has reproduced the model's golden vectors; 503 before that and when it never could."""
        engine.require()
        return _json({"status": "ready"})

    @app.get("/info", summary="What is running")
    async def info(request: Request) -> Response:
        authorize(request)
        loaded = engine.require()
        running = loaded.pipeline.engine.info
        return _json({
            "contract_version": CONTRACT_VERSION,
            "version": __version__,
            "model": {"name": loaded.manifest.name, "version": loaded.manifest.version, "sha256": loaded.model_sha256},
            "summary": loaded.manifest.summary,
            "engine": {
                "backend": running.backend,
                "precision": running.precision,
                "device": running.device,
                "threads": running.threads,
                "versions": dict(running.versions),
                "degraded": running.degraded,
            },
        })  # fmt: skip

    @app.get("/", include_in_schema=False)
    async def root() -> Response:
        return RedirectResponse("/docs")

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        headers = {"Content-Security-Policy": CONTENT_SECURITY_POLICY}
        return HTMLResponse(reference_page(app.openapi(), key is not None), headers=headers)

    app.openapi = lambda: _openapi(app, key is not None)  # type: ignore[method-assign]  # FastAPI's documented way
    return app


def _json(body: dict[str, Any]) -> Response:
    # Built by hand: validating the answer again would cost more than parsing the request. NaN is refused.
    return Response(json.dumps(body, allow_nan=False).encode(), media_type="application/json")


def _problem(request: Request, status: int, code: str, detail: str) -> Response:
    return problem(status, code, detail, request_id=request.state.request_id, path=request.url.path)


def _add_error_handlers(app: FastAPI) -> None:
    async def own(request: Request, error: Exception) -> Response:
        assert isinstance(error, AdsnError)
        return problem_of(error, request_id=request.state.request_id, path=request.url.path)

    async def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        code, detail = HTTP_ERRORS.get(error.status_code, ("malformed_request", "the request cannot be served."))
        response = _problem(request, error.status_code, code, detail)
        response.headers.update(error.headers or {})
        return response

    async def invalid(request: Request, error: Exception) -> Response:
        return _problem(request, 422, "malformed_request", "the request's parameters are wrong.")

    app.add_exception_handler(AdsnError, own)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(RequestValidationError, invalid)


def _openapi(app: FastAPI, keyed: bool) -> dict[str, Any]:
    """The OpenAPI document, with the multipart body and every problem declared."""
    if app.openapi_schema:
        return app.openapi_schema
    schema = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    reference = "#/components/schemas/{model}"
    for model in (Meta, Problem):
        own = model.model_json_schema(ref_template=reference)
        schema["components"]["schemas"] |= {**own.pop("$defs", {}), model.__name__: own}
    image = {"type": "string", "format": "binary"}
    properties: dict[str, Any] = {name: image for name in PARTS if name != "meta"}
    properties["meta"] = {"$ref": reference.format(model="Meta")}
    post = schema["paths"]["/liveness"]["post"]
    post["requestBody"] = {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {"type": "object", "required": ["rgb", "ir"], "properties": properties},
                "encoding": {"meta": {"contentType": "application/json"}},
            }
        },
    }
    content = {MEDIA_TYPE: {"schema": {"$ref": reference.format(model="Problem")}}}
    meanings = {
        "400": "The request cannot be read",
        "401": "A key is needed",
        "413": "The body or an image is too large",
        "415": "Not multipart, or not an image",
        "422": "A part is missing or cannot be used; no face",
        "500": "Unexpected error",
        "503": "Starting, busy, or without a score; see Retry-After",
    }
    needs = {"/liveness": list(meanings), "/readyz": ["503"], "/info": ["401", "503"]}
    for path, statuses in needs.items():
        for operation in schema["paths"][path].values():
            operation["responses"] |= {s: {"description": meanings[s], "content": content} for s in statuses}
    if keyed:
        schema["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        for path in ("/liveness", "/info"):
            for operation in schema["paths"][path].values():
                operation["security"] = [{"key": []}]
    app.openapi_schema = schema
    return schema
