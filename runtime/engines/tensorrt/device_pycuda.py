"""`GpuDevice` on pycuda (built from source against the installed CUDA, without CUDA graphs)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

from runtime.core.errors import EngineUnavailable, InferenceFailed


def _import() -> Any:
    try:
        from pycuda import driver
    except ImportError as error:
        # Without a driver the import itself fails, on the first symbol of libcuda.
        raise EngineUnavailable(
            f"cannot be imported ({error}). Running it needs the NVIDIA driver; building it (pip install pycuda) needs "
            "g++, cuda.h and CUDA_ROOT."
        ) from error
    return driver


class PycudaDevice:
    """See `runtime.engines.tensorrt.device.GpuDevice`."""

    provider = "pycuda"

    def __init__(self, index: int = 0, driver: Any = None) -> None:
        self._cuda = driver or _import()
        self._memory: dict[int, Any] = {}
        self._streams: dict[int, Any] = {}
        self._host: list[Any] = []
        self._context: Any = None
        try:
            self._cuda.init()
            # Use the primary context, like TensorRT and other libraries in this process.
            self._context = self._cuda.Device(index).retain_primary_context()
            self._context.push()
        except self._cuda.Error as error:
            raise EngineUnavailable(f"device {index} cannot be used: {error}") from error

    def _lost(self, error: Exception) -> InferenceFailed:
        return InferenceFailed(
            f"CUDA failed: {error}. If this persists, the process has lost the GPU: restart it, and look for Xid "
            "errors in dmesg."
        )

    def _call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return function(*arguments)
        except self._cuda.Error as error:
            raise self._lost(error) from error

    def allocate(self, size: int) -> int:
        memory = self._call(self._cuda.mem_alloc, max(size, 1))
        self._memory[int(memory)] = memory
        return int(memory)

    def pinned(self, shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
        array: NDArray[Any] = self._call(self._cuda.pagelocked_empty, shape, dtype)
        self._host.append(array)
        return array

    def stream(self) -> int:
        stream = self._call(self._cuda.Stream)
        self._streams[int(stream.handle)] = stream
        return int(stream.handle)

    def copy_in(self, address: int, source: NDArray[Any], stream: int) -> None:
        self._call(self._cuda.memcpy_htod_async, address, source, self._streams[stream])

    def copy_out(self, target: NDArray[Any], address: int, stream: int) -> None:
        self._call(self._cuda.memcpy_dtoh_async, target, address, self._streams[stream])

    def wait(self, stream: int) -> None:
        self._call(self._streams[stream].synchronize)

    def capture(self, stream: int, work: Callable[[], None]) -> Callable[[], None] | None:
        return None

    def close(self) -> None:
        if self._context is None:
            return
        context, self._context = self._context, None
        for memory in self._memory.values():
            try:
                memory.free()
            except self._cuda.Error:
                # Memory on a lost device cannot be freed, and closing must still finish.
                continue
        self._memory.clear()
        self._streams.clear()
        self._host.clear()
        try:
            context.pop()
            context.detach()
        except self._cuda.Error:
            return
