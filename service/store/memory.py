"""In-process store: the default, without dependencies. A restart clears it, and other replicas cannot see its
contents."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Literal

from service.store.base import Claim, Nonce, SessionRecord, StoreLimits, StoreStatus
from service.store.rate_limit import RateLimiter
from service.store.replay import IdempotencyStore, NonceStore
from service.store.sessions import LoginFailures, Sessions


class MemoryStore:
    """Store in bounded dictionaries. ``now_s``: monotonic clock in seconds."""

    def __init__(self, limits: StoreLimits, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._nonces = NonceStore(limits.replay_s, limits.replays)
        self._answers = IdempotencyStore(limits.replay_s, limits.replays)
        self._sessions = Sessions(limits.session_s)
        self._failures = LoginFailures(limits.failures, limits.failures_s)
        self._rates = RateLimiter(limits.rate_per_s, limits.burst)

    async def use_nonce(self, nonce: Nonce) -> Literal["new", "used"] | float:
        return self._nonces.use(nonce.caller, nonce.text, self._now_s())

    async def release_nonce(self, nonce: Nonce) -> None:
        self._nonces.release(nonce.caller, nonce.text)

    async def claim(self, claim: Claim) -> bytes | Literal["new", "busy", "conflict"] | float:
        own = claim.caller, claim.key
        kept = self._answers.get(own, claim.digest, self._now_s())
        if kept is None:
            self._answers.put(own, claim.digest, b"", self._now_s())
            return "new"
        return kept or "busy"

    async def keep_answer(self, claim: Claim, answer: bytes) -> None:
        self._answers.put((claim.caller, claim.key), claim.digest, answer, self._now_s())

    async def drop_claim(self, claim: Claim) -> None:
        self._answers.drop((claim.caller, claim.key))

    async def begin_session(self, session: str, record: SessionRecord) -> float:
        self._sessions.begin(session, record, self._now_s())
        return 0.0

    async def find_session(self, session: str) -> SessionRecord | None:
        return self._sessions.find(session, self._now_s())

    async def end_session(self, session: str) -> None:
        self._sessions.end(session)

    async def count_failure(self, address: str) -> float:
        return self._failures.count(address, self._now_s())

    async def failure_wait_s(self, address: str) -> float:
        return self._failures.wait_s(address, self._now_s())

    async def acquire(self, caller: str) -> float:
        return self._rates.acquire(caller, self._now_s())

    def status(self) -> StoreStatus:
        return StoreStatus()

    async def watch(self) -> None:
        # There is no connection to maintain. Run until cancelled, like this method of the shared store.
        await asyncio.Event().wait()

    async def close(self) -> None:
        """Do nothing, because there are no resources to release."""
