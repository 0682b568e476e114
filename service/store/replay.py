"""Replay protection: used nonces, and Idempotency-Keys with their responses. Bounded memory; pure."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Literal

AnswerKey = tuple[str, str]
"""Name of the caller and its Idempotency-Key. With the name, no caller can use up or probe the keys of another."""


class NonceStore:
    """Store that accepts each nonce of a caller once within ``lifetime_s``.

    It keeps at most ``limit`` nonces per caller. At the limit, new nonces are refused. Old ones are not evicted,
    because that would allow a replay. Not thread-safe.
    """

    def __init__(self, lifetime_s: float, limit: int, callers: int = 1024) -> None:
        self._lifetime_s, self._limit, self._callers = lifetime_s, limit, callers
        self._used: dict[str, OrderedDict[str, float]] = {}

    def use(self, caller: str, nonce: str, now_s: float) -> Literal["new", "used"] | float:
        """Mark a nonce as used and return ``new``.

        Returns ``used`` if it was used before, or, at the limit, the seconds until there is room.
        """
        used = self._used.get(caller)
        if used is None:
            self._sweep(now_s)
            if len(self._used) >= self._callers:
                return self._lifetime_s
            used = self._used[caller] = OrderedDict()
        while used:
            oldest, at = next(iter(used.items()))
            if now_s - at < self._lifetime_s:
                break
            del used[oldest]
        if nonce in used:
            return "used"
        if len(used) >= self._limit:
            return max(0.0, next(iter(used.values())) + self._lifetime_s - now_s)
        used[nonce] = now_s
        return "new"

    def release(self, caller: str, nonce: str) -> None:
        """Release a nonce whose request got no decision, so that the request can be retried."""
        self._used.get(caller, OrderedDict()).pop(nonce, None)

    def _sweep(self, now_s: float) -> None:
        if len(self._used) < self._callers:
            return
        for caller in [
            c for c, used in self._used.items() if not used or now_s - max(used.values()) > self._lifetime_s
        ]:
            del self._used[caller]


@dataclass(slots=True)
class _StoredAnswer:
    digest: bytes
    at_s: float
    value: bytes


class IdempotencyStore:
    """Responses by caller and Idempotency-Key, each with the digest of its request.

    The oldest responses are evicted when there are more than ``limit`` or they exceed ``size`` bytes. Early eviction is
    harmless, because a repeated request is then scored again. Not thread-safe.
    """

    def __init__(self, lifetime_s: float, limit: int, size: int = 32 << 20) -> None:
        self._lifetime_s, self._limit, self._size = lifetime_s, limit, size
        self._kept: OrderedDict[AnswerKey, _StoredAnswer] = OrderedDict()
        self._held = 0

    def get(self, key: AnswerKey, digest: bytes, now_s: float) -> bytes | Literal["conflict"] | None:
        """Return the stored response, ``conflict`` if it belongs to a different request, or None if there is none."""
        stored = self._kept.get(key)
        if stored is None or now_s - stored.at_s >= self._lifetime_s:
            return None
        return stored.value if stored.digest == digest else "conflict"

    def put(self, key: AnswerKey, digest: bytes, value: bytes, now_s: float) -> None:
        """Store the response ``value``."""
        self.drop(key)
        self._kept[key] = _StoredAnswer(digest, now_s, value)
        self._held += len(value)
        while len(self._kept) > self._limit or (self._held > self._size and len(self._kept) > 1):
            _, oldest = self._kept.popitem(last=False)
            self._held -= len(oldest.value)

    def drop(self, key: AnswerKey) -> None:
        """Remove the response stored under ``key``."""
        stored = self._kept.pop(key, None)
        self._held -= len(stored.value) if stored is not None else 0
