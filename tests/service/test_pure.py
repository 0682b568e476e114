"""Unit tests of nonces, stored responses, rates and the worker pool."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from functools import partial

import pytest

from runtime.core.errors import InferenceFailed, Overloaded
from service.liveness.active_model import ActiveModel
from service.liveness.pool import HelperThread, WorkerPool
from service.store.rate_limit import RateLimiter
from service.store.replay import IdempotencyStore, NonceStore
from tests.support.fakes import FakeEngine, loaded


def test_a_nonce_is_forgotten_when_its_time_is_over() -> None:
    nonces = NonceStore(10, 2)
    assert nonces.use("a", "n", 0) == "new"
    assert nonces.use("a", "n", 9.9) == "used"
    assert nonces.use("b", "n", 9.9) == "new"
    assert nonces.use("a", "n", 10) == "new"


def test_a_full_memory_of_nonces_says_when_there_is_room() -> None:
    nonces = NonceStore(10, 2)
    nonces.use("a", "1", 0)
    nonces.use("a", "2", 4)
    assert nonces.use("a", "3", 5) == 5
    assert nonces.use("a", "3", 10) == "new"
    nonces.release("a", "3")
    assert nonces.use("a", "3", 10) == "new"


def test_nonces_of_many_callers_are_bounded() -> None:
    nonces = NonceStore(10, 2, callers=3)
    for caller in "abc":
        assert nonces.use(caller, "n", 0) == "new"
    assert nonces.use("d", "n", 5) == 10
    assert nonces.use("d", "n", 11) == "new"


def test_answers_are_kept_for_their_request_and_time() -> None:
    answers = IdempotencyStore(10, 2)
    answers.put(("a", "k"), b"1", b"one", 0)
    assert answers.get(("a", "k"), b"1", 9) == b"one"
    assert answers.get(("a", "k"), b"2", 9) == "conflict"
    assert answers.get(("b", "k"), b"1", 9) is None
    assert answers.get(("a", "k"), b"1", 10) is None
    for name in ("x", "y"):
        answers.put(("a", name), b"1", b"", 10)
    assert answers.get(("a", "k"), b"1", 9) is None


def test_kept_answers_hold_bounded_memory() -> None:
    answers = IdempotencyStore(10, 100, size=1000)
    for number in range(20):
        answers.put(("a", str(number % 10)), b"1", bytes(300), 0)
    assert [n for n in range(10) if answers.get(("a", str(n)), b"1", 0) is not None] == [7, 8, 9]


def test_a_bucket_fills_again() -> None:
    rate_limiter = RateLimiter(2, 3)
    assert [rate_limiter.take("a", 0) for _ in range(4)] == [0, 0, 0, 0.5]
    assert rate_limiter.take("b", 0) == 0
    assert rate_limiter.take("a", 0.5) == 0
    assert rate_limiter.take("a", 0.5) > 0
    assert [rate_limiter.take("a", 1000) > 0 for _ in range(4)] == [False, False, False, True]


def test_no_rate_is_no_limit() -> None:
    rate_limiter = RateLimiter(0, 1)
    assert all(rate_limiter.take("a", 0) == 0 for _ in range(100))


def test_two_things_at_once() -> None:
    helper = HelperThread("test")
    meet = threading.Barrier(2)

    def wait(name: str) -> str:
        meet.wait(10)
        return name

    assert helper.run_both(lambda: wait("aside"), lambda: wait("here")) == ("aside", "here")
    with pytest.raises(ZeroDivisionError):
        helper.run_both(lambda: 1 // 0, lambda: 1)
    with pytest.raises(ZeroDivisionError):
        helper.run_both(lambda: 1, lambda: 1 // 0)
    # An error in one call does not affect the next one.
    assert helper.run_both(lambda: 1, lambda: 2) == (1, 2)
    helper.close()


class Picture:
    """An object that a call references and that a test can track with a weak reference."""


def test_what_a_failed_call_held_is_let_go_at_once() -> None:
    # The garbage collector counts objects. An image of several megabytes in a cycle would wait for hundreds of other
    # errors.
    held: list[weakref.ref[Picture]] = []

    def fails(helper: HelperThread, first: bool, second: bool) -> None:
        picture = Picture()
        held.append(weakref.ref(picture))

        def work(fail: bool) -> Picture:
            own = Picture()
            held.append(weakref.ref(own))
            if fail:
                raise ValueError("this picture is damaged.")
            return own

        helper.run_both(partial(work, first), partial(work, second))

    async def run() -> None:
        pool = WorkerPool(1, 0)
        for first, second in ((True, False), (False, True), (True, True)):
            with pytest.raises(ValueError, match="damaged"):
                await pool.run(partial(fails, first=first, second=second))
            for _ in range(100):  # the threads may still be between two calls
                if not any(ref() for ref in held):
                    break
                await asyncio.sleep(0.01)
            assert [ref() for ref in held] == [None] * len(held)
        pool.close()

    gc.collect()
    gc.disable()
    try:
        asyncio.run(run())
    finally:
        gc.enable()
    assert len(held) == 9


def test_a_call_that_takes_too_long_is_given_up_and_counted_until_it_ends() -> None:
    async def run() -> None:
        pool = WorkerPool(1, 0, limit_s=0.1)
        gate = threading.Event()
        with pytest.raises(InferenceFailed):
            await pool.run(lambda helper: gate.wait(20))
        with pytest.raises(Overloaded):
            await pool.run(lambda helper: 1)
        assert pool.stuck_s() > 0
        gate.set()
        while pool.in_flight:  # noqa: ASYNC110  # what it waits for is a thread
            await asyncio.sleep(0.01)
        assert await pool.run(lambda helper: 1) == 1
        pool.close()

    asyncio.run(run())


def test_a_replaced_model_is_closed_after_its_last_pair() -> None:
    engines = [FakeEngine(), FakeEngine()]
    waiting = [loaded(engine) for engine in engines]
    model = ActiveModel(lambda: waiting.pop(0))
    done = threading.Event()
    model.start(lambda error: done.set())
    while model.loaded is None:
        assert not done.wait(0.01)
    with model.lease() as first:
        model.reload()
        while model.require() is first:
            done.wait(0.01)
        assert not engines[0].closed
        with model.lease() as second:
            assert second.pipeline.engine is engines[1]
    assert engines[0].closed
    assert not engines[1].closed
    # There is no third model, so the second one stays in use.
    model.reload()
    done.wait(0.1)
    assert model.require() is second
    model.close()
    assert engines[1].closed
