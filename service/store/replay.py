"""Replay protection: used nonces, and Idempotency-Keys with their answers. Bounded; pure."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Literal

AnswerKey = tuple[str, str]
"""Caller and its key, so that no caller can use up or probe for another's."""


class NonceStore:
    """Accepts each nonce of a caller once within ``lifetime_s``; a caller has at most ``limit`` live nonces.

    At the limit further nonces are refused instead of evicting old ones: evicting one early would allow a replay. Call
    from one thread.
    """

    def __init__(self, lifetime_s: float, limit: int, callers: int = 1024) -> None:
        self._lifetime_s, self._limit, self._callers = lifetime_s, limit, callers
        self._used: dict[str, OrderedDict[str, float]] = {}

    def use(self, caller: str, nonce: str, now_s: float) -> Literal["new", "used"] | float:
        """Mark the nonce as used and return ``new``; return ``used``, or the seconds until there is room."""
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
        """Release a nonce whose request got no answer, so that it can be retried."""
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
    """Answers by caller and Idempotency-Key, each with the digest of its request.

    The oldest are evicted when there are more than ``limit`` or they exceed ``size`` bytes. Early eviction is harmless:
    the request is then scored again. Call from one thread.
    """

    def __init__(self, lifetime_s: float, limit: int, size: int = 32 << 20) -> None:
        self._lifetime_s, self._limit, self._size = lifetime_s, limit, size
        self._kept: OrderedDict[AnswerKey, _StoredAnswer] = OrderedDict()
        self._held = 0

    def get(self, key: AnswerKey, digest: bytes, now_s: float) -> bytes | Literal["conflict"] | None:
        """Return the kept answer, ``conflict`` if it belongs to a different request, or None if none is kept."""
        stored = self._kept.get(key)
        if stored is None or now_s - stored.at_s >= self._lifetime_s:
            return None
        return stored.value if stored.digest == digest else "conflict"

    def put(self, key: AnswerKey, digest: bytes, value: bytes, now_s: float) -> None:
        """Keep ``value``."""
        self.drop(key)
        self._kept[key] = _StoredAnswer(digest, now_s, value)
        self._held += len(value)
        while len(self._kept) > self._limit or (self._held > self._size and len(self._kept) > 1):
            _, oldest = self._kept.popitem(last=False)
            self._held -= len(oldest.value)

    def drop(self, key: AnswerKey) -> None:
        """Drop what is kept under ``key``."""
        stored = self._kept.pop(key, None)
        self._held -= len(stored.value) if stored is not None else 0
