"""When to try again, and how often to say that it failed."""

from __future__ import annotations

import random

FIRST_DELAY_S, LAST_DELAY_S = 0.5, 30.0
WARN_EVERY, WARN_EVERY_S = 20, 300.0


class Backoff:
    """Delays between attempts: doubling from `FIRST_DELAY_S` to `LAST_DELAY_S`, each shortened by up to a quarter so
    that cameras that were lost together do not come back together."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._failures = 0

    def next(self, patient: bool = False) -> float:
        """The next delay in seconds. ``patient``: what is wrong will not mend itself, so the longest at once."""
        delay = LAST_DELAY_S if patient else min(LAST_DELAY_S, FIRST_DELAY_S * 2 ** min(self._failures, 16))
        self._failures += 1
        return delay * (1 - 0.25 * self._rng.random())

    def reset(self) -> None:
        self._failures = 0


class Thinned:
    """Says which of many equal warnings to log: the first, then every `WARN_EVERY`-th, or one in `WARN_EVERY_S`."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[int, float]] = {}

    def due(self, key: str, now_s: float) -> int:
        """How often ``key`` has come up, when this one is to be logged, else 0."""
        count, logged = self._seen.get(key, (0, 0.0))
        count += 1
        due = count == 1 or count % WARN_EVERY == 0 or now_s - logged >= WARN_EVERY_S
        self._seen[key] = (count, now_s if due else logged)
        return count if due else 0

    def reset(self) -> None:
        self._seen.clear()
