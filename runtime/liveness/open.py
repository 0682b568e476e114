"""Open a model bundle and build a pipeline from it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

from runtime.bundle.manifest import Bundle, FileRole, Manifest, open_bundle
from runtime.bundle.onnx_check import check_model
from runtime.core.errors import ConfigError, EngineUnavailable
from runtime.core.values import MODALITIES
from runtime.engines.base import Engine, EngineInfo, Precision, ThreadProfile
from runtime.engines.golden import check_golden, read_golden
from runtime.engines.onnx import OnnxCpuEngine, OnnxCudaEngine, OnnxEngine
from runtime.engines.remote.connection import RemoteConnection, RemoteSettings
from runtime.engines.remote.engine import open_remote
from runtime.engines.selection import Backend, EngineOpeners, select_engine
from runtime.engines.tensorrt.versions import artifact_for, generation_of
from runtime.face.detector import FaceDetector
from runtime.face.open import open_detector
from runtime.face.pair_detection import searchable_modalities
from runtime.liveness.pair_pipeline import LivenessPipeline

DEFAULT_NAME = "adsn-rgb-ir"
MODEL_ROLES: dict[Precision, FileRole] = {"int8": "model-int8-cpu", "fp32": "model-fp32"}


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A ready pipeline and its components."""

    pipeline: LivenessPipeline
    manifest: Manifest
    model_sha256: str


def default_bundle() -> Path:
    """Return the default bundle: ``ADSN_BUNDLE``, else the one installed beside the code."""
    named = os.environ.get("ADSN_BUNDLE")
    if named:
        return Path(named)
    package = Path(__file__).resolve().parents[1]
    installed = package / "bundled" / DEFAULT_NAME
    return installed if installed.exists() else package.parent / "models" / DEFAULT_NAME


def model_role(info: EngineInfo) -> FileRole:
    """Return the role of the bundle file that an engine runs."""
    if info.backend == "remote":
        return cast("FileRole", info.versions["artifact"])
    if info.backend == "tensorrt":
        artifact = artifact_for(generation_of(info.versions["tensorrt"]))
        return "model-int8-trt11" if artifact == "int8-trt11" else "model-int8-trt"
    return MODEL_ROLES[info.precision]


def open_onnx(
    bundle: Bundle, kind: type[OnnxEngine], precision: Precision, profile: ThreadProfile = "latency"
) -> OnnxEngine:
    """Start ONNX Runtime on one of a bundle's models and check it against the golden vectors.

    Raises:
        BundleError: the bundle cannot be trusted. EngineError: the engine cannot be used.
    """
    role = MODEL_ROLES[precision]
    model = bundle.read(role)
    check_model(model, str(bundle.folder / bundle.entry(role).path))
    engine = kind(model, precision, profile=profile)
    expected = [(entry.name, entry.dtype, entry.shape) for entry in bundle.manifest.inputs]
    if [(spec.name, spec.dtype, spec.shape) for spec in engine.inputs] != expected:
        raise EngineUnavailable(f"{bundle.folder}: the model's inputs are not those of its manifest; export it again.")
    check_golden(engine, read_golden(bundle.read("golden")))
    return engine


def open_engine(
    bundle: Bundle,
    *,
    precision: Precision = "int8",
    profile: ThreadProfile = "latency",
    backend: Backend | Literal["auto"] = "onnx-cpu",
    required: bool = False,
    remote: RemoteSettings | None = None,
) -> Engine:
    """Start an engine of a bundle and check it against the golden vectors.

    ``backend``: see `runtime.engines.selection.select_engine`. On a GPU, TensorRT runs INT8 and ONNX Runtime runs FP32.
    ``remote``: settings of the scoring server that the backend ``remote`` uses.

    Raises:
        BundleError: the bundle cannot be trusted. EngineError: the engine cannot be used.
        ConfigError: the backend ``remote`` is selected and its settings cannot be used.
    """

    def tensorrt() -> Engine:
        from runtime.engines.tensorrt.open import open_tensorrt

        return open_tensorrt(bundle)

    if backend == "onnx-cpu":
        return open_onnx(bundle, OnnxCpuEngine, precision, profile)
    openers: EngineOpeners = {
        "tensorrt": tensorrt,
        "onnx-cuda": lambda: open_onnx(bundle, OnnxCudaEngine, "fp32", profile),
        "onnx-cpu": lambda: open_onnx(bundle, OnnxCpuEngine, precision, profile),
    }
    if backend == "remote":
        if remote is None:
            raise ConfigError("the engine is remote, and no scoring server is named.")
        link = RemoteConnection(remote)

        def elsewhere() -> Engine:
            return open_remote(bundle, link, remote.model)

        openers = {"remote": elsewhere, **openers}
    return select_engine(openers, backend, required=required)


def open_pipeline(
    folder: Path,
    *,
    precision: Precision = "int8",
    profile: ThreadProfile = "latency",
    public_key: Path | None = None,
    backend: Backend | Literal["auto"] = "onnx-cpu",
    required: bool = False,
    remote: RemoteSettings | None = None,
    detector: FaceDetector | None = None,
) -> LoadedModel:
    """Verify the bundle in ``folder``, start its engine and build the pipeline.

    ``detector``: the face detector; None selects YuNet, or the Haar cascade if YuNet cannot run. ``public_key``: see
    `runtime.bundle.manifest.open_bundle`. For the other parameters see `open_engine`.

    Raises:
        BundleError: the bundle cannot be trusted. EngineError: the engine cannot be used.
    """
    bundle = open_bundle(folder, public_key)
    manifest = bundle.manifest
    modalities = tuple(m for name in manifest.modalities for m in MODALITIES if m == name)
    if len(modalities) != len(manifest.modalities) or not searchable_modalities(modalities):
        raise EngineUnavailable(
            f"{folder}: a model for {' and '.join(manifest.modalities)}; this version knows pairs of "
            f"{', '.join(MODALITIES)} with colour or infrared in them. Name another bundle."
        )
    engine = open_engine(
        bundle,
        precision=precision,
        profile=profile,
        backend=backend,
        required=required,
        remote=remote,
    )
    pipeline = LivenessPipeline(
        engine, detector or open_detector(), manifest.rule(), manifest.operating_point(), modalities
    )
    return LoadedModel(pipeline, manifest, bundle.entry(model_role(engine.info)).sha256)
