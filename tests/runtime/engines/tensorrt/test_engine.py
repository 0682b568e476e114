"""The TensorRT engine without hardware: the contract of engines, CUDA graphs, and devices that fail.

`tests.support.models.fake_tensorrt` says what this does not prove.
"""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from runtime.bundle.manifest import Bundle, open_bundle
from runtime.core.errors import EngineUnavailable, GoldenMismatch, InferenceFailed
from runtime.engines.base import Batch, Engine, Scores
from runtime.engines.tensorrt import open as trt_open
from runtime.engines.tensorrt.cache import EngineCache
from runtime.engines.tensorrt.engine import TensorRTEngine
from runtime.engines.tensorrt.open import open_tensorrt
from runtime.engines.tensorrt.versions import BuildSettings, generation_of
from runtime.liveness.open import open_engine
from tests.support.models.engine_contract import EngineContract, Reference, random_batch, same
from tests.support.models.fake_device import FakeDevice
from tests.support.models.fake_tensorrt import VERSIONS, FakeContext, FakeTensorRT
from tests.support.models.tensorrt_machine import engine_on, machine_of, plan_of


@pytest.mark.parametrize("version", VERSIONS)
def test_a_bundle_runs_on_every_version(
    version: str, bundle: Bundle, cache: EngineCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine is built, started and verified without any name that this version lacks."""
    machine = machine_of(version, monkeypatch)
    phases: list[tuple[str, int, int]] = []
    settings = BuildSettings(max_batch=4, optimisation=5)
    engine = open_tensorrt(bundle, cache=cache, settings=settings, report=lambda *phase: phases.append(phase))
    flags, config = machine.trt.built[0]
    generation = generation_of(version)
    assert flags == (1 if generation == "8.6" else 0)
    assert config.fake_flags == (set() if generation == "11" else {"FP16", "INT8"})
    assert engine.info.versions == {"tensorrt": version, "provider": "fake"}
    assert {most[0] for _, _, most in config.fake_profiles[0].fake_shapes.values()} == {4}
    assert phases == ([] if generation == "8.6" else [("Building", 0, 2), ("Building", 1, 2), ("Building", 2, 2)])
    assert config.fake_pool == {"WORKSPACE": 1 << 30}
    engine.close()


class TestTensorRTContract(EngineContract):
    """The contract with the oldest, a middle and the newest version, with and without CUDA graphs."""

    @pytest.fixture(params=["8.6.0", "10.3.0", "11.4.0.106"])
    def engine(
        self, request: pytest.FixtureRequest, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> Iterator[Engine]:
        machine_of(request.param, monkeypatch)
        engine = open_tensorrt(bundle, cache=EngineCache(tmp_path / "e"), settings=BuildSettings(max_batch=3))
        yield engine
        engine.close()

    @pytest.fixture
    def reference(self, bundle: Bundle) -> Reference:
        fp32 = open_engine(bundle, precision="fp32")
        # The stated parity is for faces. With noise the differences are larger.
        stated = max(p.max_score_difference for p in bundle.manifest.parity)
        return Reference(fp32, random_batch(fp32, 5), stated + 0.05)


@pytest.mark.parametrize("graphs", [True, False])
def test_large_batches_go_through_in_parts(bundle: Bundle, graphs: bool) -> None:
    device = FakeDevice(graphs=graphs)
    engine = engine_on(bundle, device)
    batch = random_batch(engine, 11)
    whole = engine.infer(batch).score
    single = [engine.infer({k: v[i : i + 1] for k, v in batch.items()}).score[0] for i in range(11)]
    assert np.allclose(whole, single, atol=1e-5)
    assert np.array_equal(engine.infer(batch).score, whole)
    assert (device.launches > 0) == graphs
    engine.close()
    assert (device.closed, device.memory) == (1, {})


@pytest.mark.parametrize("graphs", [True, False])
def test_a_context_is_given_shapes_when_they_change_and_never_for_a_graph(
    bundle: Bundle, graphs: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_shape, given = FakeContext.set_input_shape, []

    def counted(context: FakeContext, name: str, shape: tuple[int, ...]) -> bool:
        given.append(shape[0])
        return set_shape(context, name, shape)

    monkeypatch.setattr(FakeContext, "set_input_shape", counted)
    engine = engine_on(bundle, FakeDevice(graphs=graphs))
    for count in (1, 1, 2, 1, 2):
        engine.infer(random_batch(engine, count))
    assert given == ([1, 1, 2, 2] if graphs else [1, 1, 2, 2, 1, 1, 2, 2])
    engine.close()


def test_after_a_refused_shape_all_shapes_are_given_again(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = engine_on(bundle, FakeDevice(graphs=False))
    batch = random_batch(engine, 2)
    wanted = engine.infer(batch)
    set_shape = FakeContext.set_input_shape
    refused = engine.inputs[1].name

    def refuse(context: FakeContext, name: str, shape: tuple[int, ...]) -> bool:
        return name != refused and set_shape(context, name, shape)

    with monkeypatch.context() as patched:
        patched.setattr(FakeContext, "set_input_shape", refuse)
        with pytest.raises(InferenceFailed, match="rejects a batch of 1"):
            engine.infer(random_batch(engine, 1))
    assert same(engine.infer(batch), wanted)
    engine.close()


def test_graphs_that_other_batch_sizes_disturb_do_not_serve(
    bundle: Bundle, cache: EngineCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A graph depends on the state of its context, so the golden vectors are run as graphs of alternating sizes."""
    machine_of("10.3.0", monkeypatch)
    run = FakeContext.fake_run

    def disturbed(context: FakeContext, shapes: dict[str, tuple[int, ...]]) -> None:
        run(context, shapes)
        if shapes != context.fake_shapes:
            ctypes.memset(context.fake_addresses["score"], 0, 4 * next(iter(shapes.values()))[0])

    monkeypatch.setattr(FakeContext, "fake_run", disturbed)
    with pytest.raises(GoldenMismatch):
        open_tensorrt(bundle, cache=cache)


def test_what_no_part_filled_is_no_score(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = engine_on(bundle, FakeDevice())
    monkeypatch.setattr(engine, "_collect", lambda slot, found: None)
    with pytest.raises(InferenceFailed, match="not a probability"):
        engine.infer(random_batch(engine, 2))
    engine.close()


@pytest.mark.parametrize("version", ["8.5.3.1", "8.6.0"])
def test_up_to_8_6_one_context_works_on_the_profile(bundle: Bundle, version: str) -> None:
    trt = FakeTensorRT(version)
    engine = trt.Runtime(None).deserialize_cuda_engine(plan_of(bundle, trt))
    first, second = (engine.create_execution_context() for _ in range(2))
    assert first.set_input_shape("rgb", (1, 64, 64, 3))
    assert not second.set_input_shape("rgb", (1, 64, 64, 3)), "the stand-in refuses what the library refuses"
    inputs = trt_open.inputs_of(bundle)
    ours = TensorRTEngine(plan_of(bundle, trt), trt, FakeDevice, inputs, precision="int8", device_name="fake")
    assert ours.infer(random_batch(ours, 11)).score.shape == (11,)
    ours.close()


def test_graphs_can_be_left_out(bundle: Bundle) -> None:
    device = FakeDevice()
    engine = engine_on(bundle, device, graphs=False)
    for _ in range(3):
        engine.infer(random_batch(engine, 2))
    assert device.launches == 0
    engine.close()


def test_a_lost_device_is_an_error_that_says_so(bundle: Bundle) -> None:
    device = FakeDevice()
    engine = engine_on(bundle, device)
    device.lost = True
    with pytest.raises(InferenceFailed, match="restart"):
        engine.infer(random_batch(engine, 1))
    engine.close()


def test_a_device_that_never_answers_hangs_nobody(bundle: Bundle) -> None:
    device, release = FakeDevice(), threading.Event()
    engine = engine_on(bundle, device, deadline_s=0.3)

    def never() -> None:
        release.wait(30)

    device.stuck = never
    began = time.monotonic()
    with pytest.raises(InferenceFailed, match=r"has not responded for 0\.3 s"):
        engine.infer(random_batch(engine, 1))
    with pytest.raises(InferenceFailed, match="considered lost"):
        engine.infer(random_batch(engine, 1))
    engine.close()
    assert time.monotonic() - began < 5
    release.set()


def test_a_plan_of_another_version_or_none_is_refused(bundle: Bundle) -> None:
    trt = FakeTensorRT("10.3.0")
    for plan in (plan_of(bundle, FakeTensorRT("10.0.1")), b"no plan"):
        with pytest.raises(EngineUnavailable, match="another version or for another GPU"):
            TensorRTEngine(plan, trt, FakeDevice, trt_open.inputs_of(bundle), precision="int8", device_name="fake")


def test_an_engine_that_computes_something_else_does_not_serve(
    bundle: Bundle, cache: EngineCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = machine_of("10.3.0", monkeypatch)
    infer = TensorRTEngine.infer

    def wrong(self: TensorRTEngine, batch: Batch) -> Scores:
        found = infer(self, batch)
        return replace(found, score=1 - found.score)

    monkeypatch.setattr(TensorRTEngine, "infer", wrong)
    with pytest.raises(GoldenMismatch):
        open_tensorrt(bundle, cache=cache)
    assert machine.devices[0].closed == 1


def test_the_log_says_that_a_build_takes_minutes_anywhere(
    bundle: Bundle, cache: EngineCache, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    machine_of("8.5.3.1", monkeypatch)
    open_tensorrt(bundle, cache=cache).close()
    assert "this takes minutes, on a large GPU too" in caplog.text


def test_a_bundle_without_the_artifact_says_how_to_make_it(
    bundle: Bundle, cache: EngineCache, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(bundle.folder, copy)
    (copy / "model.int8-trt11.onnx").unlink()
    machine_of("11.4.0.106", monkeypatch)
    with pytest.raises(EngineUnavailable, match="--target trt11"):
        open_tensorrt(open_bundle(copy), cache=cache)
