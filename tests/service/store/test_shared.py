"""The shared store with a real server: each nonce and key counts once for all replicas, and everything has an
expiry."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import replace

import pytest

from runtime.core.errors import StoreUnavailable
from service.store import shared
from service.store.base import MAX_ANSWER_BYTES, SessionRecord
from tests.support.service.answers import answer
from tests.support.service.redis_server import RedisServer
from tests.support.service.shared_stores import LIMITS, claim, nonce, on_loop, stores
from tests.support.service.store_contents import KEYS

RECORD = SessionRecord("0123456789ab", "f" * 64)
ANSWER = json.dumps(answer()).encode()


@on_loop
async def test_a_nonce_counts_once_for_all_replicas(redis: RedisServer) -> None:
    async with stores(redis, 3) as (one, two, three):
        assert await one.use_nonce(nonce("n")) == "new"
        assert await two.use_nonce(nonce("n")) == "used"
        assert await three.use_nonce(nonce("n", "other gate")) == "new"
        for number in range(200):
            same = [store.use_nonce(nonce("n", str(number))) for store in (one, two, three)]
            assert sorted(map(str, await asyncio.gather(*same))) == ["new", "used", "used"]


@on_loop
async def test_a_nonce_is_forgotten_when_its_time_is_over(redis: RedisServer) -> None:
    async with stores(redis, limits=replace(LIMITS, replay_s=0.3)) as (one, two):
        assert await one.use_nonce(nonce("n")) == "new"
        assert await two.use_nonce(nonce("n")) == "used"
        await asyncio.sleep(0.35)
        assert await two.use_nonce(nonce("n")) == "new"


@on_loop
async def test_only_the_request_that_used_a_nonce_gives_it_back(redis: RedisServer) -> None:
    async with stores(redis) as (one, two):
        first, second = nonce("n"), nonce("n")
        assert await one.use_nonce(first) == "new"
        await two.release_nonce(second)
        assert await two.use_nonce(second) == "used"
        await one.release_nonce(first)
        assert await two.use_nonce(second) == "new"
        # The nonce was released, and now belongs to another request.
        await one.release_nonce(first)
        assert await one.use_nonce(nonce("n")) == "used"


@on_loop
async def test_a_caller_has_so_many_nonces_and_no_more(redis: RedisServer) -> None:
    async with stores(redis, limits=replace(LIMITS, replays=5)) as (one, two):
        last = nonce("4")
        for number in range(4):
            assert await (one, two)[number % 2].use_nonce(nonce(str(number))) == "new"
        assert await two.use_nonce(last) == "new"
        wait = await one.use_nonce(nonce("5"))
        assert isinstance(wait, float)
        assert 0 < wait <= LIMITS.replay_s
        assert await one.use_nonce(nonce("5", "another")) == "new"
        await two.release_nonce(last)
        assert await one.use_nonce(nonce("5")) == "new"


@on_loop
async def test_the_count_of_nonces_slides(redis: RedisServer) -> None:
    async with stores(redis, limits=replace(LIMITS, replay_s=0.4, replays=8)) as (one, _):
        taken: list[float] = []
        loop = asyncio.get_running_loop()
        until = loop.time() + 1.6
        while loop.time() < until:
            if await one.use_nonce(nonce(str(len(taken)))) == "new":
                taken.append(loop.time())
        assert len(taken) >= 20
        # Fixed windows are used instead of a sliding one, so at most twice the limit falls into any window.
        assert all(sum(at <= other < at + 0.4 for other in taken) <= 16 for at in taken)


@on_loop
async def test_an_answer_is_given_again_by_every_replica(redis: RedisServer) -> None:
    async with stores(redis) as (one, two):
        first = claim("k")
        assert await one.claim(first) == "new"
        assert await two.claim(claim("k")) == "busy"
        assert await two.claim(claim("k", b"e" * 32)) == "conflict"
        await one.keep_answer(first, ANSWER)
        assert await two.claim(claim("k")) == ANSWER
        assert await two.claim(claim("k", b"e" * 32)) == "conflict"
        assert await two.claim(claim("k", caller="another")) == "new"


@on_loop
async def test_a_claim_ends_with_its_request_or_its_time(redis: RedisServer) -> None:
    async with stores(redis, limits=replace(LIMITS, claim_s=0.2)) as (one, two):
        first, second = claim("k"), claim("k")
        assert await one.claim(first) == "new"
        await two.drop_claim(second)
        assert await two.claim(second) == "busy"
        await one.drop_claim(first)
        assert await two.claim(second) == "new"
        await asyncio.sleep(0.25)
        third = claim("k")
        assert await one.claim(third) == "new"
        # A request that took too long does not overwrite later ones.
        await two.keep_answer(second, ANSWER)
        assert await two.claim(claim("k")) == "busy"


@on_loop
async def test_answers_are_bounded_in_size_and_number(redis: RedisServer) -> None:
    async with stores(redis, limits=replace(LIMITS, replays=2)) as (one, two):
        first = claim("k")
        assert await one.claim(first) == "new"
        await one.keep_answer(first, b"x" * (MAX_ANSWER_BYTES + 1))
        assert await two.claim(claim("k")) == "new"
        wait = await two.claim(claim("l"))
        assert isinstance(wait, float)
        assert wait > 0


@on_loop
async def test_a_session_is_every_replicas(redis: RedisServer) -> None:
    async with stores(redis, limits=replace(LIMITS, session_s=0.4)) as (one, two):
        assert await one.begin_session("digest", RECORD) == 0
        assert await two.find_session("digest") == RECORD
        assert await two.find_session("other") is None
        await two.end_session("digest")
        assert await one.find_session("digest") is None
        single = SessionRecord("", "a" * 64)
        await two.begin_session("single", single)
        assert await one.find_session("single") == single
        await asyncio.sleep(0.45)
        assert await one.find_session("single") is None


@on_loop
async def test_sessions_of_one_key_are_bounded(redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared, "SESSIONS", 2)
    async with stores(redis) as (one, two):
        assert [await one.begin_session(str(number), RECORD) > 0 for number in range(3)] == [False, False, True]
        assert await two.begin_session("another key's", SessionRecord("ba9876543210", "f" * 64)) == 0


@on_loop
async def test_wrong_keys_add_up_over_replicas_also_side_by_side(redis: RedisServer) -> None:
    async with stores(redis, 3) as made:
        tries = [store.count_failure("192.0.2.1") for store in made for _ in range(20)]
        waits = await asyncio.gather(*tries)
        # The number is the same as with one process, even with parallel calls to several replicas.
        assert sum(wait == 0 for wait in waits) == LIMITS.failures
        for store in made:
            assert 0 < await store.failure_wait_s("192.0.2.1") <= LIMITS.failures_s
            assert await store.failure_wait_s("192.0.2.2") == 0
        for number in range(3):
            assert await made[number].count_failure(f"2001:db8:0:1::{number}") == 0
        assert await made[0].failure_wait_s("2001:db8:0:1::ffff") > 0
        assert await made[0].failure_wait_s("2001:db8:0:2::1") == 0


@on_loop
async def test_a_lock_out_ends(redis: RedisServer) -> None:
    async with stores(redis, limits=replace(LIMITS, failures=1, failures_s=0.3)) as (one, two):
        assert await one.count_failure("192.0.2.1") == 0
        assert await two.count_failure("192.0.2.1") > 0
        await asyncio.sleep(0.35)
        assert await two.failure_wait_s("192.0.2.1") == 0
        assert await two.count_failure("192.0.2.1") == 0


@on_loop
async def test_a_rate_is_shared_and_slides(redis: RedisServer) -> None:
    async with stores(redis, limits=replace(LIMITS, rate_per_s=20, burst=5)) as (one, two):
        waits = await asyncio.gather(*(store.acquire("a") for store in (one, two) for _ in range(5)))
        assert sum(wait == 0 for wait in waits) in (5, 6)
        assert all(0 <= wait <= 0.3 for wait in waits)
        assert await two.acquire("b") == 0
        loop, allowed = asyncio.get_running_loop(), 0
        began = loop.time()
        while loop.time() < began + 0.5:
            allowed += await (one, two)[allowed % 2].acquire("a") == 0
        passed = loop.time() - began
        assert 20 * passed * 0.5 <= allowed <= 20 * passed + 2


@on_loop
async def test_no_rate_asks_nobody(redis: RedisServer) -> None:
    async with stores(redis, limits=replace(LIMITS, rate_per_s=0), prefix="other:") as (one, _):
        assert all([await one.acquire("a") == 0 for _ in range(10)])
        assert redis.ask("KEYS", "other:rate:*") == []


@on_loop
async def test_prefixes_keep_services_apart(redis: RedisServer) -> None:
    async with stores(redis, 1) as (one,), stores(redis, 1) as (other,):
        assert await one.use_nonce(nonce("n")) == "new"
        assert await other.use_nonce(nonce("n")) == "new"


@on_loop
async def test_every_key_has_an_expiry_and_a_prefix(redis: RedisServer) -> None:
    async with stores(redis, 1, prefix="t-kinds:") as (one,):
        first = claim("k")
        await one.use_nonce(nonce("n"))
        await one.claim(first)
        await one.keep_answer(first, ANSWER)
        await one.claim(claim("busy"))
        await one.begin_session("digest", RECORD)
        await one.count_failure("192.0.2.1")
        await one.acquire("a")
        keys = redis.ask("KEYS", "t-kinds:*")
        kinds = {key.split(b":")[1] for key in keys}
        assert kinds == {b"ledger", b"nonce", b"count", b"answer", b"session", b"failures", b"rate"}
        for key in keys:
            # 0 and -2 mean that the key has just expired. -1 would mean a key without expiry.
            left = redis.ask("PTTL", key)
            assert left == -2 or 0 <= left <= 2 * 3600 * 1000, key
        # Names, nonces and addresses are hashed.
        assert all(any(re.fullmatch(form, key.decode()) for form in KEYS.values()) for key in keys)


@on_loop
async def test_a_clock_that_was_put_back_blocks_nobody_for_long(redis: RedisServer) -> None:
    async with stores(redis, 1, prefix="t-clock:") as (one,):
        assert await one.acquire("a") == 0
        (key,) = redis.ask("KEYS", "t-clock:rate:*")
        redis.ask("SET", key, str(9 * 10**15), "PX", "60000")
        wait = await one.acquire("a")
        assert 0 < wait <= LIMITS.burst / LIMITS.rate_per_s
        # The ledger claims that nonces are accepted from the year 2100.
        redis.ask("HSET", "t-clock:ledger", "opens", "4102444800000")
        with pytest.raises(StoreUnavailable) as caught:
            await one.use_nonce(nonce("n"))
        assert caught.value.retry_after_s <= LIMITS.replay_s
