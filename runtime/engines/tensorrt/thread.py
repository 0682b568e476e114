"""One thread that owns something, and does what it is asked in order. A daemon: work that never ends cannot keep the
process from ending, as the standard executor's threads do."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")


class OwningThread:
    """Runs submitted calls one after the other on its own thread."""

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
            except BaseException as error:  # handed to whoever waits, whatever it is
                future.set_exception(error)

    def submit(self, function: Callable[[], T]) -> Future[T]:
        """Queue a call.

        Raises:
            RuntimeError: after `close`.
        """
        future: Future[T] = Future()
        with self._lock:
            if self._closed:
                raise RuntimeError("the thread is closed")
            self._calls.put((future, function))
        return future

    def close(self, last: Callable[[], T]) -> Future[T] | None:
        """Queue ``last`` as the last call; None when it was closed before."""
        with self._lock:
            if self._closed:
                return None
            self._closed = True
            future: Future[T] = Future()
            self._calls.put((future, last))
            self._calls.put(None)
        return future
