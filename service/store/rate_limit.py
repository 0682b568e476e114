"""Rate limit per caller. Pure: the times are arguments."""

from __future__ import annotations

from collections import OrderedDict


class RateLimiter:
    """Token bucket per caller: ``burst`` requests at once, ``rate_per_s`` on average. Not thread-safe."""

    def __init__(self, rate_per_s: float, burst: int, callers: int = 4096) -> None:
        self._rate, self._burst, self._callers = rate_per_s, float(burst), callers
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def acquire(self, caller: str, now_s: float) -> float:
        """Return 0 if ``caller`` may send a request now, else the seconds until it may."""
        if self._rate == 0:
            return 0.0
        tokens, at = self._buckets.pop(caller, (self._burst, now_s))
        tokens = min(self._burst, tokens + (now_s - at) * self._rate)
        allowed = tokens >= 1
        self._buckets[caller] = (tokens - 1 if allowed else tokens, now_s)
        # Callers are keys created by the operator, so legitimate use never reaches this limit.
        while len(self._buckets) > self._callers:
            self._buckets.popitem(last=False)
        return 0.0 if allowed else (1 - tokens) / self._rate
