"""Interface to the state about callers that outlives a request.

`service.store.memory` keeps this state in the process, `service.store.shared` in Redis or Valkey for all replicas. A
store gets no image data, only names, digests, times, and responses stored for an Idempotency-Key.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, Protocol, get_args

MAX_ANSWER_BYTES = 64 << 10
"""Maximum length of a response stored for an Idempotency-Key. A response without images takes two to four kilobytes."""

Cause = Literal["slow", "unreachable", "untrusted", "denied", "full", "loading", "read_only", "error"]
"""Cause of a failed call to a shared store."""
CAUSES: tuple[Cause, ...] = get_args(Cause)


@dataclass(frozen=True, slots=True)
class StoreLimits:
    """Limits of a store.

    ``replay_s``: lifetime of nonces and stored responses. ``replays``: their maximum number per caller. ``claim_s``:
    time for which a request may hold its Idempotency-Key without a response. ``session_s``: lifetime of a session.
    ``failures``, ``failures_s``: wrong keys allowed per address, and the time window in which they are counted.
    ``rate_per_s``, ``burst``: rate limit of pairs per caller; a rate of 0 means no limit.
    """

    replay_s: float
    replays: int
    claim_s: float
    session_s: float
    failures: int
    failures_s: float
    rate_per_s: float
    burst: int


@dataclass(frozen=True, slots=True)
class Nonce:
    """A caller's nonce. ``owner``: random value of the request that uses the nonce; only that request may release
    it."""

    caller: str
    text: str
    owner: str


@dataclass(frozen=True, slots=True)
class Claim:
    """A caller's Idempotency-Key. ``digest``: SHA-256 of the request sent with it. ``owner``: random value of the
    request that is scored for it."""

    caller: str
    key: str
    digest: bytes
    owner: str


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """Stored record of a session: the key with which it was begun, and a proof that only its token can reproduce.

    ``key_id``: id of that key; empty for the single key in ``ADSN_API_KEY``.
    """

    key_id: str
    proof: str


@dataclass(frozen=True, slots=True)
class StoreStatus:
    """Status of a store.

    ``shared``: whether other replicas see its contents. ``up``: whether it answers. ``conditions``: problems, name →
    sentence. ``failures``: number of failed calls by cause.
    """

    shared: bool = False
    up: bool = True
    conditions: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    failures: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))


class Store(Protocol):
    """A store. Call its methods from the event loop.

    Where documented, methods raise `StoreUnavailable` if a shared store cannot be reached. The request must then be
    refused.
    """

    async def use_nonce(self, nonce: Nonce) -> Literal["new", "used"] | float:
        """Mark a nonce as used and return ``new``.

        Returns ``used`` if it was used before, or, if the caller has too many nonces, the seconds until there is room
        again.

        Raises:
            StoreUnavailable: it is unknown whether the nonce was used.
        """

    async def release_nonce(self, nonce: Nonce) -> None:
        """Release a nonce whose request got no decision. If that fails, the nonce stays marked as used."""

    async def claim(self, claim: Claim) -> bytes | Literal["new", "busy", "conflict"] | float:
        """Claim an Idempotency-Key and return ``new``, or return the response stored for it.

        Returns ``busy`` while the first request with the key is in progress, ``conflict`` if the key was used with a
        different request, or, if the caller has too many keys, the seconds until there is room again.

        Raises:
            StoreUnavailable: it is unknown whether there is a stored response.
        """

    async def keep_answer(self, claim: Claim, answer: bytes) -> None:
        """Store the response ``answer`` for later requests with the same key. Raises the same errors as `claim`."""

    async def drop_claim(self, claim: Claim) -> None:
        """Drop the claim of a request that got no response, so that it can be retried. If that fails, the claim
        expires."""

    async def begin_session(self, session: str, record: SessionRecord) -> float:
        """Store a session under the digest of its token.

        Returns 0, or the seconds until another session may be begun with its key.

        Raises:
            StoreUnavailable: the session was not stored.
        """

    async def find_session(self, session: str) -> SessionRecord | None:
        """Return the session with this digest, or None if it has ended. Raises the same errors as `begin_session`."""

    async def end_session(self, session: str) -> None:
        """End the session if it exists. Raises the same errors as `begin_session`."""

    async def count_failure(self, address: str) -> float:
        """Count a wrong key from ``address`` and return 0.

        If the address has failed too often, nothing is counted and the result is the seconds that it must wait. While a
        shared store is unreachable, each process counts separately.
        """

    async def failure_wait_s(self, address: str) -> float:
        """Return the seconds that ``address`` must wait; 0 if it has not failed too often."""

    async def acquire(self, caller: str) -> float:
        """Return 0 if ``caller`` may send a request now, else the seconds until it may. While a shared store is
        unreachable, each process counts by itself."""

    def status(self) -> StoreStatus:
        """Return the status of the store."""

    async def watch(self) -> None:
        """Maintain the connection until cancelled."""

    async def close(self) -> None:
        """Close the connections."""


def session_digest(token: str) -> str:
    """Return the digest of a session token, under which the session is stored. The token itself is never stored."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()
