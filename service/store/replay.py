"""Requests that were seen before: nonces, and Idempotency-Keys with their answers. Bounded; pure."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Literal

AnswerKey = tuple[str, str]
"""Caller and what it sent: nobody can use up, or probe for, what belongs to another."""


class NonceStore:
    """Each nonce of a caller counts once within ``lifetime_s``; a caller has at most ``limit`` that still count.

    Where a caller has used its limit, further ones are turned away instead of old ones forgotten: whoever may make the
    service forget may replay. Call from one thread.
    """

    def __init__(self, lifetime_s: float, limit: int, callers: int = 1024) -> None:
        self._lifetime_s, self._limit, self._callers = lifetime_s, limit, callers
        self._used: dict[str, OrderedDict[str, float]] = {}

    def use(self, caller: str, nonce: str, now_s: float) -> Literal["new", "used"] | float:
        """``new``, and from now on used; ``used``; or, where there is no room, the seconds until there is."""
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
        """Forget a nonce whose request got no answer, so that it may be tried again."""
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
    """Answers by caller and Idempotency-Key, with the digest of the request they belong to; the oldest go first, where
    there are more than ``limit`` or they hold more than ``size`` bytes.

    To forget one early is harmless: its request is then judged again. Call from one thread.
    """

    def __init__(self, lifetime_s: float, limit: int, size: int = 32 << 20) -> None:
        self._lifetime_s, self._limit, self._size = lifetime_s, limit, size
        self._kept: OrderedDict[AnswerKey, _StoredAnswer] = OrderedDict()
        self._held = 0

    def get(self, key: AnswerKey, digest: bytes, now_s: float) -> bytes | Literal["conflict"] | None:
        """What was kept; ``conflict`` when it belongs to another request; None when there is nothing."""
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
        """Forget what is kept under ``key``."""
        stored = self._kept.pop(key, None)
        self._held -= len(stored.value) if stored is not None else 0
