"""A simulated machine with TensorRT and a GPU."""

from __future__ import annotations

from typing import Any

import pytest

from runtime.bundle.manifest import Bundle
from runtime.engines.driver import Gpu
from runtime.engines.tensorrt import open as trt_open
from runtime.engines.tensorrt.build import build_plan
from runtime.engines.tensorrt.engine import TensorRTEngine
from runtime.engines.tensorrt.versions import BuildSettings
from tests.support.models.fake_device import FakeDevice
from tests.support.models.fake_tensorrt import FakeTensorRT

GPU = Gpu(0, "Fake GPU", (8, 7), 12020)


class Machine:
    """A machine with a fake GPU and TensorRT."""

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


def plan_of(bundle: Bundle, trt: FakeTensorRT, max_batch: int = 3) -> bytes:
    """Build the bundle's plan with a fake TensorRT."""
    return build_plan(trt, bundle.read("model-int8-trt"), BuildSettings(max_batch=max_batch)).plan


def engine_on(bundle: Bundle, device: FakeDevice, **options: Any) -> TensorRTEngine:
    """Open the bundle's engine on a fake device."""
    trt = FakeTensorRT("10.3.0")
    inputs = trt_open.inputs_of(bundle)
    return TensorRTEngine(
        plan_of(bundle, trt), trt, lambda: device, inputs, precision="int8", device_name="fake", **options
    )
