"""Retry rules: after each attempt, decide between an answer, another attempt after a delay, and an error. Sends
nothing.

A request is repeated only if the service cannot have assessed it yet, or will not assess it a second time:

- The connection failed, so nothing was sent.
- The service refused it temporarily, with 429 or 503 and ``Retry-After``. It has then released the nonce, unless its
  store failed after the decision was made: then the retry is refused with ``replayed_nonce``. If the refusal came from
  a proxy, the nonce may be used up.
- The response was lost, and the request has an idempotency key.
"""

from __future__ import annotations

import random
import ssl
from collections.abc import Callable

import httpx

from adsn.client.answers import Problem
from adsn.client.errors import ConnectionFailed
from adsn.client.replies import Reply, problem_of, refusal_of, retry_after_s
from adsn.client.requests import PreparedRequest
from runtime.core.retry import Backoff
from runtime.core.tls_files import speaks_no_tls

FIRST_PAUSE_S, LAST_PAUSE_S = 0.1, 2.0
RETRIED = (429, 503)
CUT = (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError)
NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


class Attempts:
    """The attempts of one request: at most ``retries`` after the first, all within ``timeout_s``."""

    def __init__(
        self,
        request: PreparedRequest,
        *,
        retries: int,
        timeout_s: float,
        clock: Callable[[], float],
        rng: random.Random | None = None,
    ) -> None:
        self._request, self._left, self._clock = request, retries, clock
        self._timeout_s, self._deadline = timeout_s, clock() + timeout_s
        self._backoff = Backoff(rng, first_s=FIRST_PAUSE_S, last_s=LAST_PAUSE_S, spread=0.5)
        self._lost = False

    def remaining_s(self) -> float:
        """Return the remaining time in seconds.

        Raises:
            ConnectionFailed: No time is left.
        """
        left = self._deadline - self._clock()
        if left <= 0:
            raise ConnectionFailed(f"no answer within {self._timeout_s:g} s.", sent=self._lost)
        return left

    def after_failure(self, error: httpx.TransportError | TimeoutError) -> float:
        """Return the delay before the next attempt, in seconds.

        Raises:
            ConnectionFailed: No attempt is left.
        """
        sent = not isinstance(error, NOT_SENT)
        self._lost = self._lost or sent
        if (sent and not self._request.keyed) or _has_tls_error(error):
            raise self.failure(error) from error
        wait = self._next(self._backoff.next())
        if wait is None:
            raise self.failure(error) from error
        return wait

    def failure(self, error: httpx.TransportError | TimeoutError) -> ConnectionFailed:
        """Return the exception for a failed attempt that is not followed by another one."""
        sent = self._lost or not isinstance(error, NOT_SENT)
        if isinstance(error, (httpx.TimeoutException, TimeoutError)):
            return ConnectionFailed(f"no answer within {self._timeout_s:g} s.", sent=sent)
        text = (str(error) or type(error).__name__).rstrip(".")
        return ConnectionFailed(f"{text}.{_scheme_advice(error)}", sent=sent)

    def after_reply(self, reply: Reply) -> float | None:
        """Return the delay before the next attempt in seconds, or None if the reply is an answer.

        Raises:
            RequestRefused: The service refused the request, and no attempt is left.
        """
        if reply.status == 200:
            return None
        problem, retry_after = problem_of(reply), retry_after_s(reply)
        # If a proxy gives up, it is unknown whether the service has assessed the request.
        self._lost = self._lost or problem is None
        wait = None
        if problem is not None and problem.code == "idempotency_conflict" and self._lost:
            # The service is still assessing the earlier attempt, whose response was lost.
            wait = self._next(self._backoff.next())
        elif retry_after is not None and self._may_return(reply, problem):
            wait = self._next(retry_after)
        if wait is None:
            raise refusal_of(reply)
        return wait

    def _may_return(self, reply: Reply, problem: Problem | None) -> bool:
        if reply.status not in RETRIED:
            return False
        if problem is not None:
            return problem.retryable
        return self._request.keyed or not self._request.nonce

    def _next(self, wait_s: float) -> float | None:
        """Count the next attempt and return its delay, or None if no attempt or not enough time is left."""
        if self._left <= 0 or self._clock() + wait_s >= self._deadline:
            return None
        self._left -= 1
        return wait_s


def _scheme_advice(error: httpx.TransportError | TimeoutError) -> str:
    """Return advice if the port may need the other URL scheme (http or https), otherwise an empty string."""
    if speaks_no_tls(error):
        return " The server speaks plain HTTP on this port: use http://, or name its port for TLS."
    if isinstance(error, CUT) and _scheme_of(error) == "http":
        # A port that expects TLS shows itself to a client only by closing the connection without a response.
        return " If the server speaks TLS on this port, use https://."
    return ""


def _scheme_of(error: httpx.TransportError) -> str:
    try:
        return error.request.url.scheme
    except RuntimeError:
        return ""


def _has_tls_error(error: BaseException | None) -> bool:
    """Return whether the certificate of either side was refused, so that another attempt would fail too."""
    while error is not None:
        if isinstance(error, ssl.SSLError):
            return True
        error = error.__cause__ or error.__context__
    return False
