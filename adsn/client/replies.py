"""Complete responses of the service, and how to read the values in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from pydantic import ValidationError

from adsn.client.answers import Answer, Condition, Info, Problem, Readiness, Value
from adsn.client.errors import InvalidAnswer, RequestRefused
from adsn.client.requests import PreparedRequest

MAX_ANSWER_BYTES = 32 << 20
"""Maximum size of a response, larger than any answer. With ``explain`` an answer contains two images of a crop."""
Found = TypeVar("Found", bound=Value)


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete response. ``headers``: values by lower-case name."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def require_size(size: int) -> None:
    """Check that a body is not too large; otherwise raise `InvalidAnswer`."""
    if size > MAX_ANSWER_BYTES:
        raise InvalidAnswer(f"the answer is larger than {MAX_ANSWER_BYTES >> 20} MiB.")


def answer_of(reply: Reply, request: PreparedRequest) -> Answer:
    """Return the answer in a response with status 200.

    Raises:
        InvalidAnswer: The body is not an answer, or is the answer to a different request.
    """
    answer = _read(Answer, reply)
    if answer.session_id != request.session_id:
        raise InvalidAnswer(
            f"the answer is for session {answer.session_id!r}; the request was for {request.session_id!r}."
        )
    return answer.model_copy(update={"replayed": reply.headers.get("idempotent-replayed") == "true"})


def info_of(reply: Reply) -> Info:
    """Return the body of ``/info``. Raises `InvalidAnswer` if it is not valid."""
    return _read(Info, reply)


class _Conditions(Value):
    conditions: tuple[Condition, ...]


def readiness_of(reply: Reply) -> Readiness:
    """Return the content of ``/readyz``.

    Raises:
        RequestRefused: The response came from elsewhere. InvalidAnswer: The body is not valid.
    """
    problem = problem_of(reply)
    if reply.status != 200 and (problem is None or problem.code != "not_ready"):
        raise refusal_of(reply)
    return Readiness(ready=reply.status == 200, conditions=_read(_Conditions, reply).conditions)


def problem_of(reply: Reply) -> Problem | None:
    """Return the problem document in a response, or None if it is not one from the service."""
    if reply.headers.get("content-type", "").partition(";")[0] != "application/problem+json":
        return None
    try:
        problem = Problem.model_validate_json(reply.body)
    except ValidationError:
        return None
    return problem if problem.type == f"urn:adsn:problem:{problem.code}" else None


def retry_after_s(reply: Reply) -> float | None:
    """Return the seconds in ``Retry-After``, or None if it is absent or a date."""
    given = reply.headers.get("retry-after", "").strip()
    return float(given) if given.isascii() and given.isdecimal() and len(given) < 9 else None


def refusal_of(reply: Reply) -> RequestRefused:
    """Return the exception for a response that is not an answer."""
    problem = problem_of(reply)
    if problem is not None:
        message = f"{problem.code}: {problem.detail}"
    elif 300 <= reply.status < 400:
        message = f"status {reply.status}: redirects are not followed. Give the client the final address."
    else:
        message = f"status {reply.status} without a problem document: something other than adsn-serve answered."
    return RequestRefused(message, reply.status, problem, retry_after_s(reply))


def _read(kind: type[Found], reply: Reply) -> Found:
    try:
        return kind.model_validate_json(reply.body)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the body"
        raise InvalidAnswer(
            f"the response violates contract version 1: {where}: {first['msg']}. Is this the address of adsn-serve?"
        ) from error
