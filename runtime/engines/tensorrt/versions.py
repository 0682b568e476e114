"""All differences between TensorRT 8.5/8.6, 10 and 11, and the import of the library.

Based on the Python bindings of 8.5.3, 8.6.0, 10.0 to 10.16, 11.0 and 11.4. EXPLICIT_BATCH is required in 8, ignored in
10 and removed in 11. The precision flags are removed in 11, which uses the types in the graph. Progress monitors exist
since 10. Calibrators and implicit INT8 are not used in any version.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from runtime.core.errors import ConfigError, EngineUnavailable
from runtime.engines.driver import find_gpus

TensorRtGeneration = Literal["8.6", "10", "11"]
Precision = Literal["int8", "fp16", "fp32"]
PhaseReporter = Callable[[str, int, int], None]
"""(phase, steps done, total steps): called as the build progresses."""


@dataclass(frozen=True, slots=True)
class BuildSettings:
    """Settings of an engine build.

    ``max_batch``: maximum batch size of the single profile, which is optimised for a batch of 1. ``workspace``: bytes
    of scratch memory that tactics may use. ``optimisation``: optimisation level 0 to 5, if the version supports it;
    builds at higher levels take longer. ``tactic_sources``: names of the `tensorrt.TacticSource` members to use; None
    means the version's default.
    """

    max_batch: int = 8
    workspace: int = 1 << 30
    optimisation: int = 3
    precision: Precision = "int8"
    tactic_sources: tuple[str, ...] | None = None

    @classmethod
    def of_environment(cls, environment: Mapping[str, str] = os.environ) -> BuildSettings:
        """Read the settings from ``ADSN_TRT_MAX_BATCH`` (1 to 256), ``ADSN_TRT_WORKSPACE_MIB``,
        ``ADSN_TRT_OPTIMISATION`` (0 to 5) and ``ADSN_TRT_TACTIC_SOURCES`` (names, separated by commas).

        They are environment variables because they apply to the machine: the service must use the same values to find
        the engine that ``adsn-export --engine`` built.

        Raises:
            ConfigError: a value is invalid; the message names the variable.
        """

        def number(name: str, default: int, low: int, high: int) -> int:
            text = environment.get(name)
            if text is None:
                return default
            if not text.isdecimal() or not low <= int(text) <= high:
                raise ConfigError(f"{name}: must be a whole number from {low} to {high}, not {text!r}.")
            return int(text)

        sources = environment.get("ADSN_TRT_TACTIC_SOURCES")
        names = None if sources is None else tuple(sorted(n.strip().upper() for n in sources.split(",") if n.strip()))
        return cls(
            tactic_sources=names,
            max_batch=number("ADSN_TRT_MAX_BATCH", cls().max_batch, 1, 256),
            workspace=number("ADSN_TRT_WORKSPACE_MIB", cls().workspace >> 20, 16, 1 << 20) << 20,
            optimisation=number("ADSN_TRT_OPTIMISATION", cls().optimisation, 0, 5),
        )


def generation_of(version: str) -> TensorRtGeneration:
    """Return the generation of a TensorRT version.

    Raises:
        EngineUnavailable: the version is not supported.
    """
    parts = version.split(".")
    major, minor = int(parts[0]), int(parts[1])
    if major == 8 and minor >= 5:
        return "8.6"
    if major == 10:
        return "10"
    if major == 11:
        return "11"
    raise EngineUnavailable(
        f"TensorRT {version} is not supported; supported are 8.5, 8.6, 10 and 11. Install one of them, or use the "
        "engine onnx-cuda."
    )


def import_tensorrt() -> Any:
    """Return the tensorrt module. The driver is queried first; see `runtime.engines.driver`.

    Raises:
        EngineUnavailable: there is no driver or no GPU, or TensorRT is not installed or not supported.
    """
    find_gpus()
    try:
        import tensorrt as trt
    except ImportError as error:
        raise EngineUnavailable(
            f"TensorRT is not installed ({error}). On Jetson it comes with JetPack: create the virtual environment "
            "with --system-site-packages. Elsewhere: pip install 'adsn[tensorrt]'."
        ) from error
    generation_of(trt.__version__)
    return trt


def artifact_for(generation: TensorRtGeneration) -> Literal["int8-trt", "int8-trt11"]:
    """Return the bundle artifact that a generation uses."""
    return "int8-trt11" if generation == "11" else "int8-trt"


def network_flags(trt: Any, generation: TensorRtGeneration) -> int:
    """Return the flags for ``Builder.create_network``."""
    if generation == "8.6":
        return 1 << int(trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH)
    return 0


def set_precision(trt: Any, config: Any, generation: TensorRtGeneration, precision: Precision) -> None:
    """Allow INT8 for layers with Q/DQ and FP16 for the rest. In TensorRT 11 the graph's types decide."""
    if generation == "11" or precision == "fp32":
        return
    config.set_flag(trt.BuilderFlag.FP16)
    if precision == "int8":
        config.set_flag(trt.BuilderFlag.INT8)


def execution_slots(generation: TensorRtGeneration) -> int:
    """Return how many execution contexts can use one optimisation profile at the same time.

    Up to TensorRT 8.6 only one context can use a profile; a second context cannot run. From 10 on, contexts share a
    profile (PROFILE_SHARING_0806 is on by default), so one part of a batch can be copied while another is computed.
    """
    return 1 if generation == "8.6" else 2


def set_tactic_sources(trt: Any, config: Any, names: tuple[str, ...] | None) -> None:
    """Restrict the tactic sources; None keeps the version's default.

    Raises:
        EngineUnavailable: this version does not know a name, or rejects the combination.
    """
    if names is None:
        return
    known = getattr(trt, "TacticSource", None)
    unknown = [name for name in names if not hasattr(known, name)]
    if unknown:
        raise EngineUnavailable(
            f"TensorRT {trt.__version__} has no tactic source {', '.join(unknown)}. Correct or unset "
            "ADSN_TRT_TACTIC_SOURCES."
        )
    chosen = 0
    for name in names:
        chosen |= 1 << int(getattr(known, name))
    if not config.set_tactic_sources(chosen):
        raise EngineUnavailable(
            f"TensorRT {trt.__version__} rejects the tactic sources {', '.join(names) or 'none'}. Correct or unset "
            "ADSN_TRT_TACTIC_SOURCES."
        )


def set_effort(config: Any, level: int) -> None:
    """Set the optimisation level, which limits the search for tactics. TensorRT 8.5 has no such setting."""
    if hasattr(config, "builder_optimization_level"):
        config.builder_optimization_level = level


def set_progress(trt: Any, config: Any, report: PhaseReporter) -> bool:
    """Report the phases of the build to ``report``. Return False if the version does not support progress reports."""
    base: Any = getattr(trt, "IProgressMonitor", None)
    if base is None or not hasattr(config, "progress_monitor"):
        return False

    class Monitor(base):  # type: ignore[misc]  # known at run time only
        """Progress monitor that forwards TensorRT's phases. It stores the number of steps, which TensorRT gives only at
        the start of a phase."""

        def __init__(self) -> None:
            base.__init__(self)
            self.steps: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self.steps[phase_name] = num_steps
            report(phase_name, 0, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            report(phase_name, step + 1, self.steps.get(phase_name, step + 1))
            return True

        def phase_finish(self, phase_name: str) -> None:
            steps = self.steps.pop(phase_name, 0)
            report(phase_name, steps, steps)

    config.progress_monitor = Monitor()
    return True


def forbid_host_code(runtime: Any) -> None:
    """Make ``runtime`` refuse engines that contain host code. Engines of TensorRT 8.5 never do."""
    if hasattr(runtime, "engine_host_code_allowed"):
        runtime.engine_host_code_allowed = False
