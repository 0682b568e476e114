"""Back-off between attempts, and throttling of repeated log messages."""

from __future__ import annotations

import random

FIRST_DELAY_S, LAST_DELAY_S = 0.5, 30.0
WARN_EVERY, WARN_EVERY_S = 20, 300.0


class Backoff:
    """Delays between attempts, doubling from ``first_s`` to ``last_s``.

    Each delay is shortened at random by up to the fraction ``spread``, so that clients that failed together do not
    retry together.
    """

    def __init__(
        self,
        rng: random.Random | None = None,
        *,
        first_s: float = FIRST_DELAY_S,
        last_s: float = LAST_DELAY_S,
        spread: float = 0.25,
    ) -> None:
        self._rng = rng or random.Random()
        self._first_s, self._last_s, self._spread = first_s, last_s, spread
        self._failures = 0

    def next(self, patient: bool = False) -> float:
        """Return the next delay in seconds. ``patient``: return the longest delay at once, for failures that a quick
        retry cannot resolve."""
        delay = self._last_s if patient else min(self._last_s, self._first_s * 2 ** min(self._failures, 16))
        self._failures += 1
        return delay * (1 - self._spread * self._rng.random())

    def reset(self) -> None:
        """Restart at the first delay."""
        self._failures = 0


class LogThrottle:
    """Selection of the repeated warnings to log.

    It is the first one, then every `WARN_EVERY`-th, and at least one every `WARN_EVERY_S` seconds.
    """

    def __init__(self) -> None:
        self._seen: dict[str, tuple[int, float]] = {}

    def due(self, key: str, now_s: float) -> int:
        """Count an occurrence of ``key``. Return the count if this occurrence should be logged, otherwise 0."""
        count, logged = self._seen.get(key, (0, 0.0))
        count += 1
        due = count == 1 or count % WARN_EVERY == 0 or now_s - logged >= WARN_EVERY_S
        self._seen[key] = (count, now_s if due else logged)
        return count if due else 0

    def reset(self) -> None:
        self._seen.clear()
