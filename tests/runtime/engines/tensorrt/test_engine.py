"""TensorRT without a GPU: every version's names, the engine's contract, its cache, and its errors.

`tests.support.models.fake_tensorrt` says what these tests cannot prove.
"""

from __future__ import annotations

import ast
import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from export.build import ExportResult
from export.write import write_bundle
from runtime.bundle.manifest import Bundle, open_bundle
from runtime.core.errors import ConfigError, EngineUnavailable, GoldenMismatch, InferenceFailed
from runtime.engines import driver
from runtime.engines.base import Batch, Engine, Scores
from runtime.engines.driver import Gpu, find_gpus
from runtime.engines.tensorrt import open as trt_open
from runtime.engines.tensorrt import versions as trt_versions
from runtime.engines.tensorrt.build import build_plan
from runtime.engines.tensorrt.cache import EngineCache, EngineKey, platform_of
from runtime.engines.tensorrt.engine import TensorRTEngine
from runtime.engines.tensorrt.open import open_tensorrt
from runtime.engines.tensorrt.versions import BuildSettings, artifact_for, generation_of, import_tensorrt
from runtime.liveness.open import open_engine
from tests.support.models.engine_contract import EngineContract, Reference, random_batch
from tests.support.models.fake_tensorrt import API, VERSIONS, FakeDevice, FakeTensorRT
from tests.support.models.tensorrt_machine import GPU, machine_of

SOURCES = Path(trt_versions.__file__).parent


@pytest.fixture(scope="module")
def bundle(built: ExportResult, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    out = tmp_path_factory.mktemp("bundle") / "b"
    write_bundle(out, built.files, built.manifest)
    return open_bundle(out)


@pytest.fixture
def cache(tmp_path: Path) -> EngineCache:
    return EngineCache(tmp_path / "engines")


def names_touched() -> dict[str, set[str]]:
    """Return every ``trt.X`` and ``trt.X.Y`` in the sources, as X: {Y}."""
    found: dict[str, set[str]] = {}
    for path in SOURCES.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute):
                if isinstance(node.value, ast.Name) and node.value.id in ("trt", "_trt"):
                    found.setdefault(node.attr, set())
                inner = node.value
                if isinstance(inner, ast.Attribute) and isinstance(inner.value, ast.Name) and inner.value.id == "trt":
                    found.setdefault(inner.attr, set()).add(node.attr)
    return found


@pytest.mark.parametrize("version", VERSIONS)
def test_every_name_the_code_touches_exists(version: str) -> None:
    """Names that some versions lack are used only in the version module, through getattr."""
    touched = names_touched()
    assert len(touched) > 10
    only_in_8 = {"NetworkDefinitionCreationFlag": {"EXPLICIT_BATCH"}}
    not_in_11 = {"BuilderFlag": {"FP16", "INT8"}}
    for name, members in touched.items():
        if name == "__version__":
            continue
        allowed = set(only_in_8.get(name, set()) if generation_of(version) != "8.6" else set())
        allowed |= not_in_11.get(name, set()) if generation_of(version) == "11" else set()
        assert name in API[version], f"tensorrt.{name} is not in {version}"
        missing = members - set(API[version][name]) - allowed - {"__init__"}
        assert not missing, f"{name} lacks {missing} in {version}"


@pytest.mark.parametrize("version", VERSIONS)
def test_a_bundle_runs_on_every_version(
    version: str, bundle: Bundle, cache: EngineCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine builds, starts and passes the golden vectors without any name that this version lacks."""
    machine = machine_of(version, monkeypatch)
    phases: list[tuple[str, int, int]] = []
    settings = BuildSettings(max_batch=4, optimisation=5)
    engine = open_tensorrt(bundle, cache=cache, settings=settings, report=lambda *phase: phases.append(phase))
    flags, config = machine.trt.built[0]
    generation = generation_of(version)
    assert flags == (1 if generation == "8.6" else 0)
    assert config.fake_flags == (set() if generation == "11" else {"FP16", "INT8"})
    assert engine.info.versions == {"tensorrt": version, "provider": "fake"}
    assert engine.max_batch == 4
    assert phases == ([] if generation == "8.6" else [("Building", 0, 2), ("Building", 1, 2), ("Building", 2, 2)])
    assert config.fake_pool == {"WORKSPACE": 1 << 30}
    engine.close()


class TestTensorRTContract(EngineContract):
    """Engines on the oldest, a middle and the newest version, with and without CUDA graphs."""

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
        # The stated parity is of faces; noise strays further.
        stated = max(p.max_score_difference for p in bundle.manifest.parity)
        return Reference(fp32, random_batch(fp32, 5), stated + 0.05)


def plan_of(bundle: Bundle, trt: FakeTensorRT, max_batch: int = 3) -> bytes:
    return build_plan(trt, bundle.read("model-int8-trt"), BuildSettings(max_batch=max_batch)).plan


def engine_on(bundle: Bundle, device: FakeDevice, **options: Any) -> TensorRTEngine:
    trt = FakeTensorRT("10.3.0")
    inputs = trt_open.inputs_of(bundle)
    return TensorRTEngine(
        plan_of(bundle, trt), trt, lambda: device, inputs, precision="int8", device_name="fake", **options
    )


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


def test_without_a_home_directory_the_cache_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless(name: str) -> str:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("ADSN_ENGINE_CACHE", raising=False)
    monkeypatch.setattr("runtime.engines.tensorrt.cache.user_cache_dir", homeless)
    with pytest.raises(ConfigError, match="ADSN_ENGINE_CACHE"):
        EngineCache()


def test_graphs_can_be_left_out(bundle: Bundle) -> None:
    device = FakeDevice()
    engine = engine_on(bundle, device, graphs=False)
    for _ in range(3):
        engine.infer(random_batch(engine, 2))
    assert device.launches == 0
    engine.close()


@pytest.mark.parametrize("version", VERSIONS)
def test_tactic_sources_are_chosen_by_name(bundle: Bundle, version: str) -> None:
    trt = FakeTensorRT(version)
    names = BuildSettings.of_environment({"ADSN_TRT_TACTIC_SOURCES": "jit_convolutions, EDGE_MASK_CONVOLUTIONS"})
    assert names.tactic_sources == ("EDGE_MASK_CONVOLUTIONS", "JIT_CONVOLUTIONS")
    model = bundle.read("model-int8-trt11" if generation_of(version) == "11" else "model-int8-trt")
    build_plan(trt, model, names)
    build_plan(trt, model, BuildSettings())
    chosen, default = (config.fake_tactic_sources for _, config in trt.built)
    assert chosen == 1 << trt.TacticSource.EDGE_MASK_CONVOLUTIONS | 1 << trt.TacticSource.JIT_CONVOLUTIONS
    assert default is None
    assert trt_open.flags_of(names) != trt_open.flags_of(BuildSettings()), "another engine in the cache"
    with pytest.raises(EngineUnavailable, match="ADSN_TRT_TACTIC_SOURCES"):
        build_plan(trt, model, BuildSettings(tactic_sources=("CUSPARSE",)))


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


def test_what_the_parser_says_reaches_the_person(bundle: Bundle) -> None:
    import onnx

    model = onnx.load_from_string(bundle.read("model-int8-trt"))
    model.graph.node.append(onnx.helper.make_node("Shape", ["score"], ["s"], "s"))
    with pytest.raises(EngineUnavailable, match="No importer registered for op: Shape"):
        build_plan(FakeTensorRT("10.3.0"), model.SerializeToString(), BuildSettings())


def test_the_cached_engine_is_used_and_a_stale_one_built_again(
    bundle: Bundle, cache: EngineCache, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    machine = machine_of("10.3.0", monkeypatch)
    open_tensorrt(bundle, cache=cache).close()
    open_tensorrt(bundle, cache=cache).close()
    assert len(machine.trt.built) == 1, "the second start used the cache"
    plan = next(cache.folder.glob("*.plan"))
    sidecar = json.loads(plan.with_suffix(".json").read_text())
    assert sidecar["key"]["gpu"] == "Fake GPU"
    assert sidecar["layers"]["Layers"] == ["conv1 + relu"]
    good = plan.read_bytes()
    for damage, reason in (
        (good[:-1], "damaged or truncated"),
        (bytes([good[0] ^ 1]) + good[1:], "damaged or truncated"),
        (None, "does not exist"),
    ):
        caplog.clear()
        if damage is None:
            plan.unlink()
        else:
            plan.write_bytes(damage)
        open_tensorrt(bundle, cache=cache).close()
        assert reason in caplog.text
        assert plan.read_bytes() == good
    # The file is intact, but was built by another TensorRT with the same version number.
    foreign = plan_of(bundle, FakeTensorRT("10.0.1"))
    key = trt_open.key_of(machine.trt, GPU, bundle.entry("model-int8-trt").sha256, BuildSettings())
    cache.store(key, foreign, {})
    caplog.clear()
    open_tensorrt(bundle, cache=cache).close()
    assert "another version or for another GPU" in caplog.text
    assert len(machine.trt.built) == 5


def test_the_key_changes_with_everything_an_engine_depends_on() -> None:
    key = EngineKey("a", "10.3.0", "Orin", "8.7", "driver 12020", "int8", "1..8", "x")
    digests = {key.digest()}
    for name in EngineKey.__slots__:
        digests.add(type(key)(**{**{n: getattr(key, n) for n in EngineKey.__slots__}, name: "other"}).digest())
    assert len(digests) == 9


def test_the_platform_names_the_l4t_release(tmp_path: Path) -> None:
    release = tmp_path / "nv_tegra_release"
    assert platform_of(12020, release) == "driver 12020"
    release.write_text("# R36 (release), REVISION: 3.0\nmore")
    assert platform_of(12020, release) == "driver 12020, # R36 (release), REVISION: 3.0"


def test_what_the_machine_s_environment_says_of_builds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert BuildSettings.of_environment({}) == BuildSettings()
    said = {"ADSN_TRT_MAX_BATCH": "32", "ADSN_TRT_WORKSPACE_MIB": "256", "ADSN_TRT_OPTIMISATION": "5"}
    assert BuildSettings.of_environment(said) == BuildSettings(max_batch=32, workspace=256 << 20, optimisation=5)
    for name, wrong in (("MAX_BATCH", "0"), ("WORKSPACE_MIB", "many"), ("OPTIMISATION", "6"), ("MAX_BATCH", "-1")):
        with pytest.raises(ConfigError, match=f"ADSN_TRT_{name}: must be a whole number from"):
            BuildSettings.of_environment({f"ADSN_TRT_{name}": wrong})
    monkeypatch.setenv("ADSN_ENGINE_CACHE", str(tmp_path / "named"))
    assert EngineCache().folder == tmp_path / "named"


def test_a_cache_others_could_write_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "engines"
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    with pytest.raises(ConfigError, match="only this user can write"):
        EngineCache(folder)
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(ConfigError, match="only this user can write"):
        EngineCache(tmp_path / "link")
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be created"):
        EngineCache(tmp_path / "file")


def test_an_engine_others_could_write_is_built_again(
    bundle: Bundle, cache: EngineCache, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    machine_of("10.3.0", monkeypatch)
    open_tensorrt(bundle, cache=cache).close()
    next(cache.folder.glob("*.plan")).chmod(0o666)
    open_tensorrt(bundle, cache=cache).close()
    assert "only this user can write" in caplog.text


def test_two_that_start_together_build_once(
    bundle: Bundle, cache: EngineCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = machine_of("10.3.0", monkeypatch)
    found: list[TensorRTEngine] = []
    threads = [threading.Thread(target=lambda: found.append(open_tensorrt(bundle, cache=cache))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(found), len(machine.trt.built)) == (3, 1)
    for engine in found:
        engine.close()


def test_a_full_disk_is_said(cache: EngineCache, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ConfigError, match="No space left"):
        cache.write(cache.folder / "x.plan", b"engine")
    assert list(cache.folder.iterdir()) == []


def test_a_timing_cache_of_another_device_is_not_used(
    bundle: Bundle, cache: EngineCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = machine_of("10.3.0", monkeypatch)
    key = trt_open.key_of(machine.trt, GPU, bundle.entry("model-int8-trt").sha256, BuildSettings())
    cache.write_timing(key, b"of another device")
    open_tensorrt(bundle, cache=cache).close()
    assert machine.trt.built[0][1].fake_cache.data == b""
    assert cache.read_timing(key) == b"timing of this device"


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


def test_versions() -> None:
    assert [generation_of(v) for v in ("8.5.2.2", "8.6.1", "10.3.0", "11.4.1")] == ["8.6", "8.6", "10", "11"]
    assert [artifact_for(g) for g in ("8.6", "10", "11")] == ["int8-trt", "int8-trt", "int8-trt11"]
    for version in ("7.2.3", "8.4.1", "9.1.0", "12.0.0"):
        with pytest.raises(EngineUnavailable, match="not supported"):
            generation_of(version)


def test_without_a_driver_nothing_of_tensorrt_is_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "LIBRARY", "libcuda-that-is-not-there.so.1")
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(EngineUnavailable, match="no NVIDIA driver"):
        import_tensorrt()


class FakeCuda:
    """Fake libcuda with the ctypes interface. ``fails``: the function that returns 999."""

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
    monkeypatch.setattr(driver, "_load", FakeCuda)
    assert find_gpus() == [Gpu(0, "NVIDIA Test", (8, 9), 12040)]
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(EngineUnavailable, match="TensorRT is not installed"):
        import_tensorrt()
    monkeypatch.setattr(driver, "_load", lambda: FakeCuda(0))
    with pytest.raises(EngineUnavailable, match="reports no GPU"):
        find_gpus()
    monkeypatch.setattr(driver, "_load", lambda: FakeCuda(1, "cuInit"))
    with pytest.raises(EngineUnavailable, match="cuInit with error 999"):
        find_gpus()
