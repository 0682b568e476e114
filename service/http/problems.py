"""Map errors to HTTP responses with problem documents (RFC 9457). This is the only place that does.

`service.http.problem_catalogue` documents each code.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from runtime.core import errors
from runtime.core.errors import AdsnError
from service.http.problem_catalogue import PROBLEMS
from service.http.problem_document import problem_body

MEDIA_TYPE = "application/problem+json"


RETRY_AFTER = {"not_ready": 2, "overloaded": 1, "rate_limited": 1, "inference_failed": 1, "capture_timeout": 1}
"""Code → seconds to wait before a retry, unless the error itself gives a time."""


class RequestError(AdsnError):
    """The request itself is invalid. ``status`` and ``code`` (one of `PROBLEMS`) say why.

    ``retry_after_s``: time after which a retry may succeed. ``extra``: further members of the problem document.
    """

    def __init__(
        self, status: int, code: str, message: str, *, retry_after_s: float | None = None, **extra: Any
    ) -> None:
        super().__init__(message)
        assert status in PROBLEMS[code].statuses, f"{code} does not come with {status}"
        self.status = status
        self.request_code = code
        self.retry_after_s = retry_after_s
        self.extra = extra


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
    errors.CaptureError: 503,
    errors.AuditUnavailable: 503,
    errors.StoreUnavailable: 503,
    errors.AdsnError: 500,
}
"""Error class → HTTP status. A class that is not listed has the status of its nearest listed base class."""


def status_of(error: AdsnError) -> int:
    """Return the HTTP status of an error."""
    if isinstance(error, RequestError):
        return error.status
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def code_of(error: AdsnError) -> str:
    """Return the stable code of an error."""
    return error.request_code if isinstance(error, RequestError) else error.code


def problem(
    status: int,
    code: str,
    detail: str,
    *,
    request_id: str,
    path: str,
    retry_after_s: float | None = None,
    **extra: Any,
) -> Response:
    """Return a problem document as a response."""
    body = problem_body(status, code, detail, request_id, path, **extra)
    headers = {}
    wait = retry_after_s if retry_after_s is not None else RETRY_AFTER.get(code)
    if wait is not None:
        # Rounded up, because a caller that retries a moment too early is refused again.
        headers["Retry-After"] = str(max(1, math.ceil(wait)))
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return Response(json.dumps(body).encode(), status, headers, MEDIA_TYPE)


def problem_of(error: AdsnError, *, request_id: str, path: str) -> Response:
    """Return the problem document of one of this project's errors."""
    extra: dict[str, Any] = {}
    wait = None
    if isinstance(error, RequestError):
        extra, wait = dict(error.extra), error.retry_after_s
    elif isinstance(error, errors.StoreUnavailable):
        wait = error.retry_after_s
    elif isinstance(error, errors.NoFace):
        # Callers that read only ``decision`` must be safe too.
        extra = {"decision": "uncertain", "reasons": ["no_face"]}
    return problem(
        status_of(error),
        code_of(error),
        error.message,
        request_id=request_id,
        path=path,
        retry_after_s=wait,
        **extra,
    )
