"""Work off the event loop: a bounded queue before a few threads, and one helper beside each."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Generic, TypeVar

from runtime.core.errors import InferenceFailed, NotReady, Overloaded

FirstResult = TypeVar("FirstResult")
SecondResult = TypeVar("SecondResult")


class HelperThread:
    """A thread that does something for another one meanwhile, while ``idle`` says that a core is free for it."""

    def __init__(self, name: str, idle: Callable[[], bool] = lambda: True) -> None:
        self._idle = idle
        self._jobs: queue.SimpleQueue[_Job[Any] | None] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[_Job[Any]] = queue.SimpleQueue()
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def run_both(
        self, first: Callable[[], FirstResult], second: Callable[[], SecondResult]
    ) -> tuple[FirstResult, SecondResult]:
        """Run ``first`` in the helper's thread and ``second`` in this one, at the same time; returns both results.

        Where no core is free they run one after the other, which is then the faster way.

        Raises whatever ``first`` raised, else whatever ``second`` raised.
        """
        if not self._idle():
            return first(), second()
        self._jobs.put(_Job(first))
        own = _Job(second)
        own.run()
        try:
            return self._done.get().result(), own.result()
        finally:
            own.forget()

    def close(self) -> None:
        self._jobs.put(None)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            job.run()
            self._done.put(job)
            del job


class _Job(Generic[FirstResult]):
    """A call and what became of it."""

    __slots__ = ("_error", "_function", "_value")

    def __init__(self, function: Callable[[], FirstResult]) -> None:
        self._function = function
        self._value: Any = None
        self._error: BaseException | None = None

    def run(self) -> None:
        try:
            self._value = self._function()
        except BaseException as error:
            self._error = error

    def result(self) -> FirstResult:
        """What came out, once."""
        error, self._error = self._error, None
        if error is not None:
            try:
                raise error
            finally:
                # An error holds the frames it passed, and with them a caller's pictures. Held by one of them in turn it
                # would stay until the collector comes by, which looks at counts and not at megabytes.
                del error
        value: FirstResult = self._value
        return value

    def settle(self, future: asyncio.Future[FirstResult]) -> None:
        """Tell whoever still waits."""
        error, self._error = self._error, None
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(self._value)

    def forget(self) -> None:
        """Let go of what nobody asked for."""
        self._value = self._error = None


class WorkerPool:
    """Runs functions in ``workers`` threads; at most ``waiting`` more may wait, and none takes longer than ``limit_s``.

    Threads of our own and not an executor's: those are joined when the interpreter ends, and an engine that hangs would
    keep the process from ending for ever.
    """

    def __init__(self, workers: int, waiting: int, limit_s: float = 10.0, cores: int = 2) -> None:
        self._cores = cores
        self._jobs: queue.SimpleQueue[Callable[[HelperThread], None] | None] = queue.SimpleQueue()
        self._admitted = workers + waiting
        self._limit_s = limit_s
        self._in_flight = 0
        self._closed = False
        self._began: dict[int, int] = {}
        self._threads = [
            threading.Thread(target=self._work, args=(i,), name=f"adsn-score-{i}", daemon=True) for i in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def in_flight(self) -> int:
        """Pairs running or queued."""
        return self._in_flight

    @property
    def capacity(self) -> int:
        """Pairs that may run or wait at the same time."""
        return self._admitted

    def stuck_s(self) -> float:
        """Return for how long the oldest running pair has run; 0 where none runs."""
        began = list(self._began.values())
        return (time.monotonic_ns() - min(began)) / 1e9 if began else 0.0

    async def run(self, function: Callable[[HelperThread], FirstResult]) -> FirstResult:
        """Run ``function`` in a worker, which hands it its helper. Call from the event loop only.

        Raises:
            Overloaded: the queue is full. InferenceFailed: it took too long; its thread may still be at it.
        """
        if self._closed:
            raise NotReady("the service is stopping.")
        if self._in_flight >= self._admitted:
            raise Overloaded("more pairs are waiting than the service accepts. Try again in a moment.")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[FirstResult] = loop.create_future()
        self._in_flight += 1
        self._jobs.put(partial(self._perform, function, loop, future))
        timer = loop.call_later(self._limit_s, _expire, future, self._limit_s)
        try:
            return await future
        finally:
            timer.cancel()
            # See `_Job.result`: the future holds the error, the error this frame.
            del future

    def _perform(
        self,
        function: Callable[[HelperThread], FirstResult],
        loop: asyncio.AbstractEventLoop,
        future: asyncio.Future[FirstResult],
        helper: HelperThread,
    ) -> None:
        """In a worker: run ``function`` and tell the loop what became of it."""
        job = _Job(partial(function, helper))
        job.run()
        # Where the loop is gone, so is whoever asked.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(self._finish, future, job)
        # An error's traceback holds this frame too, as the caller of one that it passed.
        del future, job

    def _finish(self, future: asyncio.Future[FirstResult], job: _Job[FirstResult]) -> None:
        # Here and not where it is awaited: what runs on, though nobody waits any more, still takes its place.
        self._in_flight -= 1
        job.settle(future)

    def _work(self, index: int) -> None:
        helper = HelperThread(f"adsn-decode-{index}", lambda: 2 * len(self._began) <= self._cores)
        while (job := self._jobs.get()) is not None:
            self._began[index] = time.monotonic_ns()
            job(helper)
            # Not the last pair's pictures until the next one comes.
            del job
            self._began.pop(index, None)
        helper.close()

    def close(self, within_s: float = 1.0) -> None:
        """Let what runs finish, but not for longer than ``within_s``."""
        self._closed = True
        for _ in self._threads:
            self._jobs.put(None)
        until = time.monotonic() + within_s
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))


def _expire(future: asyncio.Future[Any], limit_s: float) -> None:
    if not future.done():
        future.set_exception(InferenceFailed(f"no score within {limit_s:g} seconds."))
