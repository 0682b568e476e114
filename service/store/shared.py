"""Store shared by all replicas, in Redis or Valkey.

While the store is unreachable, requests with nonces, Idempotency-Keys or sessions are refused with
``store_unavailable``, and rates are limited per process. Wrong keys are always counted in each process as well, so
login attempts are never unlimited.

After a failed call no further call waits: all calls fail at once until a background probe gets an answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

from runtime.config.store import StoreSettings
from runtime.core.errors import ConfigError, StoreUnavailable
from service.store.base import MAX_ANSWER_BYTES, Cause, Claim, Nonce, SessionRecord, StoreLimits, StoreStatus
from service.store.link import CONNECT_S, SENTENCES, StoreFailure, StoreLink
from service.store.rate_limit import RateLimiter
from service.store.scripts import (
    BEAT,
    BEGIN,
    CLAIM,
    DROP,
    END,
    FAILURE,
    FIND,
    KEEP,
    NONCE,
    RATE,
    RELEASE,
    Script,
)
from service.store.sessions import LoginFailures
from service.store.store_keys import StoreKeys

log = logging.getLogger("adsn.store")
BEAT_S = 1.0
"""Interval in seconds at which a replica compares the ledger's count of all nonces ever used with the highest count
that it has seen, to detect data loss."""
PROBE_S = 0.25
"""Interval in seconds at which a failed store is probed."""
SETTLE_S = 3 * BEAT_S
"""Time in seconds for which nonces are refused after a restart of the store, so that every replica can compare the
numbers first."""
LEDGER_S = 3600.0
SESSIONS = 256
"""Maximum number of sessions per key, as in the in-process store."""
BUSY, ANSWERED = b"B", b"A"
DIGEST_BYTES = 32


OWED = 1024
"""Maximum number of undo calls remembered while the store is unreachable. If there are more, the oldest are dropped,
and their claims last until they expire."""


class _Call(NamedTuple):
    script: Script
    keys: tuple[str, ...]
    arguments: tuple[str | bytes, ...]


class SharedStore:
    """Store at ``settings.url``.

    ``settle_s`` and ``beat_s``: see `SETTLE_S` and `BEAT_S`. ``observe`` gets the duration of each answered call, in
    seconds.

    Raises:
        ConfigError: redis-py is not installed, or a TLS file cannot be used.
    """

    def __init__(
        self,
        settings: StoreSettings,
        limits: StoreLimits,
        *,
        settle_s: float,
        beat_s: float,
        observe: Callable[[float], None] = lambda seconds: None,
    ) -> None:
        if settings.address is None:
            raise ConfigError("store.url is not set.")
        self._name, self._keys = str(settings.address), StoreKeys(settings.prefix)
        self._limits, self._timeout_s = limits, settings.timeout_ms / 1000
        self._link = StoreLink(settings)
        self._observe, self._beat_s = observe, beat_s
        # Counts of this process: all wrong keys, and rates while the store is unreachable.
        self._failures = LoginFailures(limits.failures, limits.failures_s)
        self._rates = RateLimiter(limits.rate_per_s, limits.burst)
        self._seen = 0
        hold_s = max(limits.replay_s, settle_s)
        self._terms = (_ms(settle_s), _ms(hold_s), _ms(max(LEDGER_S, 2 * hold_s)))
        self._down: Cause | Literal["starting"] | None = "starting"
        self._down_since_s = time.monotonic()
        self._evicts = ""
        self._closed_until_s, self._lost = 0.0, False
        self._counts: Counter[str] = Counter()
        self._owed: deque[_Call] = deque(maxlen=OWED)
        self._wake = asyncio.Event()

    # Calls by the routes.

    async def use_nonce(self, nonce: Nonce) -> Literal["new", "used"] | float:
        if self._evicts:
            raise StoreUnavailable(self._evicts, retry_after_s=30)
        period = _ms(self._limits.replay_s)
        keys = self._keys.nonce(nonce), self._keys.count("nonces", nonce.caller)
        outcome, count, wait_ms = await self._run(
            NONCE,
            (self._keys.ledger, *keys),
            (str(self._seen), *self._terms, nonce.owner, period, str(self._limits.replays)),
            undo=_Call(RELEASE, keys, (nonce.owner,)),
        )
        self._seen = max(self._seen, count)
        if outcome >= 3:
            self._closed(wait_ms / 1000, lost=outcome == 4)
            raise StoreUnavailable(self._closed_sentence(), retry_after_s=wait_ms / 1000)
        if outcome == 2:
            return float(wait_ms / 1000)
        return "new" if outcome == 1 else "used"

    async def release_nonce(self, nonce: Nonce) -> None:
        keys = self._keys.nonce(nonce), self._keys.count("nonces", nonce.caller)
        await self._undo(_Call(RELEASE, keys, (nonce.owner,)))

    async def claim(self, claim: Claim) -> bytes | Literal["new", "busy", "conflict"] | float:
        period = _ms(self._limits.replay_s)
        kept = await self._run(
            CLAIM,
            (self._keys.answer(claim), self._keys.count("answers", claim.caller)),
            (_claimed(claim), _ms(self._limits.claim_s), period, str(self._limits.replays)),
            undo=self._drop(claim),
        )
        if not isinstance(kept, bytes):
            return float(kept[0] / 1000) if kept[0] else "new"
        kind, digest, rest = kept[:1], kept[1 : 1 + DIGEST_BYTES], kept[1 + DIGEST_BYTES :]
        if digest != claim.digest:
            return "conflict"
        return rest if kind == ANSWERED else "busy"

    async def keep_answer(self, claim: Claim, answer: bytes) -> None:
        if len(answer) > MAX_ANSWER_BYTES:
            log.warning("an answer of %d bytes is too long to be kept for its Idempotency-Key", len(answer))
            await self.drop_claim(claim)
            return
        kept = ANSWERED + claim.digest + answer
        await self._run(KEEP, (self._keys.answer(claim),), (_claimed(claim), kept, _ms(self._limits.replay_s)))

    async def drop_claim(self, claim: Claim) -> None:
        await self._undo(self._drop(claim))

    async def begin_session(self, session: str, record: SessionRecord) -> float:
        keys = self._keys.session(session), self._keys.count("sessions", record.key_id)
        value = f"{record.key_id}:{record.proof}"
        wait_ms = await self._run(BEGIN, keys, (value, _ms(self._limits.session_s), str(SESSIONS)))
        return float(wait_ms / 1000)

    async def find_session(self, session: str) -> SessionRecord | None:
        found = await self._run(FIND, (self._keys.session(session),), ())
        if found is None:
            return None
        key_id, _, proof = found.decode("ascii", "replace").partition(":")
        return SessionRecord(key_id, proof)

    async def end_session(self, session: str) -> None:
        await self._run(END, (self._keys.session(session),), ())

    async def count_failure(self, address: str) -> float:
        # Counted here too, so that the count survives when the store becomes unreachable.
        return self._failures.count(address, time.monotonic()) or await self._shared_failures(address, counted=True)

    async def failure_wait_s(self, address: str) -> float:
        return self._failures.wait_s(address, time.monotonic()) or await self._shared_failures(address, counted=False)

    async def acquire(self, caller: str) -> float:
        limits = self._limits
        if limits.rate_per_s == 0:
            return 0.0
        try:
            wait_us = await self._run(
                RATE, (self._keys.rate(caller),), (repr(1e6 / limits.rate_per_s), str(limits.burst))
            )
        except StoreUnavailable:
            return self._rates.acquire(caller, time.monotonic())
        return float(wait_us / 1e6)

    async def _shared_failures(self, address: str, *, counted: bool) -> float:
        limits = self._limits
        keys = (self._keys.failures(address),)
        try:
            wait_ms = await self._run(
                FAILURE, keys, (str(limits.failures), _ms(limits.failures_s), "1" if counted else "0")
            )
        except StoreUnavailable:
            return 0.0
        if wait_ms > 0:
            # Record the block locally too, so that it outlasts a loss of the store.
            self._failures.hold(address, wait_ms / 1000, time.monotonic())
        return float(wait_ms / 1000)

    # Status and connection.

    def status(self) -> StoreStatus:
        conditions: dict[str, str] = {}
        if self._down is not None:
            conditions["store_unavailable"] = self._down_sentence()
        elif self._evicts:
            conditions["store_evicts"] = self._evicts
        elif time.monotonic() < self._closed_until_s:
            conditions["store_lost_data" if self._lost else "store_settling"] = self._closed_sentence()
        return StoreStatus(shared=True, up=self._down is None, conditions=conditions, failures=dict(self._counts))

    async def watch(self) -> None:
        while True:
            self._wake.clear()
            await self._look()
            if self._down is not None:
                await asyncio.sleep(PROBE_S)
                continue
            # A request that fails meanwhile triggers a probe at once, because the failure may have been only a short
            # delay.
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._wake.wait(), self._beat_s)

    async def close(self) -> None:
        await self._link.close()

    async def _look(self) -> None:
        """Compare this replica's nonce count with the store's ledger (see `service.store.scripts`). On the first run
        and after a lost connection, open new connections first."""
        try:
            if self._down in ("starting", "unreachable"):
                await self._link.disconnect()
                await self._link.connect()
            arguments, began = (str(self._seen), *self._terms), time.perf_counter()
            count, wait_ms, lost, policy, limit = await self._link.run(BEAT, (self._keys.ledger,), arguments, CONNECT_S)
            if self._down is not None and time.perf_counter() - began > self._timeout_s:
                # At this speed, requests would time out too.
                raise StoreFailure("slow")
        except StoreFailure as failure:
            self._failed(failure.cause)
            return
        self._seen = max(self._seen, count)
        self._closed(wait_ms / 1000, lost=bool(lost))
        self._check_eviction(policy.decode("ascii", "replace"), limited=limit != b"0")
        if self._down is not None:
            away_s = time.monotonic() - self._down_since_s
            log.info("the store at %s answers, after %.1f s without it", self._name, away_s)
            self._down = None
        await self._settle_debts()

    async def _run(
        self,
        script: Script,
        keys: Sequence[str],
        arguments: Sequence[str | bytes],
        undo: _Call | None = None,
    ) -> Any:
        """Return the result of ``script``.

        ``undo``: call that reverses ``script`` if it fails but may have been executed. It is made once the store
        answers again.
        """
        if self._down is not None:
            raise StoreUnavailable(self._down_sentence())
        began = time.perf_counter()
        try:
            found = await self._link.run(script, keys, arguments, self._timeout_s)
        except StoreFailure as failure:
            if undo is not None:
                self._owed.append(undo)
            self._failed(failure.cause)
            raise StoreUnavailable(self._down_sentence()) from failure
        self._observe(time.perf_counter() - began)
        return found

    async def _undo(self, call: _Call) -> None:
        try:
            await self._run(*call, undo=call)
        except StoreUnavailable:
            if call not in self._owed:
                self._owed.append(call)

    async def _settle_debts(self) -> None:
        """Reverse the claims that failed calls may have made. Each call names the owner of the claim, so claims of
        other owners are not affected."""
        while self._owed and self._down is None:
            with contextlib.suppress(StoreUnavailable):
                await self._run(*self._owed.popleft())

    def _failed(self, cause: Cause) -> None:
        self._counts[cause] += 1
        if self._down is None:
            self._down_since_s = time.monotonic()
        if self._down != cause:
            log.warning("the store at %s is not available: %s", self._name, SENTENCES[cause])
        self._down = cause
        self._wake.set()

    def _closed(self, wait_s: float, *, lost: bool) -> None:
        """Record that nonces are refused for ``wait_s``.

        ``lost``: whether the reason is that the store has lost data.
        """
        if lost and wait_s > 0 and not (self._lost and time.monotonic() < self._closed_until_s):
            log.error("the store at %s has lost data: no nonce is accepted for %.0f s", self._name, wait_s)
        self._closed_until_s, self._lost = time.monotonic() + wait_s, lost

    def _check_eviction(self, policy: str, *, limited: bool) -> None:
        """Check the eviction policy, because a store that evicts keys loses nonces."""
        told = (
            f"the store at {self._name} would forget nonces to make room (maxmemory-policy {policy}). Set it to "
            "noeviction."
            if limited and policy != "noeviction"
            else ""
        )
        if told and not self._evicts:
            log.error("%s Until then no nonce is accepted.", told)
        self._evicts = told

    def _down_sentence(self) -> str:
        if self._down == "starting" or self._down is None:
            return "the store that the replicas share is not connected yet. Wait."
        return f"the store that the replicas share is not available: {SENTENCES[self._down]}"

    def _closed_sentence(self) -> str:
        left_s = max(0.0, self._closed_until_s - time.monotonic())
        if self._lost:
            return (
                "the store has lost nonces that may have been used, so none is accepted until they have all expired, "
                f"in {left_s:.0f} s. Keep its data on a disk (appendonly yes)."
            )
        return (
            f"the store was restarted; no nonce is accepted for {left_s:.0f} s, until every replica has compared its "
            "count with the store's."
        )

    def _drop(self, claim: Claim) -> _Call:
        return _Call(DROP, (self._keys.answer(claim),), (_claimed(claim),))


def _claimed(claim: Claim) -> bytes:
    return BUSY + claim.digest + claim.owner.encode()


def _ms(seconds: float) -> str:
    return str(max(1, round(seconds * 1000)))
