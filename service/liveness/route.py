"""``POST /liveness`` as a plain ASGI route.

The layers of a framework would take a large part of the time of a request.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal
from urllib.parse import parse_qs

from fastapi import FastAPI
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from runtime.core.errors import AdsnError
from service.audit.trail import DecisionTrail
from service.auth.guard import CallerRole, Guard
from service.config.settings import Settings
from service.http.middleware import DirectMiddleware
from service.http.parsing import (
    CameraRequest,
    Meta,
    RequestContext,
    media_type,
    read_camera_request,
    read_meta,
    require_plain,
    split_multipart,
)
from service.http.problems import RequestError, code_of, problem_of, status_of
from service.liveness.active_model import ActiveModel
from service.liveness.capture import RigPairSource
from service.liveness.contract import LivenessResponse, ResponseContext
from service.liveness.pool import WorkerPool
from service.liveness.scoring import AdjustedModel, ScoringRequest, modalities_of, score_captured, score_upload
from service.store.base import Claim, Nonce, Store

log = logging.getLogger("adsn.service")
MAX_KEY_CHARS = 128
INLINE_HASH_BYTES = 1 << 19
RequestSource = Literal["upload", "camera"]


@dataclass(frozen=True, slots=True)
class CompletedRequest:
    """A ``POST /liveness`` that has ended.

    ``answer``: body of the response if the pair was scored for this request; None for a repeated response and for an
    error. ``code``: code of the error, otherwise empty.
    """

    request_id: str
    source: RequestSource
    status: int
    code: str
    answer: LivenessResponse | None
    seconds: float


RequestObserver = Callable[[CompletedRequest], None]
"""Called on the event loop after each response. It must return at once and must not raise."""


class LivenessRoute:
    """The route. It turns this project's errors into responses; the outermost middleware does so for all others.

    ``observe``: called after each response.
    """

    def __init__(
        self,
        settings: Settings,
        guard: Guard,
        model: ActiveModel,
        pool: WorkerPool,
        camera: RigPairSource,
        trail: DecisionTrail,
        store: Store,
        *,
        observe: RequestObserver = lambda completed: None,
    ) -> None:
        self.settings, self.guard, self.model, self.pool = settings, guard, model, pool
        self.camera, self.trail, self.store, self._observe = camera, trail, store, observe
        self.of_uploads = AdjustedModel(settings.limits.max_age_ms)
        self.of_camera = AdjustedModel(settings.rig.max_age_ms, settings.rig.max_skew_ms)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = time.perf_counter_ns()
        request = Request(scope, receive)
        call = _LivenessCall(self, request, began)
        status, code = 200, ""
        try:
            response = await call.respond()
        except ClientDisconnect:
            # The client has disconnected, so no response is sent.
            return
        except AdsnError as error:
            status, code = status_of(error), code_of(error)
            response = problem_of(error, request_id=call.request_id, path=scope["path"])
        await response(scope, receive, send)
        seconds = (time.perf_counter_ns() - began) / 1e9
        completed = CompletedRequest(call.request_id, call.source, status, code, call.body, seconds)
        # Report from a later callback, so that logging and metrics do not delay the response.
        asyncio.get_running_loop().call_soon(self._report, completed)

    def _report(self, completed: CompletedRequest) -> None:
        answer = completed.answer
        said = completed.code or "repeated" if answer is None else f"{answer['decision']} {','.join(answer['reasons'])}"
        extra: dict[str, Any] = {
            "request_id": completed.request_id,
            "status": completed.status,
            "source": completed.source,
            "ms": round(completed.seconds * 1000, 1),
        }
        if answer is not None:
            extra |= {"decision": answer["decision"], "reasons": answer["reasons"]}
        log.info("%s %s %s", completed.request_id, completed.status, said.rstrip(), extra=extra)
        self._observe(completed)


class _LivenessCall:
    """A request in progress. ``body``: body of the response, once it exists."""

    def __init__(self, route: LivenessRoute, request: Request, began: int) -> None:
        self._route, self._request, self._began = route, request, began
        self.request_id: str = request.state.request_id
        # The owner of claims and nonces. It must not be the request ID, because callers can choose that.
        self._owner = secrets.token_hex(8)
        self.caller = ""
        self.source: RequestSource = "upload"
        self.body: LivenessResponse | None = None

    async def respond(self) -> Response:
        """Return the response.

        Raises:
            AdsnError: the request cannot be answered.
            ClientDisconnect: the client disconnected.
        """
        headers, route = self._request.headers, self._route
        content_type = headers.get("content-type", "")
        # Refuse unauthorised and unanswerable requests before reading the body.
        self.source = "camera" if media_type(content_type) == "json" else "upload"
        require_plain(headers)
        role: CallerRole = "camera" if self.source == "camera" else "score"
        self.caller = (await route.guard.admit(self._request, role)).name
        explain = self._explain()
        route.model.require()
        data = await self._request.body()
        key = headers.get("idempotency-key")
        if key is None:
            return await self._respond_fresh(data, content_type, explain)
        return await self._respond_once(key, data, content_type, explain)

    async def _respond_once(self, key: str, data: bytes, content_type: str, explain: bool) -> Response:
        """Return the stored response for the Idempotency-Key ``key``, or create and store a new one."""
        if not (1 <= len(key) <= MAX_KEY_CHARS and key.isprintable()):
            raise RequestError(
                400, "malformed_request", f"an Idempotency-Key must have 1 to {MAX_KEY_CHARS} printable characters."
            )
        prefixed = self._request.scope["query_string"] + b"\0" + data
        # Hash a large body in a thread, because that takes milliseconds in which the loop could not serve other
        # requests.
        hashed = (
            hashlib.sha256(prefixed)
            if len(data) < INLINE_HASH_BYTES
            else await asyncio.to_thread(hashlib.sha256, prefixed)
        )
        digest = hashed.digest()
        store, claim = self._route.store, Claim(self.caller, key, digest, self._owner)
        kept = await store.claim(claim)
        if kept == "busy":
            raise RequestError(409, "idempotency_conflict", "a request with this Idempotency-Key is in progress.")
        if kept == "conflict":
            raise RequestError(409, "idempotency_conflict", "this Idempotency-Key was used with a different request.")
        if isinstance(kept, float):
            detail = "this API key has reached the limit of Idempotency-Keys (limits.replays). Wait until some expire."
            raise RequestError(429, "rate_limited", detail, retry_after_s=kept)
        if isinstance(kept, bytes):
            return Response(kept, headers={"Idempotent-Replayed": "true"}, media_type="application/json")
        try:
            response = await self._respond_fresh(data, content_type, explain)
            # If the response cannot be stored, it must not be sent, because a retry would get a different one.
            await store.keep_answer(claim, self._repeatable(response))
        except BaseException:
            # No response is sent, so a retry must not find the key claimed. A nonce is released only if nothing was
            # decided (see `_respond_fresh`).
            self.body = None
            await store.drop_claim(claim)
            raise
        return response

    def _repeatable(self, response: Response) -> bytes:
        """Return the response as it is stored for its Idempotency-Key: without images, which are never stored."""
        if self.body is None or "explain" not in self.body:
            return bytes(response.body)
        return json.dumps({k: v for k, v in self.body.items() if k != "explain"}, allow_nan=False).encode()

    async def _respond_fresh(self, data: bytes, content_type: str, explain: bool) -> Response:
        route = self._route
        loaded = route.model.require()
        parts: dict[str, bytes] = {}
        context: Meta | CameraRequest
        if self.source == "upload":
            parts = split_multipart(data, content_type, modalities_of(loaded), route.settings.limits.part_bytes)
            context = read_meta(parts.get("meta"))
        else:
            context = read_camera_request(data)
        nonce = await self._use(context)
        try:
            body = await self._score(context, parts, explain)
            if route.trail.log is not None:
                # This raises if the decision must be logged and cannot be, so the decision is not sent.
                await asyncio.to_thread(route.trail.record, body, self.caller)
        except BaseException:
            if nonce is not None:
                await route.store.release_nonce(nonce)
            raise
        # From here on, the nonce stays used, even if the response cannot be stored and is not sent. It is then unknown
        # whether the store will still return it for the Idempotency-Key, and two responses must not share a nonce.
        if route.trail.attester is not None:
            body["attestation"] = route.trail.sign(body, context.nonce)
        self.body = body
        # Not validated, because that would take more time than parsing the request. NaN is refused.
        return Response(json.dumps(body, allow_nan=False).encode(), media_type="application/json")

    async def _score(self, context: Meta | CameraRequest, parts: dict[str, bytes], explain: bool) -> LivenessResponse:
        route, settings = self._route, self._route.settings
        response_context = ResponseContext(self.request_id, context.session_id, settings.expose_score, time.time_ns())
        if isinstance(context, CameraRequest):
            captured = await route.camera.next_pair(context.timeout_ms / 1000)
            scoring_request = ScoringRequest(response_context, Meta(), 0, 0, self._began, explain)
            with route.model.lease() as loaded:
                used = route.of_camera.of(loaded, captured.box_mapper)
                return await route.pool.run(partial(score_captured, used, captured.pair, scoring_request))
        limits = settings.limits
        scoring_request = ScoringRequest(
            response_context, context, limits.pixels, limits.pair_bytes, self._began, explain
        )
        with route.model.lease() as loaded:
            used = route.of_uploads.of(loaded)
            return await route.pool.run(partial(score_upload, used, parts, scoring_request))

    def _explain(self) -> bool:
        query = self._request.scope["query_string"]
        if not query:
            return False
        given = parse_qs(query.decode("latin-1"), keep_blank_values=True).get("explain", ["false"])
        if given not in (["true"], ["false"]):
            raise RequestError(422, "malformed_request", "explain must be true or false.")
        if given == ["true"] and not self._route.settings.expose_score:
            raise RequestError(403, "forbidden", "explanations are hidden here (expose_score = false).")
        return given == ["true"]

    async def _use(self, context: RequestContext) -> Nonce | None:
        """Mark the nonce of the request as used, if it has one."""
        if context.nonce is None:
            return None
        nonce = Nonce(self.caller, context.nonce, self._owner)
        outcome = await self._route.store.use_nonce(nonce)
        if outcome == "used":
            raise RequestError(409, "replayed_nonce", "this nonce was used before. Make a new one for each request.")
        if outcome != "new":
            raise RequestError(
                429,
                "rate_limited",
                "this API key has reached the limit of nonces (limits.replays). Wait until some expire.",
                retry_after_s=float(outcome),
            )
        return nonce


def add_liveness_route(app: FastAPI, route: LivenessRoute) -> None:
    """Add ``POST /liveness``."""
    # Starlette's `Route` answers other methods with 405. Unlike a function, a class instance is called by Starlette as
    # an ASGI application.
    app.router.routes.append(Route("/liveness", route, methods=["POST"]))
    app.add_middleware(DirectMiddleware, path="/liveness", method="POST", direct=route)
