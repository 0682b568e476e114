"""ONNX Runtime on the CPU, in both precisions: the contract of engines."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from adsn.network.checkpoint import load_checkpoint
from export.graph import to_onnx
from runtime.bundle.manifest import open_bundle
from runtime.core.errors import EngineUnavailable, InferenceFailed
from runtime.core.processors import usable_cores
from runtime.engines.base import Engine, Scores, check_scores
from runtime.engines.golden import check_golden, read_golden
from runtime.engines.onnx import OnnxCpuEngine
from runtime.liveness.open import default_bundle
from tests.support.models.engine_contract import EngineContract, Reference


@pytest.fixture(scope="session")
def float_model() -> bytes:
    """Export the FP32 graph of the shipped checkpoint, which is not in the repository."""
    network, _ = load_checkpoint(default_bundle() / "checkpoint.safetensors")
    return to_onnx(network)


@pytest.fixture
def reference(float_model: bytes) -> Reference:
    bundle = open_bundle(default_bundle())
    stated = max(entry.max_score_difference for entry in bundle.manifest.parity)
    golden = read_golden(bundle.read("golden"))
    return Reference(OnnxCpuEngine(float_model, "fp32"), golden.inputs, stated + 1e-6)


class TestFp32(EngineContract):
    @pytest.fixture
    def engine(self, float_model: bytes) -> Engine:
        return OnnxCpuEngine(float_model, "fp32")

    def test_golden(self, engine: Engine) -> None:
        assert check_golden(engine, read_golden(open_bundle(default_bundle()).read("golden"))) < 1e-3


class TestInt8(EngineContract):
    @pytest.fixture
    def engine(self) -> Engine:
        return OnnxCpuEngine(open_bundle(default_bundle()).read("model-int8-cpu"), "int8")

    def test_golden(self, engine: Engine) -> None:
        check_golden(engine, read_golden(open_bundle(default_bundle()).read("golden")))

    def test_thread_profiles(self) -> None:
        model = open_bundle(default_bundle()).read("model-int8-cpu")
        assert OnnxCpuEngine(model, "int8", profile="throughput").info.threads == 1
        assert OnnxCpuEngine(model, "int8", profile="latency").info.threads == usable_cores()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -0.01, 1.01])
def test_what_is_no_score_is_an_error(bad: float) -> None:
    score = np.array([0.5, bad], np.float32)
    streams, attention = np.full((2, 2), 0.5, np.float32), np.zeros((2, 2, 4, 14, 14), np.float32)
    with pytest.raises(InferenceFailed):
        check_scores(Scores(score, streams, attention), 2)
    with pytest.raises(InferenceFailed):
        check_scores(Scores(streams[:, 0], np.stack([streams[:, 0], score], 1), attention), 2)


def test_a_model_of_something_else_is_refused() -> None:
    import onnx
    from onnx import TensorProto, helper

    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 4])
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    with pytest.raises(EngineUnavailable, match="not a model of this project"):
        OnnxCpuEngine(model.SerializeToString(), "fp32")


def run_python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, **environment}
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=env, timeout=120, check=False
    )


BLOCK = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] in {blocked!r}:
            raise ModuleNotFoundError(f'No module named {{name!r}}', name=name)
sys.meta_path.insert(0, Block())
"""


def test_serving_needs_neither_torch_nor_onnx() -> None:
    blocked = ("torch", "onnx", "tensorrt", "pycuda", "safetensors", "onnxslim")
    code = BLOCK.format(blocked=blocked) + (
        "import runtime, service.app, service.cli.serve, service.kiosk, runtime.cli.rig.main, runtime.cli.doctor.main\n"
        "from runtime.liveness.open import default_bundle, open_pipeline\n"
        "print(open_pipeline(default_bundle()).pipeline.engine.info.backend)\n"
    )
    found = run_python(code)
    assert found.stdout.strip() == "onnx-cpu", found.stderr


def test_without_onnx_runtime_the_message_names_the_extra() -> None:
    code = BLOCK.format(blocked=("onnxruntime",)) + (
        "import runtime, service.app\n"
        "from runtime.engines.onnx import import_onnxruntime\n"
        "from runtime.core.errors import EngineUnavailable\n"
        "try: import_onnxruntime()\n"
        "except EngineUnavailable as error: print(error)\n"
    )
    assert "adsn[cpu]" in run_python(code).stdout


def test_onnx_runtime_keeps_to_itself(tmp_path: Path) -> None:
    """Newer versions write a device id into the cache folder and send telemetry unless told not to."""
    code = (
        "from runtime.liveness.open import default_bundle, open_pipeline\n"
        "open_pipeline(default_bundle()).pipeline.engine.warm_up()\n"
        "import os; print(os.environ['ORT_DISABLE_TELEMETRY'])\n"
    )
    found = run_python(code, HOME=str(tmp_path), XDG_CACHE_HOME=str(tmp_path / "cache"))
    assert found.stdout.strip() == "1", found.stderr
    assert list(tmp_path.rglob("*")) == []
