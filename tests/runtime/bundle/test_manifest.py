"""Opening a bundle: each fault raises its own error, and a faulty bundle is never loaded."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from runtime.bundle.manifest import open_bundle
from runtime.core.errors import (
    AdsnError,
    BundleError,
    BundleMissing,
    DigestMismatch,
    GoldenMismatch,
    ManifestInvalid,
    NotAModel,
    UnsafePath,
)
from runtime.liveness.open import open_engine, open_pipeline
from tests.support.models.bundles import redigest


def edit(folder: Path, **changes: Any) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest.update(changes)
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_the_shipped_bundle_is_whole_and_runs(folder: Path) -> None:
    open_bundle(folder).verify()
    loaded = open_pipeline(folder)
    assert loaded.manifest.name == "adsn-rgb-ir"
    assert loaded.pipeline.engine.info.precision == "int8"
    assert "synthetic" in loaded.manifest.summary


@pytest.mark.parametrize("role", ["checkpoint", "model-int8-cpu", "ranges", "golden"])
def test_a_flipped_bit_in_any_file(folder: Path, role: str) -> None:
    bundle = open_bundle(folder)
    path = folder / next(e.path for e in bundle.manifest.files if e.role == role)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(DigestMismatch, match=path.name):
        bundle.verify()


def test_a_shortened_and_a_lengthened_file(folder: Path) -> None:
    path = folder / "model.int8-cpu.onnx"
    data = path.read_bytes()
    for wrong in (data[:-1], data + b"\0"):
        path.write_bytes(wrong)
        with pytest.raises(DigestMismatch, match="bytes"):
            open_pipeline(folder)


def test_missing_folder_manifest_and_file(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleMissing, match="adsn-export"):
        open_bundle(tmp_path / "nowhere")
    (folder / "golden.npz").unlink()
    with pytest.raises(BundleMissing, match="golden"):
        open_pipeline(folder)
    (folder / "manifest.json").unlink()
    with pytest.raises(BundleMissing, match="manifest"):
        open_bundle(folder)


def test_the_float_model_says_how_it_is_made(folder: Path) -> None:
    with pytest.raises(BundleMissing, match="adsn-export"):
        open_pipeline(folder, precision="fp32")


@pytest.mark.parametrize(
    "path", ["../model.int8-cpu.onnx", "/etc/passwd", "a/../../x", "./model.int8-cpu.onnx", "a\\b", "", "a//b"]
)
def test_paths_that_leave_the_folder(folder: Path, path: str) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    next(e for e in manifest["files"] if e["role"] == "model-int8-cpu")["path"] = path
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UnsafePath):
        open_bundle(folder)


def test_links_are_not_followed(folder: Path, tmp_path: Path) -> None:
    model = folder / "model.int8-cpu.onnx"
    outside = tmp_path / "outside.onnx"
    model.rename(outside)
    model.symlink_to(outside)
    with pytest.raises(UnsafePath, match="link"):
        open_pipeline(folder)


def test_a_pipe_in_a_file_s_place_does_not_stop_the_process(folder: Path) -> None:
    model = folder / "model.int8-cpu.onnx"
    model.unlink()
    os.mkfifo(model)
    with pytest.raises(UnsafePath, match="regular"):
        open_pipeline(folder)


@pytest.mark.parametrize(
    "changes",
    [
        {"schema_version": 3},
        {"schema_version": "1"},
        {"surprise": 1},
        {"operating_points": []},
        {"modalities": ["ir", "rgb"]},
        {"name": "../x"},
        {"crop": {"size": 10**9, "margin": 0.2}},
    ],
    ids=lambda changes: str(next(iter(changes.items()))),
)
def test_wrong_manifests(folder: Path, changes: dict[str, Any]) -> None:
    edit(folder, **changes)
    with pytest.raises(ManifestInvalid, match=r"manifest\.json"):
        open_bundle(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "\xff", "null"])
def test_manifests_that_are_no_manifest(folder: Path, text: str) -> None:
    (folder / "manifest.json").write_text(text, encoding="latin-1")
    with pytest.raises(ManifestInvalid):
        open_bundle(folder)


@pytest.mark.parametrize("threshold", [0, -1, 2, None, "0.5"])
def test_an_impossible_threshold_is_refused(folder: Path, threshold: object) -> None:
    points = json.loads((folder / "manifest.json").read_text())["operating_points"]
    points[0]["threshold"] = threshold
    edit(folder, operating_points=points)
    with pytest.raises(ManifestInvalid, match="operating_points"):
        open_bundle(folder)


def test_golden_vectors_are_never_unpickled(folder: Path, tmp_path: Path) -> None:
    import numpy as np

    path = tmp_path / "evil.npz"
    arrays: dict[str, Any] = {"input.rgb": np.array([{"a": 1}], object), "scores.int8": np.zeros((1, 3))}
    np.savez(path, **arrays)
    redigest(folder, "golden", path.read_bytes())
    with pytest.raises(ManifestInvalid, match="golden"):
        open_pipeline(folder)


def test_an_engine_that_computes_something_else_does_not_serve(folder: Path) -> None:
    import onnx
    from onnx import numpy_helper

    # Weaken the head: a model that loads, runs, and is wrong.
    model = onnx.load_from_string((folder / "model.int8-cpu.onnx").read_bytes())
    weight = next(t for t in model.graph.initializer if t.name == "/tail/head.weight")
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) * 0.5, weight.name))
    redigest(folder, "model-int8-cpu", model.SerializeToString())
    with pytest.raises(GoldenMismatch, match="does not reproduce"):
        open_engine(open_bundle(folder))


@pytest.mark.parametrize("data", [b"", b"no model", b"\x08\x07"])
def test_bytes_that_are_no_model(folder: Path, data: bytes) -> None:
    redigest(folder, "model-int8-cpu", data)
    with pytest.raises(NotAModel):
        open_pipeline(folder)


def test_external_data_is_not_read(folder: Path, tmp_path: Path) -> None:
    import onnx

    model = onnx.load_from_string((folder / "model.int8-cpu.onnx").read_bytes())
    secret = tmp_path / "secret.bin"
    tensor = next(t for t in model.graph.initializer if len(t.raw_data) > 4000)
    secret.write_bytes(tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", str(secret)
    redigest(folder, "model-int8-cpu", model.SerializeToString())
    with pytest.raises(AdsnError):
        open_pipeline(folder)


def test_errors_have_distinct_codes() -> None:
    def tree(kind: type[AdsnError]) -> list[type[AdsnError]]:
        return [kind, *(leaf for child in kind.__subclasses__() for leaf in tree(child))]

    kinds = [kind for kind in tree(AdsnError) if kind.__module__ == "runtime.core.errors"]
    assert len({kind.code for kind in kinds}) == len(kinds)
    assert issubclass(UnsafePath, BundleError)
