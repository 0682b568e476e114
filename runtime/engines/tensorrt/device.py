"""GPU memory, streams and copies: one interface with two providers, pycuda and cuda-bindings.

The engine calls all methods from its own thread. Addresses are plain integers, as TensorRT expects.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from numpy.typing import NDArray

from runtime.core.errors import EngineUnavailable


class GpuDevice(Protocol):
    """The primary context of one GPU.

    Every method may raise `InferenceFailed` if the device is lost.
    """

    @property
    def provider(self) -> str: ...

    def allocate(self, size: int) -> int:
        """Allocate ``size`` bytes on the device, which stay allocated until `close`, and return their address."""
        ...

    def pinned(self, shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
        """Return a page-locked host array. Copies from and to it can overlap with computation."""
        ...

    def stream(self) -> int:
        """Create a stream and return its handle."""
        ...

    def copy_in(self, address: int, source: NDArray[Any], stream: int) -> None:
        """Start to copy a contiguous host array to the device."""
        ...

    def copy_out(self, target: NDArray[Any], address: int, stream: int) -> None:
        """Start to copy from the device into a contiguous host array."""
        ...

    def wait(self, stream: int) -> None:
        """Wait until all work on ``stream`` has finished."""
        ...

    def capture(self, stream: int, work: Callable[[], None]) -> Callable[[], None] | None:
        """Record what ``work`` submits to ``stream`` as a CUDA graph, and return a function that launches it.

        Returns None if the provider does not support graphs. ``work`` must have run once before with the same addresses
        and shapes.
        """
        ...

    def close(self) -> None:
        """Release all resources. May be called more than once."""
        ...


def open_device(index: int = 0, provider: str = "auto") -> GpuDevice:
    """Open the device with the first provider that works. cuda-bindings comes first, because it has CUDA graphs.

    Raises:
        EngineUnavailable: no provider works. The message gives the reason for each.
    """
    reasons = []
    for name in ("cuda-bindings", "pycuda") if provider == "auto" else (provider,):
        try:
            if name == "cuda-bindings":
                from runtime.engines.tensorrt.device_bindings import BindingsDevice

                return BindingsDevice(index)
            if name == "pycuda":
                from runtime.engines.tensorrt.device_pycuda import PycudaDevice

                return PycudaDevice(index)
            raise EngineUnavailable(f"no device provider {name!r}; use cuda-bindings or pycuda.")
        except EngineUnavailable as error:
            reasons.append(f"{name}: {error.message}")
    raise EngineUnavailable("the GPU cannot be opened. " + " ".join(reasons))
