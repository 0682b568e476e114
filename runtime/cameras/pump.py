"""For libraries whose read blocks for as long as it likes: a thread that reads, and a hand-over that keeps time."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from runtime.errors import CameraData, CameraLost, CaptureError

T = TypeVar("T")
log = logging.getLogger(__name__)

DEPTH = 4
CLOSE_S = 1.5
"""How long closing waits for the library; then it is left to its thread, which frees the device when it comes back."""


class Pump(Generic[T]):
    """Calls ``step`` again and again in a thread of its own; `take` hands over what it returned, newest wins.

    ``step`` returns None when there is nothing yet. What it raises is raised by `take`: after `CameraData` it goes on,
    after anything else it ends. ``release`` is called in the same thread at the end, so no library is closed while it
    reads.
    """

    def __init__(self, step: Callable[[], T | None], release: Callable[[], None], name: str) -> None:
        self._step, self._release, self._name = step, release, name
        self._ready = threading.Condition()
        self._waiting: deque[T | CameraData] = deque(maxlen=DEPTH)
        self._ended: CaptureError | None = None
        self._closing = False
        self._thread = threading.Thread(target=self._run, name=f"pump {name}", daemon=True)
        self._thread.start()

    def take(self, timeout_s: float) -> T | None:
        """What the step returned, or None when nothing came in time or the pump was closed meanwhile.

        Raises:
            CameraData: as the step did. CameraLost: the step ended, or the pump was closed before.
        """
        with self._ready:
            if self._closing:
                raise CameraLost(f"{self._name} was closed.")
            self._ready.wait_for(lambda: self._waiting or self._ended or self._closing, max(0.0, timeout_s))
            if self._closing:
                return None
            if self._waiting:
                found = self._waiting.popleft()
                if isinstance(found, CameraData):
                    raise found
                return found
            if self._ended is not None:
                raise self._ended
            return None

    def close(self) -> None:
        """End; returns within two seconds."""
        with self._ready:
            self._closing = True
            self._ready.notify_all()
        if threading.current_thread() is self._thread:
            return
        self._thread.join(CLOSE_S)
        if self._thread.is_alive():
            log.warning("%s: the library does not return; the device is freed when it does.", self._name)

    def _run(self) -> None:
        try:
            while not self._closing:
                try:
                    found: T | CameraData | None = self._step()
                except CameraData as error:
                    found = error
                with self._ready:
                    if found is not None:
                        self._waiting.append(found)
                        self._ready.notify_all()
        except CaptureError as error:
            self._end(error)
        except Exception as error:
            # The message of a library's exception may hold anything; its type is enough to look it up by.
            self._end(CameraLost(f"{self._name}: the library failed with {type(error).__name__}; reopen the camera."))
        finally:
            with contextlib.suppress(Exception):
                self._release()

    def _end(self, error: CaptureError) -> None:
        with self._ready:
            self._ended = error
            self._ready.notify_all()
