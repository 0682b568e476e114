"""``/v2``: the Open Inference Protocol with binary tensors, which returns raw scores of face crops to remote engines.

These routes return outputs of the network and decide nothing; quality gates, thresholds and decisions are up to the
caller. If the operator hides scores, only a key with the role ``infer`` gets them, because scores are the only purpose
of such a key.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from runtime import __version__
from runtime.core.errors import InvalidBatch
from runtime.engines.base import OUTPUTS, Scores, check_batch
from runtime.engines.remote.oip import HEADER_LENGTH, datatype, pack, unpack
from runtime.liveness.open import LoadedModel
from service.auth.guard import Caller, Guard
from service.http.openapi import problems
from service.http.parsing import require_plain
from service.http.problems import RequestError
from service.http.responses import json_response
from service.liveness.active_model import ActiveModel
from service.liveness.pool import WorkerPool
from service.oip.document import BATCH

log = logging.getLogger("adsn.service")
MAX_BATCH = 64
"""Maximum batch size. A larger batch would occupy a worker for too long; clients split it."""
MAX_ID_CHARS = 128
MODEL_PATH = "/v2/models/{name}"
VERSION_PATH = MODEL_PATH + "/versions/{version}"
INFER_STATUSES = (400, 401, 403, 404, 413, 415, 429, 503)


def describe_model(loaded: LoadedModel) -> dict[str, Any]:
    """Return the metadata of the model. Its ``parameters`` are specific to this project: a remote engine verifies them
    first."""
    engine = loaded.pipeline.engine
    inputs = [{"name": s.name, "datatype": datatype(s.dtype), "shape": [-1, *s.shape]} for s in engine.inputs]
    shapes = {entry.name: [-1, *entry.shape] for entry in loaded.manifest.outputs}
    return {
        "name": loaded.manifest.name,
        "versions": ["1"],
        "platform": f"adsn_{engine.info.backend}",
        "inputs": inputs,
        "outputs": [{"name": n, "datatype": "FP32", "shape": shapes.get(n, [-1])} for n in OUTPUTS],
        "parameters": {
            "model_sha256": loaded.model_sha256,
            "model_version": loaded.manifest.version,
            "precision": engine.info.precision,
            "backend": engine.info.backend,
            "degraded": engine.info.degraded,
        },
    }


def require_model(loaded: LoadedModel, name: str, version: str | None) -> None:
    """Check that ``loaded`` is the requested model; otherwise raise `RequestError` with status 404."""
    if name != loaded.manifest.name:
        raise RequestError(404, "not_found", f"unknown model; this service has {loaded.manifest.name}.")
    if version not in (None, "1"):
        raise RequestError(404, "not_found", "unknown version; the model has version 1 only.")


def wanted_outputs(head: dict[str, Any]) -> dict[str, bool]:
    """Return the requested outputs: name → whether as binary data. Without a list in the request these are all outputs.

    Raises:
        InvalidBatch: an output is unknown, or ``outputs`` is not a list.
    """
    parameters = head.get("parameters") or {}
    listed = head.get("outputs") or [{"name": name} for name in OUTPUTS]
    if not isinstance(parameters, dict) or not isinstance(listed, list):
        raise InvalidBatch("outputs must be a list and parameters an object.")
    found: dict[str, bool] = {}
    for entry in listed:
        if not isinstance(entry, dict) or entry.get("name") not in OUTPUTS:
            raise InvalidBatch(f"unknown output; the model's outputs are {', '.join(OUTPUTS)}.")
        own = entry.get("parameters") or {}
        if not isinstance(own, dict) or "classification" in own or "shared_memory_region" in own:
            raise InvalidBatch("outputs are tensors only; classification and shared memory are not supported.")
        found[entry["name"]] = own.get("binary_data", parameters.get("binary_data_output", False)) is True
    return found


@dataclass(frozen=True, slots=True)
class ScoredBatch:
    """Body of a response, length of its JSON if binary tensors follow, and number of samples scored."""

    body: bytes
    header_length: int | None
    count: int


def check_json(text: bytes, max_bytes: int) -> None:
    """Refuse JSON, before it is parsed, if its parsed values could take more than ``max_bytes``.

    Raises:
        RequestError: 413, the values could take more.
    """
    # Upper bound of the memory: a slot and a number for each value, and a header for each list, object and string. The
    # text exists twice, as bytes and decoded.
    needed = 2 * len(text) + 36 * text.count(b",") + 80 * (text.count(b"[") + text.count(b"{")) + 40 * text.count(b'"')
    if needed > max_bytes:
        raise RequestError(
            413,
            "body_too_large",
            f"parsing this JSON takes up to {needed >> 20} MiB; the limit is {max_bytes >> 20} MiB. Send fewer "
            "samples, or binary tensors.",
        )


def infer(loaded: LoadedModel, body: bytes, header_length: int | None, max_bytes: int) -> ScoredBatch:
    """Score the batch of one request. Runs in a worker. ``max_bytes``: see `check_json`.

    Raises:
        InvalidBatch: the message or its tensors are invalid.
        RequestError: the JSON is too large.
        EngineError: there is no score.
    """
    if header_length is None:
        check_json(body, max_bytes)
    engine = loaded.pipeline.engine
    head, tensors = unpack("inputs", body, header_length)
    wanted = wanted_outputs(head)
    count = check_batch(tensors, engine.inputs)
    if count > MAX_BATCH:
        raise InvalidBatch(f"a batch may have at most {MAX_BATCH} samples; this one has {count}. Send several batches.")
    scores: Scores = engine.infer(tensors)
    answer: dict[str, Any] = {
        "model_name": loaded.manifest.name,
        "model_version": "1",
        "parameters": {"model_sha256": loaded.model_sha256},
    }
    if isinstance(head.get("id"), str):
        answer["id"] = head["id"][:MAX_ID_CHARS]
    given = {name: getattr(scores, name) for name in wanted}
    return ScoredBatch(*pack("outputs", answer, given, [name for name, binary in wanted.items() if not binary]), count)


def header_length_of(request: Request) -> int | None:
    """Return the length of the JSON before binary tensors, or None if there are none.

    Raises:
        RequestError: 415, the body is compressed; 400, the length is not a number.
    """
    require_plain(request.headers)
    given = request.headers.get(HEADER_LENGTH)
    if given is None:
        return None
    if not given.isdecimal() or not given.isascii() or len(given) > 9:
        raise RequestError(400, "malformed_request", f"{HEADER_LENGTH} must be a number.")
    return int(given)


class OpenInference:
    """Handlers of the routes under ``/v2``.

    ``scored``: called for each request with the number of samples. ``max_bytes``: memory limit for the parsed JSON of a
    request. Problem documents of these routes also have a member ``error``; see
    `service.http.problem_document.problem_body`.
    """

    def __init__(
        self,
        guard: Guard,
        model: ActiveModel,
        pool: WorkerPool,
        scored: Callable[[int], None],
        *,
        expose_score: bool,
        max_bytes: int,
    ) -> None:
        self._guard, self._model, self._pool = guard, model, pool
        self._scored, self._expose_score, self._max_bytes = scored, expose_score, max_bytes

    def _require_raw_scores(self, caller: Caller) -> None:
        made_for_it = bool(caller.key_id) and "infer" in caller.roles
        if not self._expose_score and not made_for_it:
            self._guard.refused("forbidden")
            raise RequestError(
                403, "forbidden", "scores are hidden here (expose_score = false); /v2 needs a key with the role infer."
            )

    async def live(self) -> Response:
        return Response()

    async def ready(self) -> Response:
        self._model.require()
        return Response()

    async def server(self, request: Request) -> Response:
        self._require_raw_scores(await self._guard.authorize(request, "infer"))
        return json_response({"name": "adsn", "version": __version__, "extensions": ["binary_tensor_data"]})

    async def about(self, request: Request, name: str) -> Response:
        return await self._about(request, name, None)

    async def about_version(self, request: Request, name: str, version: str) -> Response:
        return await self._about(request, name, version)

    async def able(self, request: Request, name: str) -> Response:
        await self._about(request, name, None)
        return Response()

    async def able_version(self, request: Request, name: str, version: str) -> Response:
        await self._about(request, name, version)
        return Response()

    async def score(self, request: Request, name: str) -> Response:
        return await self._score(request, name, None)

    async def score_version(self, request: Request, name: str, version: str) -> Response:
        return await self._score(request, name, version)

    async def _about(self, request: Request, name: str, version: str | None) -> Response:
        self._require_raw_scores(await self._guard.authorize(request, "infer"))
        loaded = self._model.require()
        require_model(loaded, name, version)
        return json_response(describe_model(loaded))

    async def _score(self, request: Request, name: str, version: str | None) -> Response:
        began = time.perf_counter_ns()
        self._require_raw_scores(await self._guard.admit(request, "infer"))
        length = header_length_of(request)
        body = await request.body()
        with self._model.lease() as loaded:
            require_model(loaded, name, version)
            try:
                scored = await self._pool.run(lambda helper: infer(loaded, body, length, self._max_bytes))
            except InvalidBatch as error:
                raise RequestError(400, "invalid_batch", error.message) from error
        self._scored(scored.count)
        log.debug("%s /v2 %.1f ms", request.state.request_id, (time.perf_counter_ns() - began) / 1e6)
        if scored.header_length is None:
            return Response(scored.body, media_type="application/json")
        headers = {HEADER_LENGTH: str(scored.header_length)}
        return Response(scored.body, headers=headers, media_type="application/octet-stream")


def add_oip_routes(app: FastAPI, handlers: OpenInference) -> None:
    """Add the routes under ``/v2``."""
    title = "Open Inference Protocol: "
    empty: Any = {"response_class": Response}
    tensors: dict[int | str, dict[str, Any]] = {200: {"content": {"application/octet-stream": {}}}}
    app.add_api_route("/v2/health/live", handlers.live, summary=title + "liveness of the process", **empty)
    app.add_api_route(
        "/v2/health/ready",
        handlers.ready,
        summary=title + "readiness of the engine",
        responses=problems(503),
        **empty,
    )
    app.add_api_route("/v2", handlers.server, summary=title + "server metadata", responses=problems(401, 403))
    routes = (
        ("", "GET", handlers.about, handlers.about_version, "model metadata", (401, 403, 404, 503)),
        ("/ready", "GET", handlers.able, handlers.able_version, "readiness of the model", (401, 403, 404, 503)),
        ("/infer", "POST", handlers.score, handlers.score_version, "score crops", INFER_STATUSES),
    )
    # There is one handler for each path, so that the OpenAPI document declares `version` only where the path contains
    # it.
    for ending, method, newest, versioned, told, statuses in routes:
        for route, path, by in ((newest, MODEL_PATH, ""), (versioned, VERSION_PATH, ", by version")):
            app.add_api_route(
                path + ending,
                route,
                methods=[method],
                summary=title + told + by,
                responses={**(tensors if ending == "/infer" else {}), **problems(*statuses)},
                openapi_extra=BATCH if ending == "/infer" else None,
                **(empty if ending == "/ready" else {}),
                operation_id=f"v2_{route.__name__}",
            )
