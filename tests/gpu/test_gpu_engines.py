"""The engines' contract on a real GPU (``make test-gpu``). Tests that need a missing package are skipped."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from runtime.bundle.manifest import Bundle, open_bundle
from runtime.core.errors import EngineUnavailable
from runtime.engines.base import Engine
from runtime.engines.driver import find_gpus
from runtime.engines.golden import read_golden
from runtime.engines.onnx import OnnxCpuEngine, OnnxCudaEngine, import_onnxruntime
from runtime.engines.tensorrt.cache import EngineCache
from runtime.engines.tensorrt.device import open_device
from runtime.engines.tensorrt.engine import TensorRTEngine
from runtime.engines.tensorrt.open import open_tensorrt
from runtime.engines.tensorrt.versions import BuildSettings, import_tensorrt
from runtime.liveness.open import open_onnx
from tests.support.models.engine_contract import EngineContract, Reference, random_batch

# One build of the INT8 engine took 390 s on an H200 with TensorRT 8.5.3.1.
pytestmark = [pytest.mark.gpu, pytest.mark.timeout(1800)]


@pytest.fixture(scope="session")
def bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Return a bundle with all artifacts: the one given by ``--bundle``, or else the shipped one, completed with
    torch."""
    try:
        find_gpus()
    except EngineUnavailable as error:
        pytest.skip(error.message)
    given = request.config.getoption("--bundle")
    if given:
        return open_bundle(Path(given))
    from tests.support.models.shipped import complete_bundle

    return complete_bundle(tmp_path_factory.mktemp("gpu") / "bundle")


@pytest.fixture
def reference(bundle: Bundle) -> Reference:
    stated = max(entry.max_score_difference for entry in bundle.manifest.parity)
    # An engine may run layers that are not INT8 in 16 bits.
    return Reference(open_onnx(bundle, OnnxCpuEngine, "fp32"), read_golden(bundle.read("golden")).inputs, stated + 0.02)


def machine_settings() -> BuildSettings:
    """Return the build settings of this machine, with the batch size that the tests need."""
    return replace(BuildSettings.of_environment(), max_batch=8)


@pytest.fixture(scope="session")
def cache(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> EngineCache:
    """Return a cache with the engine, which is built once for all providers."""
    try:
        import_tensorrt()
        open_device(find_gpus()[0].index).close()
    except EngineUnavailable as error:
        # The provider is not installed, or cannot be used here. The message says why.
        pytest.skip(error.message)
    made = EngineCache(tmp_path_factory.mktemp("engines") / "cache")
    open_tensorrt(bundle, cache=made, settings=machine_settings()).close()
    return made


class TestOnnxCuda(EngineContract):
    @pytest.fixture
    def engine(self, bundle: Bundle) -> Iterator[Engine]:
        if "CUDAExecutionProvider" not in import_onnxruntime().get_available_providers():
            pytest.skip("the installed ONNX Runtime has no CUDA: pip install 'adsn[gpu]' instead of 'adsn[cpu]'")
        engine = open_onnx(bundle, OnnxCudaEngine, "fp32")
        yield engine
        engine.close()


class TestTensorRT(EngineContract):
    """One engine per provider. `open_tensorrt` checks the golden vectors as well."""

    batch_tolerance = 5e-3
    """Tactics differ between batch sizes, so scores may differ slightly."""

    @pytest.fixture(params=["cuda-bindings", "pycuda"])
    def engine(self, request: pytest.FixtureRequest, bundle: Bundle, cache: EngineCache) -> Iterator[Engine]:
        try:
            open_device(find_gpus()[0].index, request.param).close()
        except EngineUnavailable as error:
            pytest.skip(error.message)
        engine = open_tensorrt(bundle, cache=cache, settings=machine_settings(), provider=request.param)
        yield engine
        engine.close()

    def test_more_than_one_part(self, engine: Engine) -> None:
        batch = random_batch(engine, 21)
        whole = engine.infer(batch).score
        single = [engine.infer({k: v[i : i + 1] for k, v in batch.items()}).score[0] for i in range(21)]
        assert np.allclose(whole, single, atol=self.batch_tolerance)

    def test_the_kept_engine_is_used_again(
        self, engine: Engine, bundle: Bundle, cache: EngineCache, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def build(*arguments: object, **options: object) -> None:
            pytest.fail("built again")

        monkeypatch.setattr("runtime.engines.tensorrt.open.build_plan", build)
        again = open_tensorrt(bundle, cache=cache, settings=machine_settings())
        assert isinstance(again, TensorRTEngine)
        again.close()
