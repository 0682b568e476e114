"""The shared store by itself, against a real server: each thing once for all replicas, and an expiry on everything."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable

from runtime.config.store import StoreSettings
from service.store.base import Nonce, StoreLimits
from service.store.shared import SharedStore
from tests.support.service.redis_server import RedisServer

LIMITS = StoreLimits(
    replay_s=60, replays=100, claim_s=30, session_s=60, failures=3, failures_s=60, rate_per_s=10, burst=5
)
PREFIXES = (f"t{number}:" for number in itertools.count())
OWNERS = (f"{number:016x}" for number in itertools.count())
SETTLE_S = 0.05


@contextlib.asynccontextmanager
async def stores(
    server: RedisServer, count: int = 2, *, prefix: str = "", limits: StoreLimits = LIMITS, settle_s: float = SETTLE_S
) -> AsyncIterator[list[SharedStore]]:
    """Replicas that share a store, connected and ready for nonces."""
    settings = StoreSettings(url=server.url, prefix=prefix or next(PREFIXES))
    made = [SharedStore(settings, limits, settle_s=settle_s, beat_s=0.02) for _ in range(count)]
    watching = [asyncio.create_task(store.watch()) for store in made]
    try:
        for store in made:
            await until(lambda store=store: not store.status().conditions)  # type: ignore[misc]
        yield made
    finally:
        for task in watching:
            task.cancel()
        for store in made:
            await store.close()


async def until(true: Callable[[], bool], seconds: float = 10) -> None:
    async with _deadline(seconds):
        while not true():  # noqa: ASYNC110  # what it waits for is another process
            await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def _deadline(seconds: float) -> AsyncIterator[None]:
    task = asyncio.current_task()
    assert task is not None
    handle = asyncio.get_running_loop().call_later(seconds, task.cancel)
    try:
        yield
    finally:
        handle.cancel()


def nonce(text: str, caller: str = "gate") -> Nonce:
    return Nonce(caller, text, next(OWNERS))


def run(body: Callable[[], Awaitable[None]]) -> None:
    async def outer() -> None:
        await body()

    asyncio.run(outer())


def test_a_nonce_counts_once_for_all_replicas(redis: RedisServer) -> None:
    async def body() -> None:
        async with stores(redis, 3) as (one, two, three):
            assert await one.use_nonce(nonce("n")) == "new"
            assert await two.use_nonce(nonce("n")) == "used"
            assert await three.use_nonce(nonce("n", "other gate")) == "new"
            for number in range(200):
                outcomes = await asyncio.gather(
                    *(store.use_nonce(nonce(f"{number}", str(number))) for store in (one, two, three))
                )
                assert sorted(map(str, outcomes)) == ["new", "used", "used"]

    run(body)
