"""Clients of a shared store, without a service around them."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

from runtime.config.store import StoreSettings
from service.store.base import Claim, Nonce, StoreLimits
from service.store.shared import SharedStore
from tests.support.service.redis_server import RedisServer

LIMITS = StoreLimits(
    replay_s=60, replays=100, claim_s=30, session_s=60, failures=3, failures_s=60, rate_per_s=10, burst=5
)
SETTLE_S = 0.1
PATIENT_MS = 5000
PREFIXES = (f"t{number}:" for number in itertools.count())
OWNERS = (f"{number:016x}" for number in itertools.count())


def on_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run an asynchronous test on its own event loop."""

    @functools.wraps(test)
    def run(*fixtures: Any, **named: Any) -> None:
        asyncio.run(test(*fixtures, **named))

    return run


@contextlib.asynccontextmanager
async def stores(
    server: RedisServer,
    count: int = 2,
    *,
    limits: StoreLimits = LIMITS,
    settle_s: float = SETTLE_S,
    ready: bool = True,
    **settings: Any,
) -> AsyncIterator[list[SharedStore]]:
    """Yield clients of one store, by default with a unique prefix. ``ready``: whether to wait until nonces are
    accepted."""
    timeout_ms = settings.pop("timeout_ms", PATIENT_MS)
    found = StoreSettings(**{"url": server.url, "prefix": next(PREFIXES), **settings})
    # Longer than the settings allow, because tests that are not about time must not fail on a busy machine.
    found = found.model_copy(update={"timeout_ms": timeout_ms})
    made = [SharedStore(found, limits, settle_s=settle_s, beat_s=settle_s / 4) for _ in range(count)]
    watching = [asyncio.create_task(store.watch()) for store in made]
    try:
        for store in made if ready else ():
            await accepting(store)
        yield made
    finally:
        for task in watching:
            task.cancel()
        for store in made:
            await store.close()


async def accepting(store: SharedStore) -> None:
    """Wait until the store accepts nonces."""
    await until(lambda: not store.status().conditions)


async def condition(store: SharedStore, name: str) -> str:
    """Wait for a condition, and return its text."""
    await until(lambda: name in store.status().conditions)
    return store.status().conditions[name]


async def until(true: Callable[[], bool], seconds: float = 60) -> None:
    """Wait for the effect of another process."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not true():
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.005)


def nonce(text: str, caller: str = "gate") -> Nonce:
    return Nonce(caller, text, next(OWNERS))


def claim(key: str, digest: bytes = b"d" * 32, caller: str = "gate") -> Claim:
    return Claim(caller, key, digest, next(OWNERS))
