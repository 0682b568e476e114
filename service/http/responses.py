"""Responses without the validation of the framework, which would take more time than parsing the request."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from runtime.core.errors import AdsnError
from service.http.problems import problem, problem_of

HTTP_ERRORS = {
    404: ("not_found", "unknown path; see /docs."),
    405: (
        "method_not_allowed",
        "this path does not support the method. The Allow header lists those it supports; see /docs.",
    ),
}


def json_response(body: Mapping[str, Any]) -> Response:
    """Return ``body`` as a JSON response. NaN is refused."""
    return Response(json.dumps(body, allow_nan=False).encode(), media_type="application/json")


def add_error_handlers(app: FastAPI) -> None:
    """Add handlers that convert every error raised in a route to a problem document."""

    def answer(request: Request, status: int, code: str, detail: str) -> Response:
        return problem(status, code, detail, request_id=request.state.request_id, path=request.url.path)

    async def own(request: Request, error: Exception) -> Response:
        assert isinstance(error, AdsnError)
        return problem_of(error, request_id=request.state.request_id, path=request.url.path)

    async def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        code, detail = HTTP_ERRORS.get(error.status_code, ("malformed_request", "the request cannot be served."))
        response = answer(request, error.status_code, code, detail)
        response.headers.update(error.headers or {})
        return response

    async def invalid(request: Request, error: Exception) -> Response:
        return answer(request, 422, "malformed_request", "the request's parameters are invalid; see /docs.")

    app.add_exception_handler(AdsnError, own)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(RequestValidationError, invalid)
