"""A thread that owns a resource and runs submitted calls in order.

It is a daemon thread, so that a call that never returns cannot keep the process alive. In the standard executor it
would.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")


class OwningThread:
    """Thread that runs submitted calls one after the other."""

    def __init__(self, name: str) -> None:
        self._calls: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._closed = False
        threading.Thread(target=self._work, name=name, daemon=True).start()

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            future, function = call
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(function())
            except BaseException as error:  # the caller waiting for the future receives it
                future.set_exception(error)

    def submit(self, function: Callable[[], T]) -> Future[T]:
        """Queue a call and return the future of its result.

        Raises:
            RuntimeError: the thread was closed.
        """
        future: Future[T] = Future()
        with self._lock:
            if self._closed:
                raise RuntimeError("the thread is closed")
            self._calls.put((future, function))
        return future

    def close(self, last: Callable[[], T]) -> Future[T] | None:
        """Queue ``last`` as the final call. Return None if the thread was already closed."""
        with self._lock:
            if self._closed:
                return None
            self._closed = True
            future: Future[T] = Future()
            self._calls.put((future, last))
            self._calls.put(None)
        return future
