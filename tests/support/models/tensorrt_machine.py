"""A machine with TensorRT and a GPU, both pretended."""

from __future__ import annotations

import pytest

from runtime.engines.driver import Gpu
from runtime.engines.tensorrt import open as trt_open
from tests.support.models.fake_tensorrt import FakeDevice, FakeTensorRT

GPU = Gpu(0, "Fake GPU", (8, 7), 12020)


class Machine:
    """A machine with a pretended GPU and TensorRT."""

    def __init__(self, version: str) -> None:
        self.trt = FakeTensorRT(version)
        self.devices: list[FakeDevice] = []

    def open_device(self, index: int, provider: str) -> FakeDevice:
        self.devices.append(FakeDevice())
        return self.devices[-1]


def machine_of(version: str, monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine(version)
    monkeypatch.setattr(trt_open, "import_tensorrt", lambda: made.trt)
    monkeypatch.setattr(trt_open, "find_gpus", lambda: [GPU])
    monkeypatch.setattr(trt_open, "open_device", made.open_device)
    return made
