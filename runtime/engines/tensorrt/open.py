"""Open a TensorRT engine for a bundle: from the cache if a matching one is stored, otherwise by building it."""

from __future__ import annotations

import logging
import time
from typing import Any

from runtime.bundle.manifest import Bundle, FileRole
from runtime.bundle.onnx_check import check_model
from runtime.core.errors import BundleMissing, EngineUnavailable
from runtime.engines.base import InputSpec
from runtime.engines.driver import Gpu, find_gpus
from runtime.engines.golden import check_golden, read_golden
from runtime.engines.tensorrt.build import build_plan
from runtime.engines.tensorrt.cache import EngineCache, EngineKey, platform_of
from runtime.engines.tensorrt.device import open_device
from runtime.engines.tensorrt.engine import TensorRTEngine
from runtime.engines.tensorrt.versions import BuildSettings, PhaseReporter, artifact_for, generation_of, import_tensorrt

log = logging.getLogger(__name__)


def key_of(trt: Any, gpu: Gpu, model_sha256: str, settings: BuildSettings) -> EngineKey:
    """Return the cache key for an engine of this model on this machine."""
    return EngineKey(
        model_sha256=model_sha256,
        tensorrt=str(trt.__version__),
        gpu=gpu.name,
        capability=".".join(map(str, gpu.capability)),
        platform=platform_of(gpu.driver),
        precision=settings.precision,
        profile=f"1..{settings.max_batch}",
        flags=flags_of(settings),
    )


def flags_of(settings: BuildSettings) -> str:
    """Return one line with the settings that influence the builder's choices."""
    flags = f"workspace {settings.workspace}, optimisation {settings.optimisation}"
    if settings.tactic_sources is not None:
        flags += f", tactics from {' '.join(settings.tactic_sources) or 'none'}"
    return flags


def inputs_of(bundle: Bundle) -> tuple[InputSpec, ...]:
    """Return the inputs that the manifest declares."""
    found = []
    for entry in bundle.manifest.inputs:
        height, width, channels = entry.shape
        found.append(InputSpec(entry.name, entry.dtype, (height, width, channels)))
    return tuple(found)


def open_tensorrt(
    bundle: Bundle,
    *,
    cache: EngineCache | None = None,
    settings: BuildSettings | None = None,
    provider: str = "auto",
    report: PhaseReporter = lambda phase, done, steps: None,
) -> TensorRTEngine:
    """Open a TensorRT engine for a bundle and the installed version, and verify it with the golden vectors.

    Raises:
        EngineUnavailable: there is no GPU or no TensorRT, the bundle lacks the artifact, or the build failed.
        BundleError: the artifact cannot be trusted.
        GoldenMismatch: the engine does not reproduce the golden vectors.
        ConfigError: the engine cache cannot be used.
    """
    trt = import_tensorrt()
    gpu = find_gpus()[0]
    settings = settings or BuildSettings.of_environment()
    cache = cache or EngineCache()
    artifact = artifact_for(generation_of(trt.__version__))
    role: FileRole = "model-int8-trt11" if artifact == "int8-trt11" else "model-int8-trt"
    try:
        model = bundle.read(role)
    except BundleMissing as error:
        target = artifact.removeprefix("int8-")
        raise EngineUnavailable(
            f"{bundle.folder} has no {artifact} model, which TensorRT {trt.__version__} needs. Create it: adsn-export "
            f"CHECKPOINT --int8 --target {target}."
        ) from error
    check_model(model, str(bundle.folder / bundle.entry(role).path))
    key = key_of(trt, gpu, bundle.entry(role).sha256, settings)

    def start(plan: bytes) -> TensorRTEngine:
        return TensorRTEngine(
            plan,
            trt,
            lambda: open_device(gpu.index, provider),
            inputs_of(bundle),
            precision="int8",
            device_name=gpu.name,
        )

    golden = read_golden(bundle.read("golden"))
    with cache.only_builder(key):
        found = cache.find(key)
        if found.plan is not None:
            try:
                engine = start(found.plan)
                return _verified(engine, golden, artifact)
            except EngineUnavailable as error:
                found = type(found)(None, error.message)
        log.warning("building the TensorRT engine (%s); this takes minutes, on a large GPU too", found.reason)
        began = time.monotonic()
        built = build_plan(trt, model, settings, timing_cache=cache.read_timing(key), report=report)
        seconds = round(time.monotonic() - began, 1)
        path = cache.store(key, built.plan, {"seconds": seconds, "layers": built.inspector})
        cache.write_timing(key, built.timing_cache)
        log.info("built %s in %s s", path, seconds)
        return _verified(start(built.plan), golden, artifact)


def _verified(engine: TensorRTEngine, golden: Any, artifact: str) -> TensorRTEngine:
    try:
        # Verify twice, because a CUDA graph depends on the state of the context at the time of recording. The second
        # time each batch size runs as a graph, after the context has been used with other sizes.
        for _ in range(2):
            check_golden(engine, golden, artifact)
    except BaseException:
        engine.close()
        raise
    return engine
