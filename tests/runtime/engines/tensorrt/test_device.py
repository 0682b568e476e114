"""Both device providers on fake libraries with the same calls, and their errors when not installed."""

from __future__ import annotations

import ctypes
import enum
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from runtime.core.errors import EngineUnavailable, InferenceFailed
from runtime.engines.tensorrt.device import open_device
from runtime.engines.tensorrt.device_bindings import BindingsDevice
from runtime.engines.tensorrt.device_pycuda import PycudaDevice


class Code(enum.IntEnum):
    cudaSuccess = 0
    cudaErrorNoDevice = 100
    cudaErrorUnknown = 999


class FakeRuntime:
    """Fake of cuda.bindings.runtime in the memory of this process. Functions return a code and their results."""

    cudaHostAllocDefault = 0
    cudaStreamNonBlocking = 1
    cudaMemcpyKind = SimpleNamespace(cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2)
    cudaStreamCaptureMode = SimpleNamespace(cudaStreamCaptureModeThreadLocal=1)

    def __init__(self) -> None:
        self.live: dict[str, set[int]] = {"memory": set(), "host": set(), "stream": set(), "graph": set()}
        self.buffers: dict[int, Any] = {}
        self.capturing: list[Any] | None = None
        self.fails = ""
        self.count = 100

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any) -> tuple[Any, ...]:
            if name == self.fails:
                return (Code.cudaErrorUnknown,)
            return self.perform(name, arguments)

        return call

    def _new(self, kind: str) -> int:
        self.count += 1
        self.live[kind].add(self.count)
        return self.count

    def perform(self, name: str, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        done = (Code.cudaSuccess,)
        if name in ("cudaMalloc", "cudaHostAlloc"):
            buffer = ctypes.create_string_buffer(arguments[0])
            address = ctypes.addressof(buffer)
            self.buffers[address] = buffer
            self.live["memory" if name == "cudaMalloc" else "host"].add(address)
            return (*done, address)
        if name in ("cudaFree", "cudaFreeHost"):
            self.live["memory" if name == "cudaFree" else "host"].remove(arguments[0])
        elif name == "cudaStreamCreateWithFlags":
            return (*done, self._new("stream"))
        elif name == "cudaStreamDestroy":
            self.live["stream"].remove(arguments[0])
        elif name == "cudaMemcpyAsync":
            if self.capturing is not None:
                self.capturing.append(arguments)
            else:
                ctypes.memmove(arguments[0], arguments[1], arguments[2])
        elif name == "cudaStreamBeginCapture":
            self.capturing = []
        elif name == "cudaStreamEndCapture":
            graph, self.capturing = self.capturing, None
            return (*done, graph)
        elif name == "cudaGraphInstantiate":
            handle = self._new("graph")
            self.buffers[handle] = arguments[0]
            return (*done, handle)
        elif name == "cudaGraphLaunch":
            for copy in self.buffers[arguments[0]]:
                ctypes.memmove(copy[0], copy[1], copy[2])
        elif name == "cudaGraphExecDestroy":
            self.live["graph"].remove(arguments[0])
        return done


def test_bindings_copy_capture_and_give_everything_back() -> None:
    cuda = FakeRuntime()
    device = BindingsDevice(0, cuda)
    stream = device.stream()
    source, target = device.pinned((2, 3), "float32"), device.pinned((2, 3), "float32")
    address = device.allocate(source.nbytes)
    source[:] = np.arange(6).reshape(2, 3)

    def there_and_back() -> None:
        device.copy_in(address, source, stream)
        device.copy_out(target, address, stream)

    there_and_back()
    device.wait(stream)
    assert np.array_equal(source, target)
    launch = device.capture(stream, there_and_back)
    source += 10
    assert not np.array_equal(source, target), "nothing runs while it is recorded"
    assert launch is not None
    launch()
    assert np.array_equal(source, target)
    assert all(cuda.live.values())
    device.close()
    device.close()
    assert not any(cuda.live.values())


def test_bindings_say_what_failed_and_leave_the_capture() -> None:
    cuda = FakeRuntime()
    device = BindingsDevice(0, cuda)
    stream = device.stream()

    def fails() -> None:
        raise InferenceFailed("refused")

    with pytest.raises(InferenceFailed, match="refused"):
        device.capture(stream, fails)
    assert cuda.capturing is None, "the stream would stay in capture for good"
    cuda.fails = "cudaMalloc"
    with pytest.raises(InferenceFailed, match=r"cudaMalloc failed with cudaErrorUnknown.*restart it"):
        device.allocate(8)
    cuda.fails = "cudaStreamDestroy"
    device.close()
    cuda.fails = "cudaSetDevice"
    with pytest.raises(EngineUnavailable, match="device 3 cannot be used"):
        BindingsDevice(3, cuda)


class FakePycuda:
    """Fake of pycuda.driver."""

    class Error(Exception):
        pass

    def __init__(self) -> None:
        self.freed = 0
        self.stack: list[str] = []
        self.broken = False

    def init(self) -> None:
        if self.broken:
            raise self.Error("cuInit failed: no CUDA-capable device is detected")

    def Device(self, index: int) -> Any:  # name used by the library
        def detach() -> None:
            self.stack.append("detached")

        context = SimpleNamespace(push=lambda: self.stack.append("pushed"), pop=self.stack.clear, detach=detach)
        return SimpleNamespace(retain_primary_context=lambda: context)

    def mem_alloc(self, size: int) -> Any:
        if self.broken:
            raise self.Error("cuMemAlloc failed: out of memory")
        owner = self

        class Allocation:
            def __init__(self) -> None:
                self.buffer = ctypes.create_string_buffer(size)

            def __int__(self) -> int:
                return ctypes.addressof(self.buffer)

            def free(self) -> None:
                if owner.broken:
                    raise owner.Error("context is destroyed")
                owner.freed += 1

        return Allocation()

    def pagelocked_empty(self, shape: tuple[int, ...], dtype: str) -> Any:
        return np.zeros(shape, dtype)

    def Stream(self) -> Any:
        return SimpleNamespace(handle=7, synchronize=lambda: None)

    def memcpy_htod_async(self, address: int, source: Any, stream: Any) -> None:
        ctypes.memmove(address, source.ctypes.data, source.nbytes)

    def memcpy_dtoh_async(self, target: Any, address: int, stream: Any) -> None:
        ctypes.memmove(target.ctypes.data, address, target.nbytes)


def test_pycuda_copies_and_gives_everything_back() -> None:
    cuda = FakePycuda()
    device = PycudaDevice(0, cuda)
    assert cuda.stack == ["pushed"]
    stream = device.stream()
    source, target = device.pinned((4,), "float32"), device.pinned((4,), "float32")
    source[:] = 3
    address = device.allocate(source.nbytes)
    device.copy_in(address, source, stream)
    device.copy_out(target, address, stream)
    device.wait(stream)
    assert np.array_equal(source, target)
    assert device.capture(stream, lambda: None) is None
    device.close()
    device.close()
    assert (cuda.freed, cuda.stack) == (1, ["detached"])


def test_pycuda_errors() -> None:
    cuda = FakePycuda()
    device = PycudaDevice(0, cuda)
    device.allocate(4)
    cuda.broken = True
    with pytest.raises(InferenceFailed, match="out of memory"):
        device.allocate(4)
    device.close()
    assert cuda.stack == ["detached"], "a lost device is let go all the same"
    with pytest.raises(EngineUnavailable, match="no CUDA-capable device"):
        PycudaDevice(0, cuda)


def test_with_neither_installed_both_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("cuda", "cuda.bindings", "pycuda"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(EngineUnavailable, match=r"cuda-bindings: not installed.*pycuda: cannot be imported"):
        open_device()
    with pytest.raises(EngineUnavailable, match="no device provider 'opencl'"):
        open_device(0, "opencl")


def test_bindings_are_preferred_because_they_have_graphs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cuda", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "cuda.bindings", SimpleNamespace(runtime=FakeRuntime()))
    monkeypatch.setitem(sys.modules, "pycuda", SimpleNamespace(driver=FakePycuda()))
    assert [open_device(0, p).provider for p in ("auto", "cuda-bindings", "pycuda")] == [
        "cuda-bindings",
        "cuda-bindings",
        "pycuda",
    ]
