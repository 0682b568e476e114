"""For libraries whose read blocks for as long as it likes: a thread that reads, and a hand-over that keeps time."""

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
"""How long closing waits for the library; then it is left to its thread, which frees the device when it comes back."""


class ReaderThread(Generic[T]):
    """Calls ``step`` again and again in a thread of its own; `get` hands over what it returned (see `Mailbox`).

    ``step`` returns None when there is nothing yet. After `CameraData` it is called again, after anything else it
    raises the pump ends. ``release`` is called in the same thread at the end, so no library is closed while it reads.
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
        """End; returns within two seconds, and whether the library has been released by then."""
        self._mailbox.close()
        self._thread.join(CLOSE_S)
        if self._thread.is_alive():
            log.warning("%s: the library does not return; the device is freed when it does.", self._name)
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
    """Libraries in C++ abort the process when it ends while one of their calls runs in a thread."""
    for reader_thread in list(_running):
        reader_thread.close()


def as_capture_error(error: Exception, name: str) -> CaptureError:
    """A library's exception as one of ours. Its text may hold anything; its type is enough to look it up by."""
    if isinstance(error, CaptureError):
        return error
    return CameraLost(f"{name}: the library failed with {type(error).__name__}; reopen the camera.")
