"""The Triton repository, parsed with Triton's published schema."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from export.build import ExportResult
from export.errors import ExportError
from export.triton import MAX_BATCH, write_repository
from export.write import write_bundle


@pytest.fixture(scope="module")
def schema() -> Any:
    return pytest.importorskip("tritonclient.grpc.model_config_pb2")


def read(schema: Any, path: Path) -> Any:
    from google.protobuf import text_format

    return text_format.Parse(path.read_text(), schema.ModelConfig())


@pytest.fixture
def bundle(built: ExportResult, tmp_path: Path) -> Path:
    write_bundle(tmp_path / "b", built.files, built.manifest)
    return tmp_path / "b"


def test_both_models_are_what_triton_s_schema_says(schema: Any, bundle: Path, tmp_path: Path) -> None:
    repo = tmp_path / "repo"
    write_repository(bundle, repo)
    onnx, plan = (read(schema, repo / f"tiny_{kind}" / "config.pbtxt") for kind in ("onnx", "plan"))
    assert (onnx.backend, plan.platform) == ("onnxruntime", "tensorrt_plan")
    for config, name, dtype in (
        (onnx, "tiny_onnx", schema.TYPE_UINT8),
        (plan, "tiny_plan", schema.TYPE_FP32),
    ):
        assert (config.name, config.max_batch_size) == (name, MAX_BATCH)
        assert [(i.name, i.data_type, list(i.dims)) for i in config.input] == [
            ("rgb", dtype, [64, 64, 3]),
            ("ir", dtype, [64, 64, 1]),
        ]
        outputs = {o.name: o for o in config.output}
        assert list(outputs["score"].dims) == [1]
        assert outputs["score"].HasField("reshape")
        assert list(outputs["score"].reshape.shape) == []
        assert list(outputs["stream_scores"].dims) == [2]
        assert list(outputs["attention"].dims) == [2, 2, 8, 8]
        assert list(config.dynamic_batching.preferred_batch_size) == [8, 16, 32]
        assert config.instance_group[0].count == 1
        assert {k: v.zero_data for k, v in config.model_warmup[0].inputs.items()} == {"rgb": True, "ir": True}
    for config, source in ((onnx, "model.onnx"), (plan, "model.int8-trt.onnx")):
        digest = hashlib.sha256((bundle / source).read_bytes()).hexdigest()
        assert config.parameters["model_sha256"].string_value == digest
    assert (repo / "tiny_onnx" / "1" / "model.onnx").read_bytes() == (bundle / "model.onnx").read_bytes()
    assert (repo / "tiny_plan" / "source.onnx").read_bytes() == (bundle / "model.int8-trt.onnx").read_bytes()
    assert "rgb:32x64x64x3,ir:32x64x64x1" in (repo / "README.txt").read_text()


def test_without_an_artifact_for_tensorrt_there_is_no_plan(built: ExportResult, tmp_path: Path) -> None:
    files = {name: data for name, data in built.files.items() if "trt" not in name}
    write_bundle(tmp_path / "b", files, built.manifest)
    (tmp_path / "repo").mkdir()
    write_repository(tmp_path / "b", tmp_path / "repo")
    assert sorted(p.name for p in (tmp_path / "repo").iterdir()) == ["README.txt", "tiny_onnx"]


def test_nothing_is_overwritten_and_nothing_half_written(bundle: Path, tmp_path: Path) -> None:
    repo = tmp_path / "repo"
    repo.mkdir()
    (repo / "mine").write_text("mine")
    with pytest.raises(ExportError, match="not empty"):
        write_repository(bundle, repo)
    (bundle / "model.int8-trt.onnx").write_bytes(b"changed")
    with pytest.raises(Exception, match=r"model\.int8-trt\.onnx"):
        write_repository(bundle, tmp_path / "other")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["b", "repo"]
