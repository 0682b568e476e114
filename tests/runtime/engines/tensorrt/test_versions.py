"""Names in each version, and the settings of a build."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from runtime.bundle.manifest import Bundle
from runtime.core.errors import ConfigError, EngineUnavailable
from runtime.engines.tensorrt import open as trt_open
from runtime.engines.tensorrt import versions as trt_versions
from runtime.engines.tensorrt.build import build_plan
from runtime.engines.tensorrt.cache import EngineCache
from runtime.engines.tensorrt.versions import BuildSettings, artifact_for, generation_of
from tests.support.models.fake_tensorrt import API, VERSIONS, FakeTensorRT

SOURCES = Path(trt_versions.__file__).parent


def names_touched() -> dict[str, set[str]]:
    """Return X → {Y} for each ``trt.X`` and ``trt.X.Y`` in the sources."""
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
    """Names that some versions lack are used only in the module ``versions``, with getattr."""
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


def test_what_the_parser_says_reaches_the_person(bundle: Bundle) -> None:
    import onnx

    model = onnx.load_from_string(bundle.read("model-int8-trt"))
    model.graph.node.append(onnx.helper.make_node("Shape", ["score"], ["s"], "s"))
    with pytest.raises(EngineUnavailable, match="No importer registered for op: Shape"):
        build_plan(FakeTensorRT("10.3.0"), model.SerializeToString(), BuildSettings())


@pytest.mark.parametrize("version", ["8.5.3.1", "8.6.0", "10.3.0"])
def test_a_build_warns_of_no_clamped_weights(bundle: Bundle, version: str, caplog: pytest.LogCaptureFixture) -> None:
    """TensorRT 8.5.3.1 gave this warning on a real GPU."""
    build_plan(FakeTensorRT(version), bundle.read("model-int8-trt"), BuildSettings())
    assert "clamped" not in caplog.text
    assert ("INT64" in caplog.text) == version.startswith("8."), "the shapes of reshapes are int64 in ONNX"
    caplog.clear()
    build_plan(FakeTensorRT(version), bundle.read("model-fp32"), BuildSettings())
    assert ("clamped" in caplog.text) == version.startswith("8."), "the stand-in warns as the library does"


def test_what_the_machine_s_environment_says_of_builds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert BuildSettings.of_environment({}) == BuildSettings()
    said = {"ADSN_TRT_MAX_BATCH": "32", "ADSN_TRT_WORKSPACE_MIB": "256", "ADSN_TRT_OPTIMISATION": "5"}
    assert BuildSettings.of_environment(said) == BuildSettings(max_batch=32, workspace=256 << 20, optimisation=5)
    for name, wrong in (("MAX_BATCH", "0"), ("WORKSPACE_MIB", "many"), ("OPTIMISATION", "6"), ("MAX_BATCH", "-1")):
        with pytest.raises(ConfigError, match=f"ADSN_TRT_{name}: must be a whole number from"):
            BuildSettings.of_environment({f"ADSN_TRT_{name}": wrong})
    monkeypatch.setenv("ADSN_ENGINE_CACHE", str(tmp_path / "named"))
    assert EngineCache().folder == tmp_path / "named"


def test_versions() -> None:
    assert [generation_of(v) for v in ("8.5.2.2", "8.6.1", "10.3.0", "11.4.1")] == ["8.6", "8.6", "10", "11"]
    assert [artifact_for(g) for g in ("8.6", "10", "11")] == ["int8-trt", "int8-trt", "int8-trt11"]
    for version in ("7.2.3", "8.4.1", "9.1.0", "12.0.0"):
        with pytest.raises(EngineUnavailable, match="not supported"):
            generation_of(version)
