"""TensorRT performance of the shipped model on this machine's GPU: ``make bench-gpu``, which writes gpu.md.

INT8 beside FP16 and FP32 engines of the same graph: build time, difference from FP32 on the CPU, latency of one pair
from host memory to scores in host memory, and throughput in batches. TensorRT 11 takes its types from the graph, so
FP16 is left out there.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.support.measure import in_turns, median, p99
from runtime.bundle.manifest import Bundle, open_bundle
from runtime.core.errors import EngineUnavailable
from runtime.engines.base import Batch
from runtime.engines.driver import Gpu, find_gpus
from runtime.engines.golden import read_golden
from runtime.engines.onnx import OnnxCpuEngine
from runtime.engines.tensorrt.build import build_plan
from runtime.engines.tensorrt.device import Device, open_device
from runtime.engines.tensorrt.engine import TensorRTEngine
from runtime.engines.tensorrt.open import inputs_of
from runtime.engines.tensorrt.versions import BuildSettings, Precision, artifact_for, generation_of, import_tensorrt
from runtime.liveness.open import open_onnx

PAGE = Path(__file__).resolve().parent / "gpu.md"
BATCHES = (1, 8, 32)
ROUNDS = 300
PARITY_PAIRS = 256


@dataclass(frozen=True, slots=True)
class Measured:
    """One precision on one GPU. ``difference``: largest difference of the fused scores from FP32 on the CPU.
    ``failure``: reason why it was not measured; empty if it was."""

    precision: Precision
    build_s: float = math.nan
    plan_mib: float = math.nan
    difference: float = math.nan
    mean_difference: float = math.nan
    milliseconds: dict[int, list[float]] = field(default_factory=dict)
    failure: str = ""

    def row(self) -> str:
        if self.failure:
            return f"| {self.precision.upper()} | not measured: {self.failure} | | | | |"
        one = self.milliseconds[1]
        rates = " / ".join(f"{1000 * n / median(times):.0f}" for n, times in self.milliseconds.items())
        return (
            f"| {self.precision.upper()} | {self.build_s:.1f} s | {self.plan_mib:.1f} MiB | {self.difference:.4f} "
            f"(mean {self.mean_difference:.5f}) | {median(one):.3f} / {p99(one):.3f} ms | {rates} |"
        )


def models_of(bundle: Bundle, version: str) -> Iterator[tuple[Precision, bytes]]:
    """Return the graphs to build, by precision."""
    generation = generation_of(version)
    yield "int8", bundle.read("model-int8-trt11" if artifact_for(generation) == "int8-trt11" else "model-int8-trt")
    try:
        import onnx

        from export.tensorrt_graph import float_inputs
    except ImportError:
        # Without the export's packages, only the INT8 artifact is measured; it is built as stored in the bundle.
        return
    proto = onnx.load_from_string(bundle.read("model-fp32"))
    float_inputs(proto)
    plain = proto.SerializeToString()
    if generation != "11":
        yield "fp16", plain
    yield "fp32", plain


def faces(bundle: Bundle, count: int) -> dict[str, NDArray[Any]]:
    """Return the golden vectors, padded with noisy copies of them to ``count``."""
    golden = read_golden(bundle.read("golden")).inputs
    rng = np.random.default_rng(0)
    order = np.arange(count) % len(next(iter(golden.values())))
    found = {}
    for name, values in golden.items():
        noise = rng.normal(0, 6, (count, *values.shape[1:]))
        noise[: len(values)] = 0
        found[name] = np.clip(values[order] + noise, 0, 255).astype(values.dtype)
    return found


@dataclass(frozen=True, slots=True)
class Plan:
    """Method: ``rounds`` per batch size, ``pairs`` to compare, with or without CUDA ``graphs``."""

    rounds: int = ROUNDS
    pairs: int = PARITY_PAIRS
    graphs: bool = True


def measure(
    bundle: Bundle, trt: Any, gpu: Gpu, opener: Callable[[], Device], plan: Plan | None = None
) -> list[Measured]:
    """Build, compare and time every precision in alternation. One that fails is listed with its reason."""
    plan = plan or Plan()
    given = faces(bundle, plan.pairs)
    wanted = open_onnx(bundle, OnnxCpuEngine, "fp32").infer(given).score
    engines: dict[Precision, TensorRTEngine] = {}
    facts: dict[Precision, tuple[float, float, float, float]] = {}
    failures: dict[Precision, str] = {}
    settings = BuildSettings.of_environment()
    for precision, model in models_of(bundle, trt.__version__):
        began = time.monotonic()
        try:
            built = build_plan(trt, model, replace(settings, max_batch=max(BATCHES), precision=precision))
            seconds = time.monotonic() - began
            engine = TensorRTEngine(
                built.plan,
                trt,
                opener,
                inputs_of(bundle),
                precision="int8" if precision == "int8" else "fp32",
                device_name=gpu.name,
                graphs=plan.graphs,
            )
        except EngineUnavailable as error:
            failures[precision] = error.message
            continue
        engines[precision] = engine
        away = np.abs(engine.infer(given).score - wanted)
        facts[precision] = (seconds, len(built.plan) / 2**20, float(away.max()), float(away.mean()))
    times: dict[Precision, dict[int, list[float]]] = {p: {} for p in engines}
    for size in BATCHES:
        batch: Batch = {name: values[:size] for name, values in given.items()}
        found = in_turns({p: partial(e.infer, batch) for p, e in engines.items()}, plan.rounds)
        for precision in engines:
            times[precision][size] = found[precision]
    for engine in engines.values():
        engine.close()
    measured = [Measured(p, *facts[p], times[p]) for p in engines]
    return measured + [Measured(p, failure=reason) for p, reason in failures.items()]


def page(measured: Sequence[Measured], gpu: Gpu, version: str, provider: str, *, graphs: bool = True) -> str:
    """Return gpu.md."""
    with_graphs = "with" if graphs else "without"
    lines = [
        "# On a GPU",
        "",
        f"Measured on {date.today().isoformat()} with `make bench-gpu`: {gpu.name}, compute capability "
        f"{'.'.join(map(str, gpu.capability))}, driver for CUDA {gpu.driver}, TensorRT {version}, {provider}.",
        f"Latency is of one pair, from host memory to scores in host memory, {with_graphs} CUDA graphs. Difference: "
        "fused scores against FP32 on the processor, golden vectors and noisy copies of them.",
        "",
        "| engine | build | plan | difference from FP32 | latency, median / p99 | pairs a second, batch "
        + " / ".join(map(str, BATCHES))
        + " |",
        "| --- | --- | --- | --- | --- | --- |",
        *(m.row() for m in measured),
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(description="Measure TensorRT engines of a bundle on this machine's GPU.")
    parser.add_argument("--bundle", type=Path, help="a bundle with all artifacts; without it one is made with torch")
    parser.add_argument("--no-graphs", action="store_true", help="measure without CUDA graphs")
    given = parser.parse_args()
    trt = import_tensorrt()
    gpu = find_gpus()[0]
    with tempfile.TemporaryDirectory() as folder:
        bundle = open_bundle(given.bundle) if given.bundle else completed(Path(folder) / "bundle")
        measured = measure(bundle, trt, gpu, lambda: open_device(gpu.index), Plan(graphs=not given.no_graphs))
    device = open_device(gpu.index)
    text = page(measured, gpu, str(trt.__version__), device.provider, graphs=not given.no_graphs)
    device.close()
    PAGE.write_text(text)
    print(text)


def completed(folder: Path) -> Bundle:
    """Complete the shipped bundle in ``folder``; needs torch and the export's packages."""
    from tests.support.models.shipped import complete_bundle

    return complete_bundle(folder)


if __name__ == "__main__":
    main()
