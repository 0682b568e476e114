"""``--engine`` without a GPU, on a fake TensorRT."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from adsn.datasets.cache import open_cache
from adsn.datasets.sections import DataSection
from adsn.evaluation.plan import read_plan
from export.build import ExportResult
from export.tensorrt import compare_engine, require_tensorrt
from export.write import write_bundle
from runtime.core.errors import EngineUnavailable
from runtime.engines import driver
from runtime.engines.tensorrt.cache import EngineCache
from runtime.engines.tensorrt.open import open_tensorrt
from runtime.engines.tensorrt.versions import BuildSettings
from runtime.imaging.crop import CropRule
from tests.support.models.fake_tensorrt import FakeTensorRT
from tests.support.models.tensorrt_machine import machine_of


def test_without_a_gpu_it_says_so_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "LIBRARY", "libcuda-that-is-not-there.so.1")
    with pytest.raises(EngineUnavailable, match="no NVIDIA driver"):
        require_tensorrt()


@pytest.mark.parametrize(("version", "artifact"), [("8.6.0", "int8-trt"), ("11.4.0.106", "int8-trt11")])
def test_the_artifact_that_the_installed_version_takes_is_known_before_the_work(
    version: str, artifact: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("export.tensorrt.import_tensorrt", lambda: FakeTensorRT(version))
    monkeypatch.setenv("ADSN_ENGINE_CACHE", str(tmp_path / "cache"))
    assert require_tensorrt() == artifact


@pytest.mark.parametrize(("version", "artifact"), [("10.3.0", "int8-trt"), ("11.0.0.114", "int8-trt11")])
def test_the_built_engine_is_measured_as_the_artifacts_were(
    version: str,
    artifact: str,
    built: ExportResult,
    workshop: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine_of(version, monkeypatch)
    monkeypatch.setattr(
        "export.tensorrt.open_tensorrt",
        lambda bundle, **k: open_tensorrt(bundle, cache=EngineCache(tmp_path / "cache"), **k),
    )
    write_bundle(tmp_path / "b", built.files, built.manifest)
    plan = read_plan(workshop / "plan.toml")
    section = plan.test["held-out"]
    assert isinstance(section, DataSection)
    tests = [open_cache(section.spec("held-out", CropRule(64)), workshop / "cache")]
    console = Console(quiet=True)
    (found,) = compare_engine(tmp_path / "b", tests, console, BuildSettings(max_batch=4))
    assert (found.artifact, found.execution) == (artifact, "served")
    literal = next(c for c in built.comparisons if c.artifact == artifact)
    # The fake engine computes every Q/DQ step by step, so its scores are the same although they are computed
    # differently.
    assert found.int8.scores == pytest.approx(literal.int8.scores, abs=1e-5)
    assert found.flips == literal.flips
