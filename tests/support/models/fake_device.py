"""A fake GPU: device memory, streams and captured graphs in the memory of this process."""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.core.errors import InferenceFailed

STREAMS = itertools.count(1)
RECORDING: dict[int, list[Callable[[], None]]] = {}
"""Stream → work submitted to it, for streams that are being captured."""


def submit(stream: int, work: Callable[[], None]) -> None:
    """Run ``work``, or record it if the stream is being captured."""
    if stream in RECORDING:
        RECORDING[stream].append(work)
    else:
        work()


class FakeDevice:
    """`GpuDevice` in the memory of this process. ``lost``: whether every call fails. ``stuck``: whether no call ever
    completes."""

    provider = "fake"

    def __init__(self, *, graphs: bool = True) -> None:
        self.graphs, self.lost = graphs, False
        self.stuck: Callable[[], None] | None = None
        self.memory: dict[int, Any] = {}
        self.launches = 0
        self.closed = 0

    def _use(self) -> None:
        if self.lost:
            raise InferenceFailed("cudaErrorDevicesUnavailable: the GPU is lost to this process; restart it.")

    def allocate(self, size: int) -> int:
        self._use()
        buffer = ctypes.create_string_buffer(size)
        self.memory[ctypes.addressof(buffer)] = buffer
        return ctypes.addressof(buffer)

    def pinned(self, shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
        return np.zeros(shape, dtype)

    def stream(self) -> int:
        return next(STREAMS)

    def copy_in(self, address: int, source: NDArray[Any], stream: int) -> None:
        self._use()
        assert source.flags.c_contiguous
        submit(stream, lambda: _move(address, source.ctypes.data, source.nbytes))

    def copy_out(self, target: NDArray[Any], address: int, stream: int) -> None:
        self._use()
        assert target.flags.c_contiguous
        submit(stream, lambda: _move(target.ctypes.data, address, target.nbytes))

    def wait(self, stream: int) -> None:
        self._use()
        if self.stuck is not None:
            self.stuck()

    def capture(self, stream: int, work: Callable[[], None]) -> Callable[[], None] | None:
        if not self.graphs:
            return None
        recorded: list[Callable[[], None]] = []
        RECORDING[stream] = recorded
        try:
            work()
        finally:
            del RECORDING[stream]

        def launch() -> None:
            self._use()
            self.launches += 1
            for step in recorded:
                step()

        return launch

    def close(self) -> None:
        self.closed += 1
        self.memory.clear()


def _move(target: int, source: int, size: int) -> None:
    ctypes.memmove(target, source, size)
