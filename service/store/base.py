"""Interface to the state about callers that outlives a request.

`service.store.memory` keeps it in this process, `service.store.shared` in Redis or Valkey for all replicas. No image
data passes through here: a store sees names, digests, times, and the answers that an Idempotency-Key may repeat.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, Protocol, get_args

MAX_ANSWER_BYTES = 64 << 10
"""Longest answer that is kept for an Idempotency-Key. An answer without images takes two to four kilobytes."""

Cause = Literal["slow", "unreachable", "untrusted", "denied", "full", "loading", "read_only", "error"]
"""Why a call of a shared store failed."""
CAUSES: tuple[Cause, ...] = get_args(Cause)


@dataclass(frozen=True, slots=True)
class StoreLimits:
    """Lifetimes and counts of what a store keeps.

    ``replay_s``, ``replays``: lifetime of nonces and answers, and their maximum number per caller. ``claim_s``: time
    for which a request may hold its Idempotency-Key without an answer. ``session_s``: lifetime of a session.
    ``failures`` within ``failures_s``: wrong keys allowed per address. ``rate_per_s`` and ``burst``: pairs per caller;
    a rate of 0 means no limit.
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
    """A caller's nonce. ``owner``: random value of the one request that uses the nonce; only that request may
    release it."""

    caller: str
    text: str
    owner: str


@dataclass(frozen=True, slots=True)
class Claim:
    """A caller's Idempotency-Key. ``digest``: SHA-256 of the request that came with it. ``owner``: random value of
    the one request that is scored for it."""

    caller: str
    key: str
    digest: bytes
    owner: str


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """Stored record of a session: the key that began it, and a proof that only its token can reproduce.

    ``key_id`` is empty for the single key of ``ADSN_API_KEY``.
    """

    key_id: str
    proof: str


@dataclass(frozen=True, slots=True)
class StoreStatus:
    """Status of a store. ``shared``: whether other replicas see its contents. ``up``: whether it answers.

    ``conditions``: problems, as name → sentence. ``failures``: failed calls by cause.
    """

    shared: bool = False
    up: bool = True
    conditions: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    failures: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))


class Store(Protocol):
    """Interface of a store. Use it on the event loop.

    Methods raise `StoreUnavailable`, where documented, if a shared store cannot be reached; the request must then be
    refused.
    """

    async def use_nonce(self, nonce: Nonce) -> Literal["new", "used"] | float:
        """Mark the nonce as used and return ``new``; return ``used``, or the seconds until this caller has room again.

        Raises:
            StoreUnavailable: it is unknown whether the nonce was used.
        """

    async def release_nonce(self, nonce: Nonce) -> None:
        """Release a nonce whose request got no answer. If that fails, the nonce stays used and is refused."""

    async def claim(self, claim: Claim) -> bytes | Literal["new", "busy", "conflict"] | float:
        """Claim the key and return ``new``, or return the kept answer.

        Returns ``busy`` while the key's first request is in progress, ``conflict`` if the key came with a different
        request, or the seconds until this caller has room again.

        Raises:
            StoreUnavailable: it is unknown whether there is an answer.
        """

    async def keep_answer(self, claim: Claim, answer: bytes) -> None:
        """Keep ``answer`` for later requests with the same key. Raises as `claim`."""

    async def drop_claim(self, claim: Claim) -> None:
        """Drop the claim of a request without an answer, so that it can be retried. If that fails, the claim
        expires."""

    async def begin_session(self, session: str, record: SessionRecord) -> float:
        """Store a session under the digest of its token. Return 0, or the seconds until its key may begin another.

        Raises:
            StoreUnavailable: the session was not stored.
        """

    async def find_session(self, session: str) -> SessionRecord | None:
        """Return the session with this digest unless it has ended. Raises as `begin_session`."""

    async def end_session(self, session: str) -> None:
        """End the session if it exists. Raises as `begin_session`."""

    async def count_failure(self, address: str) -> float:
        """Count a wrong key of ``address`` and return 0. If it has failed too often, count nothing and return the
        seconds it must wait. While a shared store is unreachable, this process counts by itself."""

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
    """Return the digest under which a session is stored. The token itself is never stored."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()
