"""The cache of built engines: which engines it keeps, builds again and refuses."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest

from runtime.bundle.manifest import Bundle
from runtime.core.errors import ConfigError
from runtime.engines.tensorrt import open as trt_open
from runtime.engines.tensorrt.cache import EngineCache, EngineKey, platform_of
from runtime.engines.tensorrt.engine import TensorRTEngine
from runtime.engines.tensorrt.open import open_tensorrt
from runtime.engines.tensorrt.versions import BuildSettings
from tests.support.models.fake_tensorrt import FakeTensorRT
from tests.support.models.tensorrt_machine import GPU, machine_of, plan_of


def test_without_a_home_directory_the_cache_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless(name: str) -> str:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("ADSN_ENGINE_CACHE", raising=False)
    monkeypatch.setattr("runtime.engines.tensorrt.cache.user_cache_dir", homeless)
    with pytest.raises(ConfigError, match="ADSN_ENGINE_CACHE"):
        EngineCache()


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
    # The engine is complete, but was built by a different TensorRT with the same version number.
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
