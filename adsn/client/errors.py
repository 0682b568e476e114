"""Exceptions of the client. An exception is not an answer, so it must never open anything."""

from __future__ import annotations

from adsn.client.answers import Problem
from runtime.core.errors import AdsnError


class ClientError(AdsnError):
    """A call did not result in an answer."""

    code = "client_error"


class ConnectionFailed(ClientError):
    """The service could not be reached, or did not answer in time.

    ``sent``: whether the service may have received the request. Its nonce may then be used up.
    """

    code = "connection_failed"
    retryable = True

    def __init__(self, message: str, *, sent: bool) -> None:
        super().__init__(message)
        self.sent = sent


class RequestRefused(ClientError):
    """The service refused the request.

    ``status``: HTTP status. ``problem``: problem document, None if the response came from elsewhere, such as a proxy.
    ``retry_after_s``: delay in seconds after which the same request may succeed, if the service gives one.
    """

    code = "request_refused"

    def __init__(self, message: str, status: int, problem: Problem | None, retry_after_s: float | None) -> None:
        super().__init__(message)
        self.status, self.problem, self.retry_after_s = status, problem, retry_after_s

    @property
    def problem_code(self) -> str:
        """Stable code of the problem (docs/errors.md); empty without a problem document."""
        return self.problem.code if self.problem is not None else ""


class InvalidAnswer(ClientError):
    """The response is not valid according to version 1 of the contract."""

    code = "invalid_answer"
