"""The worker pool: two things at once, errors, and calls that take too long."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from functools import partial

import pytest

from runtime.core.errors import InferenceFailed, Overloaded
from service.liveness.pool import HelperThread, WorkerPool


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
    # An error of one call does not affect the next.
    assert helper.run_both(lambda: 1, lambda: 2) == (1, 2)
    helper.close()


class Picture:
    """An object that a call holds and a test can track by weak reference."""


def test_what_a_failed_call_held_is_let_go_at_once() -> None:
    # The collector counts objects: an image of megabytes in a cycle would wait for hundreds of other errors.
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
