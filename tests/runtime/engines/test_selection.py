"""Engine selection: which engine runs, why, and when it is degraded."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from runtime.bundle.manifest import open_bundle
from runtime.core.errors import AdsnError, BundleMissing, DigestMismatch, EngineUnavailable, GoldenMismatch
from runtime.engines import selection
from runtime.engines.base import Engine, EngineInfo
from runtime.engines.selection import Backend, select_engine
from runtime.liveness.open import default_bundle, model_role, open_engine, open_pipeline
from tests.support.fakes import FakeEngine
from tests.support.models.engine_contract import random_batch


def works() -> Engine:
    return FakeEngine()


def fails(error: AdsnError) -> Callable[[], Engine]:
    def opener() -> Engine:
        raise error

    return opener


@pytest.fixture(params=[True, False], ids=["gpu", "no gpu"])
def gpu(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    monkeypatch.setattr(selection, "has_gpu", lambda: request.param)
    return bool(request.param)


def test_auto_takes_the_fastest_that_works_and_says_why_not_the_others(gpu: bool) -> None:
    openers: dict[Backend, Callable[[], Engine]] = {
        "onnx-cpu": works,
        "onnx-cuda": fails(GoldenMismatch("other scores")),
        "tensorrt": fails(EngineUnavailable("no TensorRT")),
    }
    found = select_engine(openers)
    assert found.info.reason == "not tensorrt: no TensorRT; not onnx-cuda: other scores"
    assert found.info.degraded == gpu, "a GPU stands idle"
    openers["tensorrt"] = works
    openers["onnx-cuda"] = openers["onnx-cpu"] = partial(pytest.fail, "a slower engine was tried too")
    best = select_engine(openers)
    assert (best.info.degraded, best.info.reason) == (False, "")


def test_another_than_the_one_asked_for_is_degraded(gpu: bool) -> None:
    openers: dict[Backend, Callable[[], Engine]] = {"tensorrt": fails(BundleMissing("no plan")), "onnx-cpu": works}
    found = select_engine(openers, "tensorrt")
    assert (found.info.degraded, found.info.reason) == (True, "not tensorrt: no plan")
    with pytest.raises(EngineUnavailable, match="tensorrt is required and does not work: no plan"):
        select_engine(openers, "tensorrt", required=True)
    assert not select_engine(openers, "onnx-cpu").info.degraded


def test_nothing_works() -> None:
    with pytest.raises(EngineUnavailable, match=r"onnx-cuda: a[\s\S]*onnx-cpu: b"):
        select_engine({"onnx-cpu": fails(EngineUnavailable("b")), "onnx-cuda": fails(EngineUnavailable("a"))})


def test_a_bundle_that_was_changed_is_not_got_round() -> None:
    with pytest.raises(DigestMismatch):
        select_engine({"tensorrt": fails(DigestMismatch("changed")), "onnx-cpu": works})


def test_the_selected_engine_is_an_engine() -> None:
    found = select_engine({"onnx-cpu": works})
    found.warm_up()
    assert found.infer(random_batch(found, 2)).score.shape == (2,)
    found.close()


def test_a_real_bundle_on_this_machine() -> None:
    engine = open_engine(open_bundle(default_bundle()), backend="auto")
    assert engine.info.backend in ("onnx-cpu", "onnx-cuda", "tensorrt")
    loaded = open_pipeline(default_bundle(), backend="auto")
    entry = loaded.manifest.files[[e.role for e in loaded.manifest.files].index(model_role(engine.info))]
    assert loaded.model_sha256 == entry.sha256


@pytest.mark.parametrize(
    ("backend", "version", "role"),
    [
        ("tensorrt", "8.6.1", "model-int8-trt"),
        ("tensorrt", "11.0.0", "model-int8-trt11"),
        ("onnx-cpu", "", "model-int8-cpu"),
    ],
)
def test_the_file_behind_an_engine(backend: str, version: str, role: str) -> None:
    assert model_role(EngineInfo(backend, "int8", "x", {"tensorrt": version}, 1)) == role
