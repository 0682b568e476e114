"""Pool of threads that score pairs outside the event loop.

It has a bounded queue, a few workers, and one helper thread for each worker.
"""

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
    """Thread that runs a second function in parallel, if ``idle`` reports that a core is free."""

    def __init__(self, name: str, idle: Callable[[], bool] = lambda: True) -> None:
        self._idle = idle
        self._jobs: queue.SimpleQueue[_Job[Any] | None] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[_Job[Any]] = queue.SimpleQueue()
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def run_both(
        self, first: Callable[[], FirstResult], second: Callable[[], SecondResult]
    ) -> tuple[FirstResult, SecondResult]:
        """Run ``first`` in the helper thread and ``second`` in the calling thread, and return both results.

        Without a free core they run one after the other, which is then faster. An exception from ``first`` is raised,
        or else one from ``second``.
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
    """A call and its outcome."""

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
        """Return the result or raise the exception of the call. Use only once."""
        error, self._error = self._error, None
        if error is not None:
            try:
                raise error
            finally:
                # An exception references the stack frames it passed, and with them the images of a request. In a
                # reference cycle they would stay in memory until the garbage collector runs, and it does not consider
                # how large objects are.
                del error
        value: FirstResult = self._value
        return value

    def settle(self, future: asyncio.Future[FirstResult]) -> None:
        """Set the result or exception on ``future`` if it is still awaited."""
        error, self._error = self._error, None
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(self._value)

    def forget(self) -> None:
        """Discard a result or exception that nobody awaits."""
        self._value = self._error = None


class WorkerPool:
    """Pool of ``workers`` threads. At most ``waiting`` further calls may queue, and no call may take longer than
    ``limit_s``.

    The pool does not use an executor, because the interpreter joins the threads of an executor at exit. An engine that
    hangs would then keep the process from ending.
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
        """Number of pairs running or queued."""
        return self._in_flight

    @property
    def capacity(self) -> int:
        """Maximum number of pairs running or queued."""
        return self._admitted

    def stuck_s(self) -> float:
        """Return the running time of the oldest running pair in seconds, or 0 if none is running."""
        began = list(self._began.values())
        return (time.monotonic_ns() - min(began)) / 1e9 if began else 0.0

    async def run(self, function: Callable[[HelperThread], FirstResult]) -> FirstResult:
        """Run ``function`` in a worker and return its result.

        The worker passes its helper thread as the argument. Call only from the event loop.

        Raises:
            Overloaded: the queue is full.
            InferenceFailed: the call took too long. Its thread may still be running it.
        """
        if self._closed:
            raise NotReady("the service is stopping.")
        if self._in_flight >= self._admitted:
            raise Overloaded("too many pairs are waiting. Try again in a moment.")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[FirstResult] = loop.create_future()
        self._in_flight += 1
        self._jobs.put(partial(self._perform, function, loop, future))
        timer = loop.call_later(self._limit_s, _expire, future, self._limit_s)
        try:
            return await future
        finally:
            timer.cancel()
            # Break a reference cycle as in `_Job.result`: the future references the error, and the error references
            # this frame.
            del future

    def _perform(
        self,
        function: Callable[[HelperThread], FirstResult],
        loop: asyncio.AbstractEventLoop,
        future: asyncio.Future[FirstResult],
        helper: HelperThread,
    ) -> None:
        """Run ``function`` in a worker thread and report the outcome to the event loop."""
        job = _Job(partial(function, helper))
        job.run()
        # If the event loop has ended, nobody awaits the outcome.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(self._finish, future, job)
        # The traceback of an error references this frame too, because it called the failed function.
        del future, job

    def _finish(self, future: asyncio.Future[FirstResult], job: _Job[FirstResult]) -> None:
        # Decrement here and not in the awaiting task, because a call that nobody awaits any more still occupies its
        # place.
        self._in_flight -= 1
        job.settle(future)

    def _work(self, index: int) -> None:
        helper = HelperThread(f"adsn-decode-{index}", lambda: 2 * len(self._began) <= self._cores)
        while (job := self._jobs.get()) is not None:
            self._began[index] = time.monotonic_ns()
            job(helper)
            # Release the images of the last pair before waiting for the next job.
            del job
            self._began.pop(index, None)
        helper.close()

    def close(self, within_s: float = 1.0) -> None:
        """Wait for running calls to finish, for at most ``within_s``."""
        self._closed = True
        for _ in self._threads:
            self._jobs.put(None)
        until = time.monotonic() + within_s
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))


def _expire(future: asyncio.Future[Any], limit_s: float) -> None:
    if not future.done():
        future.set_exception(InferenceFailed(f"the engine returned no score within {limit_s:g} seconds."))
