"""Build a TensorRT engine from the verified ONNX bytes of a bundle, on the device that will run it."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from typing import Any

from runtime.core.errors import EngineUnavailable
from runtime.engines.tensorrt.versions import (
    BuildSettings,
    PhaseReporter,
    generation_of,
    network_flags,
    set_effort,
    set_precision,
    set_progress,
    set_tactic_sources,
)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class BuiltEngine:
    """Result of a build.

    ``plan``: the serialised engine. ``timing_cache``: data that speeds up the next build of the same layers.
    ``inspector``: TensorRT's description of the layers, parsed from JSON.
    """

    plan: bytes
    timing_cache: bytes
    inspector: Any


def make_logger(trt: Any) -> Any:
    """Return a TensorRT logger that forwards warnings and errors to this module's log."""

    class Bridge(trt.ILogger):  # type: ignore[misc]  # the base class is known only at run time
        """Logger that forwards TensorRT's messages."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, msg: str) -> None:
            if severity in (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR):
                log.error("TensorRT: %s", msg)
            elif severity == trt.ILogger.WARNING:
                log.warning("TensorRT: %s", msg)

    return Bridge()


def build_plan(
    trt: Any,
    model: bytes,
    settings: BuildSettings,
    *,
    timing_cache: bytes = b"",
    report: PhaseReporter = lambda phase, done, steps: None,
) -> BuiltEngine:
    """Build a plan for ``model`` with one profile for batches of 1 to ``settings.max_batch``.

    Raises:
        EngineUnavailable: the parser or the builder failed. The message includes the error that it reported.
    """
    generation = generation_of(trt.__version__)
    logger = make_logger(trt)
    builder = trt.Builder(logger)
    network = builder.create_network(network_flags(trt, generation))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(model):
        errors = "; ".join(str(parser.get_error(i).desc()) for i in range(parser.num_errors))
        raise EngineUnavailable(f"TensorRT {trt.__version__} cannot read the model: {errors}")
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, settings.workspace)
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    set_precision(trt, config, generation, settings.precision)
    set_tactic_sources(trt, config, settings.tactic_sources)
    set_effort(config, settings.optimisation)
    set_progress(trt, config, report)
    cache = config.create_timing_cache(timing_cache)
    # TensorRT rejects a timing cache from a different device or version. Then start with an empty one.
    if not config.set_timing_cache(cache, False):
        cache = config.create_timing_cache(b"")
        config.set_timing_cache(cache, False)
    profile = builder.create_optimization_profile()
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        sample = tuple(tensor.shape)[1:]
        profile.set_shape(tensor.name, (1, *sample), (1, *sample), (settings.max_batch, *sample))
    config.add_optimization_profile(profile)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise EngineUnavailable(
            f"TensorRT {trt.__version__} could not build an engine; see its messages in the log above. If GPU memory "
            "ran out, lower the workspace or the largest batch."
        )
    return BuiltEngine(bytes(plan), bytes(config.get_timing_cache().serialize()), inspect(trt, bytes(plan), logger))


def inspect(trt: Any, plan: bytes, logger: Any) -> Any:
    """Return TensorRT's description of each layer: names, types, tactics."""
    engine = trt.Runtime(logger).deserialize_cuda_engine(plan)
    text = engine.create_engine_inspector().get_engine_information(trt.LayerInformationFormat.JSON)
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        # Some releases write invalid JSON. Keep their text unchanged.
        return {"text": text}
