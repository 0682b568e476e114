"""Who may ask for what."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import Literal

from starlette.requests import HTTPConnection

from service.problems import RequestError
from service.settings import Settings

Role = Literal["score", "camera", "metrics", "admin"]
"""``score``: judge uploaded pairs. ``camera``: judge and see pairs of the attached rig. ``metrics``: counters.
``admin``: everything, and what changes the running service."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. ``name`` separates callers in rate limits and nonces, and names them in logs; it is not the key."""

    name: str


class Guard:
    """Knows the keys."""

    def __init__(self, settings: Settings) -> None:
        self._key = settings.api_key.get_secret_value().encode() if settings.api_key else None

    @property
    def keyed(self) -> bool:
        """Whether callers need a key at all."""
        return self._key is not None

    def authorize(self, request: HTTPConnection, role: Role) -> Caller:
        """The caller, if it may do what ``role`` stands for.

        Raises:
            RequestError: 401 no key or a wrong one, 403 a key without that role.
        """
        if self._key is None:
            return Caller("anyone")
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        given = token if scheme.lower() == "bearer" else request.headers.get("x-api-key", "")
        if not hmac.compare_digest(given.encode(), self._key):
            raise RequestError(401, "unauthorized", "send the API key as Authorization: Bearer KEY, or as X-API-Key.")
        return Caller("key")
