"""``make bench-gpu`` completes on a fake TensorRT, whose timings mean nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnxruntime
import pytest

from benchmarks.gpu import Plan, measure, page
from runtime.core.errors import EngineUnavailable
from runtime.engines.driver import Gpu
from runtime.engines.tensorrt.build import BuiltEngine, build_plan
from runtime.engines.tensorrt.versions import BuildSettings
from tests.support.models.fake_tensorrt import FakeDevice, FakeTensorRT
from tests.support.models.shipped import complete_bundle


@pytest.mark.parametrize(
    ("version", "precisions"), [("10.3.0", ["int8", "fp16", "fp32"]), ("11.0.0.114", ["int8", "fp32"])]
)
def test_every_precision_is_built_compared_and_timed(version: str, precisions: list[str], tmp_path: Path) -> None:
    gpu = Gpu(0, "Fake GPU", (8, 7), 12020)
    found = measure(complete_bundle(tmp_path / "b"), FakeTensorRT(version), gpu, FakeDevice, Plan(rounds=2, pairs=32))
    assert [m.precision for m in found] == precisions
    # The fake engine computes every Q/DQ step by step, so these differences come from the artifacts alone.
    by_name = {m.precision: m for m in found}
    assert by_name["fp32"].difference < 1e-4
    # The scales for TensorRT 11 are float16, which ONNX Runtime before 1.30 rounds wrongly.
    old = version.startswith("11") and tuple(map(int, onnxruntime.__version__.split(".")[:2])) < (1, 30)
    assert 0 < by_name["int8"].difference < (0.8 if old else 0.3)
    assert all(len(times) == 2 for m in found for times in m.milliseconds.values())
    text = page(found, gpu, version, "fake")
    assert text.count("\n| ") == len(precisions) + 2
    assert "Fake GPU" in text


def test_a_precision_that_fails_costs_the_others_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(trt: Any, model: bytes, settings: BuildSettings, **named: Any) -> BuiltEngine:
        if settings.precision == "fp16":
            raise EngineUnavailable("no tactic for a layer")
        return build_plan(trt, model, settings, **named)

    monkeypatch.setattr("benchmarks.gpu.build_plan", refuse)
    gpu = Gpu(0, "Fake GPU", (8, 7), 12020)
    plan = Plan(rounds=2, pairs=32, graphs=False)
    found = measure(complete_bundle(tmp_path / "b"), FakeTensorRT("8.6.0"), gpu, FakeDevice, plan)
    assert [m.precision for m in found] == ["int8", "fp32", "fp16"]
    text = page(found, gpu, "8.6.0", "fake", graphs=False)
    assert "not measured: no tactic for a layer" in text
    assert "without CUDA graphs" in text
