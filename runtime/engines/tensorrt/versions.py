"""What differs between TensorRT 8.5/8.6, 10 and 11, and the way to the library itself. All of it is in this module.

Facts read from the bindings of 8.5.3, 8.6.0, 10.0 to 10.16, 11.0 and 11.4: EXPLICIT_BATCH is needed in 8, ignored in 10
and gone in 11; the precision flags are gone in 11, where the graph's own types hold; progress monitors came with 10. No
calibrator and no implicit INT8 is used anywhere.
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
"""(phase, steps done, steps in all): called as a build goes on."""


@dataclass(frozen=True, slots=True)
class BuildSettings:
    """``max_batch``: largest batch of the one profile, whose optimum is 1. ``workspace``: bytes of scratch memory that
    tactics may ask for. ``optimisation``: 0 to 5, where the version knows it; higher builds longer.
    ``tactic_sources``: names of `tensorrt.TacticSource` that tactics may come from; None: what the version chooses."""

    max_batch: int = 8
    workspace: int = 1 << 30
    optimisation: int = 3
    precision: Precision = "int8"
    tactic_sources: tuple[str, ...] | None = None

    @classmethod
    def of_environment(cls, environment: Mapping[str, str] = os.environ) -> BuildSettings:
        """Read ``ADSN_TRT_MAX_BATCH`` (1 to 256), ``ADSN_TRT_WORKSPACE_MIB``, ``ADSN_TRT_OPTIMISATION`` (0 to 5) and
        ``ADSN_TRT_TACTIC_SOURCES`` (names, separated by commas). They belong to a machine, not to a command: what
        ``adsn-export --engine`` built is what a service finds.

        Raises:
            ConfigError: names the variable.
        """

        def number(name: str, default: int, low: int, high: int) -> int:
            text = environment.get(name)
            if text is None:
                return default
            if not text.isdecimal() or not low <= int(text) <= high:
                raise ConfigError(f"{name}: a whole number from {low} to {high} is wanted, not {text!r}.")
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
    """The generation of a TensorRT version.

    Raises:
        EngineUnavailable: a version that is not served.
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
        f"TensorRT {version} is not served; this version serves 8.5, 8.6, 10 and 11. With another, use engine "
        "onnx-cuda."
    )


def import_tensorrt() -> Any:
    """The tensorrt module, after the driver has answered.

    Raises:
        EngineUnavailable: no driver, no GPU, TensorRT not installed, or of a version that is not served.
    """
    find_gpus()
    try:
        import tensorrt as trt
    except ImportError as error:
        raise EngineUnavailable(
            f"TensorRT is not installed ({error}). On Jetson it comes with JetPack: make the environment with "
            "--system-site-packages. Elsewhere: pip install 'adsn[tensorrt]'."
        ) from error
    generation_of(trt.__version__)
    return trt


def artifact_for(generation: TensorRtGeneration) -> Literal["int8-trt", "int8-trt11"]:
    """Which of a bundle's artifacts a generation takes."""
    return "int8-trt11" if generation == "11" else "int8-trt"


def network_flags(trt: Any, generation: TensorRtGeneration) -> int:
    """Flags for ``Builder.create_network``."""
    if generation == "8.6":
        return 1 << int(trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH)
    return 0


def set_precision(trt: Any, config: Any, generation: TensorRtGeneration, precision: Precision) -> None:
    """Let the builder use 8 bits where the graph has Q/DQ, and 16 where it has not. In 11 the graph says it all."""
    if generation == "11" or precision == "fp32":
        return
    config.set_flag(trt.BuilderFlag.FP16)
    if precision == "int8":
        config.set_flag(trt.BuilderFlag.INT8)


def execution_slots(generation: TensorRtGeneration) -> int:
    """Return how many execution contexts may work on one optimisation profile at a time.

    Up to TensorRT 8.6 a profile serves one context: a second one is made without a profile and refuses to run. From 10
    on contexts share a profile (PROFILE_SHARING_0806 is on by default), so that copies of one part of a batch overlap
    with the computation of another.
    """
    return 1 if generation == "8.6" else 2


def set_tactic_sources(trt: Any, config: Any, names: tuple[str, ...] | None) -> None:
    """Restrict where tactics may come from; None leaves the version's own choice.

    Raises:
        EngineUnavailable: a name that this version does not know, or a choice that it refuses.
    """
    if names is None:
        return
    known = getattr(trt, "TacticSource", None)
    unknown = [name for name in names if not hasattr(known, name)]
    if unknown:
        raise EngineUnavailable(
            f"TensorRT {trt.__version__} has no tactic source {', '.join(unknown)}. Correct ADSN_TRT_TACTIC_SOURCES or "
            "remove it."
        )
    chosen = 0
    for name in names:
        chosen |= 1 << int(getattr(known, name))
    if not config.set_tactic_sources(chosen):
        raise EngineUnavailable(
            f"TensorRT {trt.__version__} refuses the tactic sources {', '.join(names) or 'none'}. Correct "
            "ADSN_TRT_TACTIC_SOURCES or remove it."
        )


def set_effort(config: Any, level: int) -> None:
    """How long to search for tactics; 8.5 has no such setting."""
    if hasattr(config, "builder_optimization_level"):
        config.builder_optimization_level = level


def set_progress(trt: Any, config: Any, report: PhaseReporter) -> bool:
    """Report the build's phases; False where the version cannot."""
    base: Any = getattr(trt, "IProgressMonitor", None)
    if base is None or not hasattr(config, "progress_monitor"):
        return False

    class Monitor(base):  # type: ignore[misc]  # known at run time only
        """Hands TensorRT's phases on; it keeps the number of steps, which only the start of a phase tells."""

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
    """Engines may not bring code for the host; 8.5 knows no such engines."""
    if hasattr(runtime, "engine_host_code_allowed"):
        runtime.engine_host_code_allowed = False
