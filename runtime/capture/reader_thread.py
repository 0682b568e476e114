"""Reader thread for libraries whose read call may block forever, so that reading from outside can have a timeout."""

from __future__ import annotations

import atexit
import contextlib
import logging
import threading
import weakref
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from runtime.capture.mailbox import Mailbox
from runtime.core.errors import CameraData, CameraLost, CaptureError

T = TypeVar("T")
log = logging.getLogger(__name__)

CLOSE_S = 1.5
"""Longest time in seconds that closing waits for the library. After that the thread is abandoned; it frees the device
when its call returns."""


class ReaderThread(Generic[T]):
    """Thread that calls ``step`` repeatedly and hands the results to `get` through a `Mailbox`.

    ``step`` returns None if there is no result yet. It is called again after it raised `CameraData`; any other
    exception ends the thread. ``release`` is called last and in the same thread, so that the library is never closed
    during a read.
    """

    def __init__(self, step: Callable[[], T | None], release: Callable[[], None], name: str) -> None:
        self._step, self._release, self._name = step, release, name
        self._mailbox: Mailbox[T] = Mailbox(name)
        self._thread = threading.Thread(target=self._run, name=f"pump {name}", daemon=True)
        self._thread.start()
        _running.add(self)

    def get(self, timeout_s: float) -> T | None:
        """See `Mailbox.get`."""
        return self._mailbox.get(timeout_s)

    def close(self) -> bool:
        """Stop the thread within two seconds. Return whether the library has been released by then."""
        self._mailbox.close()
        self._thread.join(CLOSE_S)
        if self._thread.is_alive():
            log.warning("%s: a call into the library does not return; the device is freed when it does.", self._name)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            while not self._mailbox.closed:
                try:
                    item = self._step()
                except CameraData as error:
                    self._mailbox.put(error)
                    continue
                if item is not None:
                    self._mailbox.put(item)
        except Exception as error:
            self._mailbox.end(as_capture_error(error, self._name))
        finally:
            with contextlib.suppress(Exception):
                self._release()


_running: weakref.WeakSet[ReaderThread[Any]] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    """Close all reader threads at exit, because some C++ libraries abort the process if it exits during a call."""
    for reader_thread in list(_running):
        reader_thread.close()


def as_capture_error(error: Exception, name: str) -> CaptureError:
    """Convert an exception of a library to a `CaptureError`. The message contains only its type, because its text is
    not under our control and may contain secrets."""
    if isinstance(error, CaptureError):
        return error
    return CameraLost(f"{name}: the library failed with {type(error).__name__}; open the camera again.")
