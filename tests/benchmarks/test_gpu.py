"""``make bench-gpu`` runs to its end on a fake TensorRT, whose timings are meaningless."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnxruntime
import pytest

from benchmarks import gpu as benchmark
from benchmarks.gpu import Machine, Measured, Plan, Setup, limits, measure, page, page_name, precisions, write
from runtime.bundle.manifest import Bundle
from runtime.core.errors import EngineUnavailable, InferenceFailed
from runtime.engines.driver import Gpu
from runtime.engines.tensorrt.build import BuiltEngine, build_plan
from runtime.engines.tensorrt.engine import TensorRTEngine
from runtime.engines.tensorrt.versions import BuildSettings
from tests.support.models.fake_device import FakeDevice
from tests.support.models.fake_tensorrt import FakeTensorRT
from tests.support.models.shipped import complete_bundle

GPU = Gpu(0, "Fake GPU", (8, 7), 12020)
SHORT = Plan(rounds=2, pairs=32)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return complete_bundle(tmp_path_factory.mktemp("shipped") / "b")


def machine(version: str) -> Machine:
    return Machine(FakeTensorRT(version), GPU, FakeDevice)


def building(monkeypatch: pytest.MonkeyPatch, refused: str, error: BaseException) -> None:
    """Make builds of one precision raise ``error``."""

    def refuse(trt: Any, model: bytes, settings: BuildSettings, **named: Any) -> BuiltEngine:
        if settings.precision == refused:
            raise error
        return build_plan(trt, model, settings, **named)

    monkeypatch.setattr("benchmarks.gpu.build_plan", refuse)


@pytest.mark.parametrize(
    ("version", "expected"), [("10.3.0", ["int8", "fp16", "fp32"]), ("11.0.0.114", ["int8", "fp32"])]
)
def test_every_precision_is_built_compared_and_timed(bundle: Bundle, version: str, expected: list[str]) -> None:
    steps = list(measure(bundle, machine(version), SHORT))
    assert len(steps) == 2 * len(expected), "after each build, and after its timing"
    found = steps[-1]
    assert [m.precision for m in found] == expected
    # The fake engine computes every Q/DQ step by step, so these differences come from the artifacts alone.
    by_name = {m.precision: m for m in found}
    assert by_name["fp32"].difference < 1e-4
    # The scales for TensorRT 11 are float16, which ONNX Runtime before 1.30 rounds wrongly.
    old = version.startswith("11") and tuple(map(int, onnxruntime.__version__.split(".")[:2])) < (1, 30)
    assert 0 < by_name["int8"].difference < (0.8 if old else 0.3)
    assert all(len(times) == 2 for m in found for times in m.milliseconds.values())
    text = page(found, Setup(GPU, version, "fake"))
    assert text.count("\n| ") == len(expected) + 2
    assert "Fake GPU" in text
    assert "not measured" not in text
    first = page(steps[0], Setup(GPU, version, "fake", tactics=("JIT_CONVOLUTIONS",)))
    assert f"{by_name['int8'].difference:.4f}" in first, "the difference is known before the latency"
    assert first.count("not measured yet") == len(expected)
    assert "Tactics from JIT_CONVOLUTIONS alone." in first


def test_a_precision_that_fails_costs_the_others_nothing(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    building(monkeypatch, "fp16", EngineUnavailable("no tactic for a layer"))
    found = list(measure(bundle, machine("8.6.0"), replace(SHORT, graphs=False)))[-1]
    assert [m.precision for m in found] == ["int8", "fp16", "fp32"]
    text = page(found, Setup(GPU, "8.6.0", "fake", graphs=False))
    assert "| FP16 | not measured: no tactic for a layer |" in text
    assert text.count("not measured") == 1
    assert "without CUDA graphs" in text


def test_a_run_that_is_stopped_leaves_what_it_measured(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    building(monkeypatch, "fp16", KeyboardInterrupt())
    devices: list[FakeDevice] = []

    def opener() -> FakeDevice:
        devices.append(FakeDevice())
        return devices[-1]

    out = tmp_path / "page.md"
    steps = measure(bundle, Machine(FakeTensorRT("8.5.3.1"), GPU, opener), SHORT)
    with pytest.raises(KeyboardInterrupt):
        write(steps, Setup(GPU, "8.5.3.1", "fake"), out)
    rows = [line for line in out.read_text().splitlines() if line.startswith("| ")][2:]
    assert "ms |" in rows[0]
    assert rows[1:] == ["| FP16 | not measured yet | | | | |", "| FP32 | not measured yet | | | | |"]
    printed = capsys.readouterr().out.splitlines()
    assert [line.count("not measured yet") for line in printed] == [1, 0], "build and difference, then the latency too"
    assert [device.closed for device in devices] == [1]


def test_an_engine_that_fails_is_named_and_closed(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(engine: TensorRTEngine, batch: Any) -> Any:
        raise InferenceFailed("the GPU is lost")

    monkeypatch.setattr(TensorRTEngine, "infer", fail)
    device = FakeDevice()
    plan = replace(SHORT, precisions=("int8",))
    (found,) = measure(bundle, Machine(FakeTensorRT("8.6.0"), GPU, lambda: device), plan)
    assert [(m.precision, m.failure) for m in found] == [("int8", "the GPU is lost")]
    assert found[0].row().startswith("| INT8 | not measured: the GPU is lost |")
    assert device.closed == 1


def test_precisions_are_chosen_by_name(bundle: Bundle) -> None:
    assert precisions("fp32, int8") == ("int8", "fp32")
    with pytest.raises(argparse.ArgumentTypeError, match="unknown precision 'int4'; there are int8, fp16, fp32"):
        precisions("int8,int4")
    steps = measure(bundle, machine("10.3.0"), replace(SHORT, precisions=("fp32",)))
    assert [[m.precision for m in step] for step in steps] == [["fp32"], ["fp32"]]


def test_limits_are_those_of_the_cards_that_have_them() -> None:
    h200 = Setup(Gpu(0, "NVIDIA H200", (9, 0), 13000), "8.5.3.1", "cuda-bindings")
    slow = Measured("int8", 1.0, 1.0, 0.1, 0.01, {1: [0.44, 0.44], 8: [0.6, 0.6], 32: [1.3, 1.3]})
    assert [line.split(" | ")[-1] for line in limits([slow], h200)[3:]] == ["**not met** |", "met |"]
    assert limits([replace(slow, milliseconds={})], h200) == []
    assert limits([slow], replace(h200, gpu=GPU)) == []
    assert limits([slow], replace(h200, graphs=False)) == []


def test_no_run_overwrites_the_record() -> None:
    assert page_name(Gpu(0, "NVIDIA H200", (9, 0), 13000)) == "gpu-nvidia-h200.md"
    assert (Path(benchmark.__file__).parent / "gpu.md").is_file()
