"""RFC 9457 problem documents: the one table from errors to HTTP."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from starlette.responses import Response

from runtime import errors
from runtime.errors import AdsnError

MEDIA_TYPE = "application/problem+json"


class RequestError(AdsnError):
    """Something is wrong with a request itself. ``status`` and ``code`` say what."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.request_code = code


STATUS: Mapping[type[AdsnError], int] = {
    errors.NotAnImage: 415,
    errors.TruncatedImage: 422,
    errors.WrongChannels: 422,
    errors.ImageTooLarge: 413,
    errors.InvalidFaceBox: 422,
    errors.NoFace: 422,
    errors.InputError: 422,
    errors.NotReady: 503,
    errors.Overloaded: 503,
    errors.EngineError: 503,
    errors.AdsnError: 500,
}
"""Error → status. An error that is not listed takes the status of its nearest listed ancestor."""

RETRY_AFTER = {errors.NotReady.code: "2", errors.Overloaded.code: "1"}

TITLES = {
    "missing_part": "A part is missing",
    "unknown_part": "A part is not known",
    "malformed_request": "The request cannot be read",
    "body_too_large": "The request is too large",
    "unsupported_media": "The request's media type is not accepted",
    "unauthorized": "A key is needed",
    "not_found": "No such resource",
    "method_not_allowed": "The method is not allowed here",
    "not_an_image": "Not an image",
    "truncated_image": "The image is not whole",
    "wrong_channels": "The image has the wrong channels",
    "image_too_large": "The image is too large",
    "invalid_face_box": "The face box is invalid",
    "no_face": "No face was found",
    "not_ready": "The service is starting",
    "overloaded": "The service is busy",
    "inference_failed": "The engine gave no score",
    "internal_error": "Something went wrong in the service",
}


def status_of(error: AdsnError) -> int:
    """HTTP status of an error."""
    if isinstance(error, RequestError):
        return error.status
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def code_of(error: AdsnError) -> str:
    """Stable code of an error."""
    return error.request_code if isinstance(error, RequestError) else error.code


def problem(
    status: int, code: str, detail: str, *, request_id: str, path: str, retryable: bool = False, **extra: Any
) -> Response:
    """A problem document as a response."""
    body = {
        "type": f"urn:adsn:problem:{code}",
        "title": TITLES.get(code, HTTPStatus(status).phrase),
        "status": status,
        "detail": detail,
        "instance": path,
        "code": code,
        "retryable": retryable,
        "request_id": request_id,
        **extra,
    }
    headers = {"Retry-After": RETRY_AFTER[code]} if code in RETRY_AFTER else {}
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return Response(json.dumps(body).encode(), status, headers, MEDIA_TYPE)


def problem_of(error: AdsnError, *, request_id: str, path: str) -> Response:
    """The problem document of one of this project's errors."""
    code = code_of(error)
    # A caller that only reads ``decision`` must fail closed too.
    extra = {"decision": "uncertain", "reasons": ["no_face"]} if isinstance(error, errors.NoFace) else {}
    return problem(
        status_of(error), code, error.message, request_id=request_id, path=path, retryable=error.retryable, **extra
    )
