"""Devices that the NVIDIA driver reports, and the message without a driver."""

from __future__ import annotations

import ctypes
import sys
from typing import Any

import pytest

from runtime.core.errors import EngineUnavailable
from runtime.engines import driver
from runtime.engines.driver import Gpu, find_gpus
from runtime.engines.tensorrt.versions import import_tensorrt


def test_without_a_driver_nothing_of_tensorrt_is_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "LIBRARY", "libcuda-that-is-not-there.so.1")
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(EngineUnavailable, match="no NVIDIA driver"):
        import_tensorrt()


class FakeCuda:
    """Fake of libcuda as used through ctypes. ``fails``: function that returns the error 999."""

    def __init__(self, count: int = 1, fails: str = "") -> None:
        self.count, self.fails = count, fails

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any) -> int:
            if name == self.fails:
                return 999
            targets = [getattr(a, "_obj", a) for a in arguments]
            if name == "cuDeviceGetCount":
                targets[0].value = self.count
            elif name == "cuDriverGetVersion":
                targets[0].value = 12040
            elif name == "cuDeviceGetName":
                targets[0].value = b"NVIDIA Test"
            elif name == "cuDeviceGetAttribute":
                targets[0].value = {75: 8, 76: 9}[targets[1]]
            return 0

        return call


def test_what_the_driver_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: FakeCuda())
    assert find_gpus() == [Gpu(0, "NVIDIA Test", (8, 9), 12040)]
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(EngineUnavailable, match="TensorRT is not installed"):
        import_tensorrt()
    monkeypatch.setattr(ctypes, "CDLL", lambda name: FakeCuda(0))
    with pytest.raises(EngineUnavailable, match="reports no GPU"):
        find_gpus()
    monkeypatch.setattr(ctypes, "CDLL", lambda name: FakeCuda(1, "cuInit"))
    with pytest.raises(EngineUnavailable, match="cuInit with error 999"):
        find_gpus()
