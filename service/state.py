"""What the routes of the application share. Made once by `service.app.create_app` and handed to each ``mount``."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from starlette.requests import HTTPConnection

from runtime.pairing.feed import PairFeed
from service.auth.guard import Caller, Guard, Role
from service.config.settings import Settings
from service.http.openapi import Amend
from service.http.parsing import Context
from service.http.problems import RequestError
from service.http.rate_limit import Rates
from service.liveness.active_model import ActiveModel
from service.liveness.pool import Pool
from service.monitoring.health import Health
from service.monitoring.metrics import Metrics


@dataclass(frozen=True, slots=True)
class Judged:
    """One ``POST /liveness`` that has ended. ``answer`` is the body of a 200, else None and ``code`` says why."""

    request_id: str
    caller: str
    source: Literal["upload", "camera"]
    status: int
    code: str
    answer: Mapping[str, Any] | None
    seconds: float


Observer = Callable[[Judged], None]
"""Called on the event loop after each answer; must return at once and raise nothing."""
Attest = Callable[[Mapping[str, Any], Context], str | None]
"""Signs an answer's body; the compact JWS becomes its ``attestation``."""
Record = Callable[[Mapping[str, Any], str], None]
"""Writes an answer's body and its caller's name down. Blocks, so it is called in a thread; where it raises, the
answer is not given."""


class Hub(Protocol):
    """Where events for watchers go: `service.monitoring.events`."""

    def publish(self, name: str, data: Mapping[str, Any]) -> None:
        """Hand ``data`` to everyone who watches. Callable from any thread; returns at once."""
        ...

    def close(self) -> None:
        """End everyone's watching, so that the service can."""
        ...


@dataclass(slots=True)
class State:
    """Shared by all routes of one application."""

    settings: Settings
    model: ActiveModel
    pool: Pool
    guard: Guard
    rates: Rates
    health: Health
    metrics: Metrics
    feed: PairFeed | None = None
    hub: Hub | None = None
    attest: Attest | None = None
    record: Record | None = None
    observers: list[Observer] = field(default_factory=list)
    amends: list[Amend] = field(default_factory=list)
    stopping: list[Callable[[], None]] = field(default_factory=list)
    """Called when the service begins to stop, before it waits for requests that are being answered."""

    def authorize(self, request: HTTPConnection, role: Role) -> Caller:
        """See `Guard.authorize`."""
        return self.guard.authorize(request, role)

    def admit(self, request: HTTPConnection, role: Role) -> Caller:
        """The caller, if it may do what ``role`` stands for and has not done it too often: for what costs a score.

        Raises:
            RequestError: 401, 403 as `authorize`; 429 with the time to wait.
        """
        caller = self.authorize(request, role)
        wait_s = self.rates.take(caller.name, time.monotonic())
        if wait_s > 0:
            raise RequestError(429, "rate_limited", "this key has asked too often.", retry_after_s=wait_s)
        return caller

    def observe(self, judged: Judged) -> None:
        """Tell every observer."""
        for observer in self.observers:
            observer(judged)
