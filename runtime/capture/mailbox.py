"""Hand over images from a reader thread to a consumer that wants the newest ones. Errors keep their place in the order,
and an end is final."""

from __future__ import annotations

import threading
from collections import deque
from typing import Generic, TypeVar

from runtime.core.errors import CameraData, CameraLost, CaptureError

T = TypeVar("T")

DEPTH = 4


class Mailbox(Generic[T]):
    """Queue of at most `DEPTH` results; when it is full, the oldest result is dropped."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._ready = threading.Condition()
        self._queue: deque[T | CameraData] = deque(maxlen=DEPTH)
        self._ended: CaptureError | None = None
        self._closed = False

    @property
    def closed(self) -> bool:
        return self._closed

    def put(self, item: T | CameraData) -> None:
        """Add a result, or the error of a single image."""
        with self._ready:
            self._queue.append(item)
            self._ready.notify_all()

    def end(self, error: CaptureError) -> None:
        """Mark the end of the results, with its reason."""
        with self._ready:
            self._ended = error
            self._ready.notify_all()

    def get(self, timeout_s: float) -> T | None:
        """Return the next result, or None after ``timeout_s`` or if the mailbox is closed meanwhile.

        Raises:
            CameraData: a single image was faulty. CaptureError: the results have ended; this is the error given to
                `end`. CameraLost: the mailbox was closed before the call.
        """
        with self._ready:
            if self._closed:
                raise CameraLost(f"{self._name} was closed.")
            self._ready.wait_for(lambda: self._queue or self._ended or self._closed, max(0.0, timeout_s))
            if self._closed:
                return None
            if self._queue:
                item = self._queue.popleft()
                if isinstance(item, CameraData):
                    raise item
                return item
            if self._ended is not None:
                raise self._ended
            return None

    def close(self) -> None:
        """Close the mailbox. A waiting `get` returns None; later calls raise."""
        with self._ready:
            self._closed = True
            self._ready.notify_all()
