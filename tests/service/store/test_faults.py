"""If the shared store is unreachable, slow, full, emptied or refuses, calls fail safely and no nonce is accepted
twice."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from runtime.core.errors import StoreUnavailable
from service.store.base import SessionRecord
from service.store.shared import SharedStore
from tests.support.service.certificates import Authority
from tests.support.service.redis_server import free_port, redis_server, require_redis
from tests.support.service.shared_stores import (
    LIMITS,
    accepting,
    claim,
    condition,
    nonce,
    on_loop,
    stores,
    until,
)

RECORD = SessionRecord("0123456789ab", "f" * 64)


@pytest.fixture(autouse=True)
def _needs_redis() -> None:
    require_redis()


async def refused(store: SharedStore) -> StoreUnavailable:
    """Check that every call that must raise does so. Return the error for a nonce."""
    for call in (
        store.claim(claim("k")),
        store.keep_answer(claim("k"), b"{}"),
        store.begin_session("digest", RECORD),
        store.find_session("digest"),
        store.end_session("digest"),
    ):
        with pytest.raises(StoreUnavailable):
            await call
    # Releasing may fail. The nonce then stays claimed.
    await store.release_nonce(nonce("n"))
    await store.drop_claim(claim("k"))
    with pytest.raises(StoreUnavailable) as caught:
        await store.use_nonce(nonce("n"))
    assert caught.value.retry_after_s > 0
    return caught.value


async def eventually(outcome: str, ask: Callable[[], Awaitable[object]]) -> None:
    """Retry until ``ask`` returns ``outcome``: on a busy machine the store may occasionally be late."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with contextlib.suppress(StoreUnavailable):
            if await ask() == outcome:
                return
        await asyncio.sleep(0.01)
    raise AssertionError(f"never {outcome}")


@on_loop
async def test_away_and_back(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "adsn.store")
    with redis_server(tmp_path, appendonly="yes") as server:
        async with stores(server) as (one, two):
            used = nonce("used")
            assert await one.use_nonce(used) == "new"
            await one.begin_session("digest", RECORD)
            server.kill()
            await refused(one)
            assert "cannot" not in (await condition(two, "store_unavailable"))
            assert not two.status().up
            assert two.status().failures["unreachable"] >= 1
            # The process now counts on its own: neither rates nor wrong keys become unlimited.
            assert sum([await one.acquire("a") == 0 for _ in range(20)]) == LIMITS.burst
            assert sum([await one.count_failure("192.0.2.1") == 0 for _ in range(20)]) == LIMITS.failures
            assert await one.failure_wait_s("192.0.2.1") > 0
            server.start()
            await accepting(one)
            await accepting(two)
            # The store was restarted with its data, so nothing was lost.
            assert await two.use_nonce(nonce("used")) == "used"
            assert await two.find_session("digest") == RECORD
            assert await two.use_nonce(nonce("next")) == "new"
            # Locked out while the store was unreachable, and still locked out.
            assert await one.failure_wait_s("192.0.2.1") > 0
    assert "is not available: no connection can be made" in caplog.text
    assert "answers, after" in caplog.text
    assert "lost data" not in caplog.text


@on_loop
async def test_a_slow_store_is_not_waited_for(tmp_path: Path) -> None:
    with redis_server(tmp_path) as server:
        async with stores(server, 1, timeout_ms=50) as (one,):
            server.pause()
            began = time.perf_counter()
            caught = await refused(one)
            # One call waits for 50 ms, and the others do not wait. The rest of the time is a margin for a busy machine.
            assert time.perf_counter() - began < 5
            assert "does not answer in time" in caught.message
            assert one.status().failures["slow"] >= 1
            began = time.perf_counter()
            for _ in range(50):
                with pytest.raises(StoreUnavailable):
                    await one.find_session("digest")
            # It would take 2.5 s if each call waited.
            assert time.perf_counter() - began < 2
            server.resume()
            await eventually("new", lambda: one.use_nonce(nonce("n")))


@on_loop
async def test_what_a_call_without_an_answer_claimed_is_given_back(tmp_path: Path) -> None:
    with redis_server(tmp_path) as server:
        async with stores(server, timeout_ms=50) as (one, two):
            first, key = nonce("first"), claim("k")
            server.pause()
            with pytest.raises(StoreUnavailable):
                await one.use_nonce(first)
            with pytest.raises(StoreUnavailable):
                await two.claim(key)
            server.resume()
            # The store executed these calls after it resumed, but no caller got an answer.
            await eventually("new", lambda: two.use_nonce(nonce("first")))
            await eventually("new", lambda: one.claim(claim("k")))


@on_loop
async def test_lost_data_closes_nonces_until_the_lost_ones_have_expired(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    limits = replace(LIMITS, replay_s=2.0)
    with redis_server(tmp_path) as server:
        async with stores(server, limits=limits) as (one, two):
            began = time.monotonic()
            assert await one.use_nonce(nonce("used")) == "new"
            server.kill()
            server.start()
            # A replica that has used no nonce since its start learns about the loss from the others.
            told = await condition(two, "store_lost_data")
            assert "none is accepted until they have all expired" in told
            # Calls that only repeat an answer need not wait.
            assert await one.claim(claim("k")) == "new"
            with pytest.raises(StoreUnavailable) as caught:
                await two.use_nonce(nonce("used"))
            assert 0 < caught.value.retry_after_s <= limits.replay_s
            await accepting(two)
            assert time.monotonic() - began >= limits.replay_s
            assert await two.use_nonce(nonce("used")) == "new"
    assert "has lost data: no nonce is accepted" in caplog.text


@on_loop
async def test_an_older_copy_of_the_data_is_noticed(tmp_path: Path) -> None:
    with redis_server(tmp_path) as server:
        async with stores(server) as (one, two):
            assert await one.use_nonce(nonce("before")) == "new"
            server.ask("SAVE")
            assert await one.use_nonce(nonce("after")) == "new"
            server.kill()
            server.start()
            await condition(two, "store_lost_data")
            with pytest.raises(StoreUnavailable):
                await two.use_nonce(nonce("after"))


@on_loop
async def test_an_emptied_store_is_noticed_at_the_next_nonce(tmp_path: Path) -> None:
    with redis_server(tmp_path) as server:
        # Beats are so far apart that the call for a nonce itself must detect the loss.
        async with stores(server, 1, settle_s=1) as (one,):
            assert await one.use_nonce(nonce("used")) == "new"
            server.ask("FLUSHALL")
            with pytest.raises(StoreUnavailable) as caught:
                await one.use_nonce(nonce("used"))
            assert caught.value.retry_after_s > LIMITS.replay_s - 1


@on_loop
async def test_a_replica_that_knows_nothing_waits_for_those_that_do(tmp_path: Path) -> None:
    with redis_server(tmp_path) as server:
        async with stores(server, 1, prefix="t-settle:") as (old,):
            assert await old.use_nonce(nonce("used")) == "new"
            server.ask("FLUSHALL")
            async with stores(server, 1, prefix="t-settle:", ready=False) as (new,):
                await until(lambda: new.status().up)
                with pytest.raises(StoreUnavailable):
                    await new.use_nonce(nonce("used"))
                await condition(new, "store_lost_data")


@on_loop
async def test_a_full_store_refuses_and_recovers(tmp_path: Path) -> None:
    with redis_server(tmp_path, maxmemory="3mb", maxmemory_policy="noeviction") as server:
        async with stores(server, 1, settle_s=0.1) as (one,):
            assert await one.use_nonce(nonce("n")) == "new"
            server.ask("CONFIG", "SET", "maxmemory", "1")
            caught = await refused(one)
            assert "full" in caught.message
            assert one.status().failures["full"] >= 1
            assert "full" in await condition(one, "store_unavailable")
            server.ask("CONFIG", "SET", "maxmemory", "0")
            await accepting(one)
            assert await one.use_nonce(nonce("n")) == "used"


@on_loop
async def test_a_store_that_evicts_gets_no_nonces(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with redis_server(tmp_path, maxmemory="100mb", maxmemory_policy="allkeys-lru") as server:
        async with stores(server, 1, ready=False) as (one,):
            told = await condition(one, "store_evicts")
            assert "noeviction" in told
            with pytest.raises(StoreUnavailable, match="noeviction"):
                await one.use_nonce(nonce("n"))
            # After early eviction, a request is scored again, and a session asks for the key again.
            assert await one.claim(claim("k")) == "new"
            server.ask("CONFIG", "SET", "maxmemory-policy", "noeviction")
            await accepting(one)
            assert await one.use_nonce(nonce("n")) == "new"
    assert "no nonce is accepted" in caplog.text


@on_loop
async def test_a_wrong_password_is_said_and_shown_nowhere(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    right, wrong = "correct-horse-battery", "wrong-horse-battery"
    with redis_server(tmp_path, requirepass=right) as server:
        async with stores(server, 1, password=right) as (one,):
            assert await one.use_nonce(nonce("n")) == "new"
        for password in (wrong, None):
            async with stores(server, 1, password=password, ready=False) as (one,):
                await until(partial(lambda one: one.status().failures.get("denied", 0) > 0, one))
                caught = await refused(one)
                assert "refuses this user" in caught.message
    assert "refuses this user" in caplog.text
    assert right not in caplog.text
    assert wrong not in caplog.text


@on_loop
async def test_a_user_needs_few_commands(tmp_path: Path) -> None:
    commands = "+ping +select +eval +evalsha +time +info +get +set +del +exists +hget +hmget +hset"
    commands += " +hincrby +incr +pexpire +pttl"
    with redis_server(tmp_path) as server:
        server.ask("ACL", "SETUSER", "adsn", "on", ">secret-of-adsn", "~adsn:*", *commands.split())
        known: dict[str, Any] = {"username": "adsn", "password": "secret-of-adsn", "prefix": "adsn:"}
        async with stores(server, 1, **known) as (one,):
            first = nonce("n")
            assert await one.use_nonce(first) == "new"
            await one.release_nonce(first)
            key = claim("k")
            assert await one.claim(key) == "new"
            await one.keep_answer(key, b"{}")
            assert await one.claim(claim("k")) == b"{}"
            await one.begin_session("digest", RECORD)
            await one.end_session("digest")
            assert await one.count_failure("192.0.2.1") == 0
            assert await one.acquire("a") == 0
            assert one.status().up
        async with stores(server, 1, **{**known, "prefix": "other:"}, ready=False) as (one,):
            await until(lambda: one.status().failures.get("denied", 0) > 0)


@on_loop
async def test_tls_with_an_authority_of_its_own(tmp_path: Path) -> None:
    authority, stranger = Authority(tmp_path), Authority(tmp_path, "stranger")
    certificate, key = authority.issue("server")
    own, own_key = authority.issue("client")
    tls = {"tls_port": "0", "tls_cert_file": str(certificate), "tls_key_file": str(key)}
    with redis_server(tmp_path, **tls, tls_ca_cert_file=str(authority.certificate)) as server:
        port = free_port()
        server.ask("CONFIG", "SET", "tls-port", str(port))
        known: dict[str, Any] = {
            "url": f"rediss://127.0.0.1:{port}/0",
            "ca": authority.certificate,
            "certificate": own,
            "certificate_key": own_key,
        }
        async with stores(server, 1, **known) as (one,):
            assert await one.use_nonce(nonce("n")) == "new"
        # A foreign CA, no client certificate, and a host name that is not in the certificate.
        wrongs: tuple[dict[str, Any], ...] = (
            {"ca": stranger.certificate},
            {"certificate": None, "certificate_key": None},
            {"url": f"rediss://localhost:{port}/0"},
        )
        for wrong in wrongs:
            async with stores(server, 1, **{**known, **wrong}, ready=False) as (one,):
                await until(partial(lambda one: one.status().failures.get("untrusted", 0) > 0, one))
                assert "TLS fails" in (await refused(one)).message
