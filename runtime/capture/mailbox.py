"""Between a thread that gets pictures and one that wants them: newest wins, faults in order, an end that stays."""

from __future__ import annotations

import threading
from collections import deque
from typing import Generic, TypeVar

from runtime.core.errors import CameraData, CameraLost, CaptureError

T = TypeVar("T")

DEPTH = 4


class Mailbox(Generic[T]):
    """At most `DEPTH` results wait; when more come, the oldest go."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._ready = threading.Condition()
        self._waiting: deque[T | CameraData] = deque(maxlen=DEPTH)
        self._ended: CaptureError | None = None
        self._closed = False

    @property
    def closed(self) -> bool:
        return self._closed

    def put(self, found: T | CameraData) -> None:
        """Leave a result, or the fault of one picture."""
        with self._ready:
            self._waiting.append(found)
            self._ready.notify_all()

    def end(self, error: CaptureError) -> None:
        """Say that nothing more will come, and why."""
        with self._ready:
            self._ended = error
            self._ready.notify_all()

    def take(self, timeout_s: float) -> T | None:
        """The next result, or None when none came in time or the box was closed meanwhile.

        Raises:
            CameraData: one picture was faulty. CaptureError: why nothing more comes. CameraLost: closed before.
        """
        with self._ready:
            if self._closed:
                raise CameraLost(f"{self._name} was closed.")
            self._ready.wait_for(lambda: self._waiting or self._ended or self._closed, max(0.0, timeout_s))
            if self._closed:
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
        """End a `take` that waits; later ones are refused."""
        with self._ready:
            self._closed = True
            self._ready.notify_all()
