"""`GpuDevice` on NVIDIA's cuda-bindings (available as wheels). Its runtime API uses the primary context."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.core.errors import EngineUnavailable, InferenceFailed


def _import() -> Any:
    try:
        from cuda.bindings import runtime
    except ImportError as error:
        raise EngineUnavailable(f"not installed ({error}): pip install 'cuda-bindings>=12.6'.") from error
    return runtime


class BindingsDevice:
    """See `runtime.engines.tensorrt.device.GpuDevice`."""

    provider = "cuda-bindings"

    def __init__(self, index: int = 0, runtime: Any = None) -> None:
        self._cuda = runtime or _import()
        self._memory: list[int] = []
        self._host: list[int] = []
        self._streams: list[Any] = []
        self._graphs: list[Any] = []
        try:
            self._call("cudaSetDevice", index)
        except InferenceFailed as error:
            raise EngineUnavailable(f"device {index} cannot be used: {error.message}") from error

    def _call(self, name: str, *arguments: Any) -> Any:
        code, *result = getattr(self._cuda, name)(*arguments)
        if int(code):
            raise InferenceFailed(
                f"{name} failed with {getattr(code, 'name', code)}. If this persists, the process has lost the GPU: "
                "restart it, and look for Xid errors in dmesg."
            )
        return result[0] if len(result) == 1 else result or None

    def allocate(self, size: int) -> int:
        address = int(self._call("cudaMalloc", max(size, 1)))
        self._memory.append(address)
        return address

    def pinned(self, shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
        count = int(np.prod(shape, dtype=np.int64))
        size = max(count * np.dtype(dtype).itemsize, 1)
        address = int(self._call("cudaHostAlloc", size, self._cuda.cudaHostAllocDefault))
        self._host.append(address)
        buffer = memoryview((ctypes.c_char * size).from_address(address))
        array: NDArray[Any] = np.frombuffer(buffer, np.dtype(dtype), count).reshape(shape)
        return array

    def stream(self) -> int:
        stream = self._call("cudaStreamCreateWithFlags", self._cuda.cudaStreamNonBlocking)
        self._streams.append(stream)
        return int(stream)

    def copy_in(self, address: int, source: NDArray[Any], stream: int) -> None:
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._call("cudaMemcpyAsync", address, source.ctypes.data, source.nbytes, kind, stream)

    def copy_out(self, target: NDArray[Any], address: int, stream: int) -> None:
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._call("cudaMemcpyAsync", target.ctypes.data, address, target.nbytes, kind, stream)

    def wait(self, stream: int) -> None:
        self._call("cudaStreamSynchronize", stream)

    def capture(self, stream: int, work: Callable[[], None]) -> Callable[[], None] | None:
        mode = self._cuda.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._call("cudaStreamBeginCapture", stream, mode)
        try:
            work()
        finally:
            # End the capture after a failure too; otherwise the stream would stay in capture mode.
            graph = self._call("cudaStreamEndCapture", stream)
        ready = self._call("cudaGraphInstantiate", graph, 0)
        self._call("cudaGraphDestroy", graph)
        self._graphs.append(ready)
        return lambda: self._call("cudaGraphLaunch", ready, stream)

    def close(self) -> None:
        given = [("cudaGraphExecDestroy", self._graphs), ("cudaStreamDestroy", self._streams)]
        for name, things in [*given, ("cudaFreeHost", self._host), ("cudaFree", self._memory)]:
            while things:
                # Errors are ignored: on a lost device every call fails, and closing must still finish.
                getattr(self._cuda, name)(things.pop())
