"""``POST /liveness``: a plain ASGI route, because a framework's layers would be a good part of its time."""

from __future__ import annotations

import logging
import time
from typing import Any

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from runtime.errors import AdsnError
from service.contract import LivenessResponse
from service.openapi import add_model, problems, reference
from service.parse import PARTS, Meta, read_meta, split_multipart
from service.problems import code_of, problem_of, status_of
from service.respond import json_response
from service.scoring import judge
from service.state import Judged, State

log = logging.getLogger("adsn.service")


class Liveness:
    """The route. Errors of this project are answered here; others by the outermost middleware."""

    def __init__(self, state: State) -> None:
        self._state = state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        received = time.perf_counter_ns()
        request = Request(scope, receive)
        request_id = request.state.request_id
        caller, status, code = "", 200, ""
        answer: dict[str, Any] | None = None
        try:
            caller = self._state.authorize(request, "score").name
            answer = await self._judge(request, request_id, received)
            response: Response = json_response(answer)
        except AdsnError as error:
            status, code = status_of(error), code_of(error)
            response = problem_of(error, request_id=request_id, path=scope["path"])
        await response(scope, receive, send)
        if answer is not None:
            log.info("%s %s %s", request_id, answer["decision"], ",".join(answer["reasons"]))
        seconds = (time.perf_counter_ns() - received) / 1e9
        self._state.observe(Judged(request_id, caller, "upload", status, code, answer, seconds))

    async def _judge(self, request: Request, request_id: str, received: int) -> dict[str, Any]:
        state = self._state
        state.model.require()
        parts = split_multipart(await request.body(), request.headers.get("content-type", ""))
        meta = read_meta(parts.get("meta"))
        with state.model.lease() as loaded:
            return await state.pool.run(
                judge,
                loaded,
                state.settings,
                parts["rgb"],
                parts["ir"],
                meta,
                request_id=request_id,
                received_ns=received,
            )


def describe(document: dict[str, Any]) -> None:
    """The route's part of the OpenAPI document."""
    for model in (LivenessResponse, Meta):
        add_model(document, model)
    image = {"type": "string", "format": "binary"}
    properties: dict[str, Any] = {name: image for name in PARTS if name != "meta"}
    properties["meta"] = reference(Meta)
    responses = {
        "200": {"description": "Judged", "content": {"application/json": {"schema": reference(LivenessResponse)}}},
        **{str(status): entry for status, entry in problems(400, 401, 413, 415, 422, 500, 503).items()},
    }
    document["paths"]["/liveness"] = {
        "post": {
            "operationId": "judge",
            "summary": "Judge a pair of images",
            "description": (
                "Judge one pair. A spoof is a 200, and so is a pair too poor to judge (`uncertain`, with reasons)."
            ),
            "requestBody": {
                "required": True,
                "content": {
                    "multipart/form-data": {
                        "schema": {"type": "object", "required": ["rgb", "ir"], "properties": properties},
                        "encoding": {"meta": {"contentType": "application/json"}},
                    }
                },
            },
            "responses": responses,
        }
    }


def mount(app: FastAPI, state: State) -> None:
    """Add ``POST /liveness``."""
    # A class and not a function: Starlette then calls it as an ASGI application.
    app.router.routes.insert(0, Route("/liveness", Liveness(state), methods=["POST"]))
    state.amends.append(describe)
