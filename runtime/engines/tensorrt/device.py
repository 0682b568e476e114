"""GPU memory, streams and copies, behind one small interface with two providers: pycuda and cuda-bindings.

All methods are called from one thread, the engine's. Addresses are plain integers, which is what TensorRT takes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from numpy.typing import NDArray

from runtime.core.errors import EngineUnavailable


class Device(Protocol):
    """One GPU's primary context.

    Every method may raise `InferenceFailed` when the device is lost.
    """

    @property
    def provider(self) -> str: ...

    def allocate(self, size: int) -> int:
        """Address of ``size`` bytes on the device, which live until `close`."""
        ...

    def pinned(self, shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
        """A page-locked host array, from and to which copies run beside the computation."""
        ...

    def stream(self) -> int:
        """Handle of a new stream."""
        ...

    def copy_in(self, address: int, source: NDArray[Any], stream: int) -> None:
        """Begin to copy a contiguous host array to the device."""
        ...

    def copy_out(self, target: NDArray[Any], address: int, stream: int) -> None:
        """Begin to copy from the device into a contiguous host array."""
        ...

    def wait(self, stream: int) -> None:
        """Return when everything begun on ``stream`` has ended."""
        ...

    def capture(self, stream: int, work: Callable[[], None]) -> Callable[[], None] | None:
        """Record what ``work`` begins on ``stream`` as a CUDA graph → what launches it.

        None where the provider has no graphs. ``work`` must have run once before on the same addresses and shapes.
        """
        ...

    def close(self) -> None:
        """Give everything back. May be called twice."""
        ...


def open_device(index: int = 0, provider: str = "auto") -> Device:
    """The device with whichever provider is installed; cuda-bindings first, because it has CUDA graphs.

    Raises:
        EngineUnavailable: neither is installed or neither works; says why for each.
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
            raise EngineUnavailable(f"no device provider {name!r}; there are cuda-bindings and pycuda.")
        except EngineUnavailable as error:
            reasons.append(f"{name}: {error.message}")
    raise EngineUnavailable("no way to the GPU. " + " ".join(reasons))
