"""A scripted camera, and a clock that tests advance."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

import numpy as np

from runtime.capture.source import SourceInfo
from runtime.core.errors import CameraLost
from runtime.core.values import Frame

IMAGE = np.zeros((2, 2, 1), np.uint8)
INFO = SourceInfo("ir", "fake:", "fake", "fake", 2, 2, "GREY", 30.0, "synthetic")


Step = Callable[["FakeSource"], Frame | None]


def frame(source: FakeSource, seq: int | None = None) -> Frame:
    """Return the next frame of a source."""
    source.seq = source.seq + 1 if seq is None else seq
    now = time.monotonic_ns()
    return Frame("ir", IMAGE, now, now, source.seq, "synthetic", generation=source.generation)


class FakeSource:
    """Source that runs its script, one step per read, and then returns nothing until it is closed."""

    alive = 0

    def __init__(self, generation: int, *steps: Step) -> None:
        self.generation, self.seq, self.steps = generation, -1, list(steps)
        self.closed = threading.Event()
        # Like a real camera, hold a file descriptor and memory.
        self.descriptor = os.open("/dev/null", os.O_RDONLY)
        self.buffer = bytearray(1 << 16)
        type(self).alive += 1

    @property
    def info(self) -> SourceInfo:
        return INFO

    def read(self, timeout_s: float) -> Frame | None:
        if self.closed.is_set():
            raise CameraLost("closed.")
        if self.steps:
            return self.steps.pop(0)(self)
        self.closed.wait(min(timeout_s, 0.01))
        return None

    def close(self) -> None:
        if not self.closed.is_set():
            self.closed.set()
            os.close(self.descriptor)
            type(self).alive -= 1


def raising(error: Exception) -> Step:
    """Return a step that fails."""

    def step(source: FakeSource) -> Frame | None:
        raise error

    return step


class Clock:
    """A clock that tests advance."""

    def __init__(self) -> None:
        self.ns = 10**12

    def __call__(self) -> int:
        return self.ns
