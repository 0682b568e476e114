"""What the routes remember of callers between requests, behind one interface.

`service.store.memory` keeps it in this process, `service.store.shared` in Redis or Valkey for every replica. Nothing of
a picture passes through here: a store sees names, digests, times, and the answers that an Idempotency-Key may repeat.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, Protocol, get_args

MAX_ANSWER_BYTES = 64 << 10
"""Longest answer that is kept for an Idempotency-Key. One without pictures takes two to four kilobytes."""

Cause = Literal["slow", "unreachable", "untrusted", "denied", "full", "loading", "read_only", "error"]
"""Why a call of a shared store failed."""
CAUSES: tuple[Cause, ...] = get_args(Cause)


@dataclass(frozen=True, slots=True)
class StoreLimits:
    """How long things are remembered, and how many of them.

    ``replay_s``, ``replays``: lifetime of nonces and answers, and how many one caller has. ``claim_s``: how long a
    request may hold its Idempotency-Key without an answer. ``session_s``: lifetime of a session. ``failures`` within
    ``failures_s``: wrong keys of one address. ``rate_per_s`` and ``burst``: pairs of one caller; a rate of 0 is none.
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
    """A caller's nonce. ``owner``: random, of the one request that uses it and alone may give it back."""

    caller: str
    text: str
    owner: str


@dataclass(frozen=True, slots=True)
class Claim:
    """A caller's Idempotency-Key. ``digest``: SHA-256 of the request it came with. ``owner``: random, of the one
    request that is judged for it."""

    caller: str
    key: str
    digest: bytes
    owner: str


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """What is kept of a session: which key began it, and a proof that only the holder of its token can be asked for.

    ``key_id`` is empty for the single key of ``ADSN_API_KEY``.
    """

    key_id: str
    proof: str


@dataclass(frozen=True, slots=True)
class StoreStatus:
    """How a store is. ``shared``: whether other replicas see it. ``up``: whether it answers.

    ``conditions``: what is wrong, as name → sentence. ``failures``: calls that failed, by cause.
    """

    shared: bool = False
    up: bool = True
    conditions: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    failures: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))


class Store(Protocol):
    """What the service remembers. Used on the event loop.

    Methods that say so raise `StoreUnavailable` where a shared store cannot be asked: the request must be refused then.
    """

    async def use_nonce(self, nonce: Nonce) -> Literal["new", "used"] | float:
        """Return ``new``, and from now on it is used; ``used``; or the seconds until this caller has room again.

        Raises:
            StoreUnavailable: nobody knows whether it was used.
        """

    async def release_nonce(self, nonce: Nonce) -> None:
        """Forget a nonce whose request got no answer. Where that fails it stays used, so it is refused."""

    async def claim(self, claim: Claim) -> bytes | Literal["new", "busy", "conflict"] | float:
        """Return the kept answer; ``new``, and the key is claimed; ``busy`` while its first request is judged;
        ``conflict`` where it came with another request; or the seconds until this caller has room again.

        Raises:
            StoreUnavailable: nobody knows whether there is an answer.
        """

    async def keep_answer(self, claim: Claim, answer: bytes) -> None:
        """Keep ``answer`` for who comes with the same key. Raises as `claim`."""

    async def drop_claim(self, claim: Claim) -> None:
        """There is no answer, so the same request may be tried again. Where that fails the claim ends by itself."""

    async def begin_session(self, session: str, record: SessionRecord) -> float:
        """Keep a session by the digest of its token. Returns 0, or the seconds until its key may begin another.

        Raises:
            StoreUnavailable: it was not kept.
        """

    async def find_session(self, session: str) -> SessionRecord | None:
        """Return the session with this digest if it has not ended. Raises as `begin_session`."""

    async def end_session(self, session: str) -> None:
        """End it, if there is such a one. Raises as `begin_session`."""

    async def count_failure(self, address: str) -> float:
        """Count a wrong key of ``address``, and return 0. Where it has failed too often, count nothing and return the
        seconds that it has to wait. A store that is away counts in this process."""

    async def failure_wait_s(self, address: str) -> float:
        """Return the seconds that ``address`` has to wait; 0 when it has not failed too often."""

    async def take(self, caller: str) -> float:
        """Return 0 when ``caller`` may ask now, else the seconds until it may. A store that is away lets each process
        count by itself."""

    def status(self) -> StoreStatus:
        """Return how the store is."""

    async def watch(self) -> None:
        """Look after the connection until cancelled."""

    async def close(self) -> None:
        """Let go of the connections."""


def session_digest(token: str) -> str:
    """Return what a session is kept under. The token itself is stored nowhere."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()
