"""What the routes of the application share. Made once by `service.app.create_app` and handed to each ``mount``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from starlette.requests import HTTPConnection

from runtime.feed import PairFeed
from service.active import ActiveModel
from service.auth import Caller, Guard, Role
from service.parse import Meta
from service.scoring import Pool
from service.settings import Settings


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
Amend = Callable[[dict[str, Any]], None]
"""Adds to the OpenAPI document what a route has to say of itself that FastAPI cannot know."""
Attest = Callable[[Mapping[str, Any], Meta], str | None]
"""Signs an answer's body; the compact JWS becomes its ``attestation``."""


class Hub(Protocol):
    """Where events for watchers go: `service.events`."""

    def publish(self, name: str, data: Mapping[str, Any]) -> None:
        """Hand ``data`` to everyone who watches. Callable from any thread; returns at once."""
        ...


class Health(Protocol):
    """What else must be well for the service to be ready: `service.health`."""

    def reasons(self) -> list[str]:
        """Why it is not ready, as sentences; empty when it is."""
        ...


@dataclass(slots=True)
class State:
    """Shared by all routes of one application."""

    settings: Settings
    model: ActiveModel
    pool: Pool
    guard: Guard
    feed: PairFeed | None = None
    hub: Hub | None = None
    health: Health | None = None
    attest: Attest | None = None
    observers: list[Observer] = field(default_factory=list)
    amends: list[Amend] = field(default_factory=list)

    def authorize(self, request: HTTPConnection, role: Role) -> Caller:
        """See `Guard.authorize`."""
        return self.guard.authorize(request, role)

    def observe(self, judged: Judged) -> None:
        """Tell every observer."""
        for observer in self.observers:
            observer(judged)
