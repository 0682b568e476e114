"""Measure the performance of the shipped model in TensorRT on this machine's GPU.

``make bench-gpu`` writes gpu-CARD.md. INT8, FP16 and FP32 engines of the same graph are compared: build time,
difference from FP32 on the CPU, latency of one pair from host memory to scores in host memory, and throughput in
batches. FP16 is left out with TensorRT 11, which takes the types from the graph. A build may take minutes, so the page
is written after every step, and an interrupted run leaves what it has measured. gpu.md is written by hand: it says what
was run on which machine, and no run overwrites it.
"""

from __future__ import annotations

import argparse
import math
import re
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from benchmarks.support.measure import in_turns, median, p99
from runtime.bundle.manifest import Bundle, open_bundle
from runtime.core.errors import EngineUnavailable, InferenceFailed
from runtime.engines.base import Batch
from runtime.engines.driver import Gpu, find_gpus
from runtime.engines.golden import read_golden
from runtime.engines.onnx import OnnxCpuEngine
from runtime.engines.tensorrt.build import build_plan
from runtime.engines.tensorrt.device import GpuDevice, open_device
from runtime.engines.tensorrt.engine import TensorRTEngine
from runtime.engines.tensorrt.open import inputs_of
from runtime.engines.tensorrt.versions import BuildSettings, Precision, artifact_for, generation_of, import_tensorrt
from runtime.liveness.open import open_onnx

FOLDER = Path(__file__).resolve().parent
BATCHES = (1, 8, 32)
ROUNDS = 300
PARITY_PAIRS = 256
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
LIMIT_CARDS = ("H100", "H200")
LIMIT_MS, LIMIT_PAIRS = 0.3, 20_000
"""Budgets for INT8 on `LIMIT_CARDS` with a CUDA graph: median latency of one pair in ms, and pairs per second in
batches of 32."""
WAITING = "not measured yet"


@dataclass(frozen=True, slots=True)
class Setup:
    """Setup of the measurement. ``tactics``: tactic sources that the builder may use, None for the default of the
    version."""

    gpu: Gpu
    version: str
    provider: str
    graphs: bool = True
    tactics: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Measured:
    """Results of one precision on one GPU.

    ``difference``: largest difference of the fused scores from FP32 on the CPU. ``failure``: why it could not be
    measured; empty if it was measured or has not been measured yet.
    """

    precision: Precision
    build_s: float = math.nan
    plan_mib: float = math.nan
    difference: float = math.nan
    mean_difference: float = math.nan
    milliseconds: dict[int, list[float]] = field(default_factory=dict)
    failure: str = ""

    @property
    def tried(self) -> bool:
        """Whether the engine has been built, or failed."""
        return bool(self.failure) or not math.isnan(self.build_s)

    def row(self) -> str:
        name = self.precision.upper()
        if self.failure or not self.tried:
            return f"| {name} | {f'not measured: {self.failure}' if self.failure else WAITING} | | | | |"
        times = f"{WAITING} |"
        if self.milliseconds:
            one = self.milliseconds[1]
            rates = " / ".join(f"{1000 * n / median(times):.0f}" for n, times in self.milliseconds.items())
            times = f"{median(one):.3f} / {p99(one):.3f} ms | {rates}"
        return (
            f"| {name} | {self.build_s:.1f} s | {self.plan_mib:.1f} MiB | {self.difference:.4f} "
            f"(mean {self.mean_difference:.5f}) | {times} |"
        )


def models_of(bundle: Bundle, version: str) -> Iterator[tuple[Precision, bytes]]:
    """Return the graphs to build, by precision."""
    generation = generation_of(version)
    yield "int8", bundle.read("model-int8-trt11" if artifact_for(generation) == "int8-trt11" else "model-int8-trt")
    try:
        import onnx

        from export.tensorrt_graph import bounded_slices, float_inputs
    except ImportError:
        # Without the packages for export, only the INT8 artifact in the bundle is measured.
        return
    proto = onnx.load_from_string(bundle.read("model-fp32"))
    float_inputs(proto)
    bounded_slices(proto)
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
    """Plan of the measurement.

    ``rounds``: number of rounds per batch size. ``pairs``: number of pairs to compare. ``graphs``: whether to use CUDA
    graphs. ``precisions``: precisions to build.
    """

    rounds: int = ROUNDS
    pairs: int = PARITY_PAIRS
    graphs: bool = True
    precisions: tuple[Precision, ...] = PRECISIONS


@dataclass(frozen=True, slots=True)
class Machine:
    """TensorRT, the GPU, and the function that opens it."""

    trt: Any
    gpu: Gpu
    opener: Callable[[], GpuDevice]


def build(
    machine: Machine, bundle: Bundle, precision: Precision, model: bytes, graphs: bool
) -> tuple[TensorRTEngine, Measured]:
    """Build and open an engine, and return it with its build time and size.

    Raises:
        EngineUnavailable: the build failed, or its plan cannot be opened.
    """
    settings = replace(BuildSettings.of_environment(), max_batch=max(BATCHES), precision=precision)
    began = time.monotonic()
    built = build_plan(machine.trt, model, settings)
    seconds = time.monotonic() - began
    engine = TensorRTEngine(
        built.plan,
        machine.trt,
        machine.opener,
        inputs_of(bundle),
        precision="int8" if precision == "int8" else "fp32",
        device_name=machine.gpu.name,
        graphs=graphs,
    )
    return engine, Measured(precision, seconds, len(built.plan) / 2**20)


def timed(
    engines: Mapping[Precision, TensorRTEngine], given: Batch, rounds: int
) -> dict[Precision, dict[int, list[float]]]:
    """Return the milliseconds of every call by precision and batch size. The engines are called in alternation."""
    times: dict[Precision, dict[int, list[float]]] = {p: {} for p in engines}
    for size in BATCHES:
        batch: Batch = {name: values[:size] for name, values in given.items()}
        found = in_turns({p: partial(e.infer, batch) for p, e in engines.items()}, rounds)
        for precision in engines:
            times[precision][size] = found[precision]
    return times


def measure(bundle: Bundle, machine: Machine, plan: Plan | None = None) -> Iterator[list[Measured]]:
    """Build, compare and time each precision. After each step, yield the results so far for all of them.

    After each build, all engines so far are timed again in alternation. An engine that fails is listed with the reason.
    """
    plan = plan or Plan()
    given = faces(bundle, plan.pairs)
    wanted = open_onnx(bundle, OnnxCpuEngine, "fp32").infer(given).score
    models = {p: model for p, model in models_of(bundle, machine.trt.__version__) if p in plan.precisions}
    rows: dict[Precision, Measured] = {p: Measured(p) for p in models}
    engines: dict[Precision, TensorRTEngine] = {}
    try:
        for precision, model in models.items():
            try:
                engines[precision], row = build(machine, bundle, precision, model, plan.graphs)
                away = np.abs(engines[precision].infer(given).score - wanted)
                rows[precision] = replace(row, difference=float(away.max()), mean_difference=float(away.mean()))
                yield list(rows.values())
                for found, times in timed(engines, given, plan.rounds).items():
                    rows[found] = replace(rows[found], milliseconds=times)
            except (EngineUnavailable, InferenceFailed) as error:
                rows[precision] = Measured(precision, failure=error.message)
                if precision in engines:
                    engines.pop(precision).close()
            yield list(rows.values())
    finally:
        for engine in engines.values():
            engine.close()


def limits(measured: Sequence[Measured], setup: Setup) -> list[str]:
    """Return the table of the budgets. It is empty on other cards, without CUDA graphs, and before INT8 has been
    timed."""
    int8 = next((m for m in measured if m.precision == "int8" and m.milliseconds), None)
    if int8 is None or not setup.graphs or not any(card in setup.gpu.name for card in LIMIT_CARDS):
        return []
    latency, rate = median(int8.milliseconds[1]), 1000 * 32 / median(int8.milliseconds[32])
    verdict = {True: "met", False: "**not met**"}
    return [
        "",
        "| what | measured | limit | |",
        "| --- | --- | --- | --- |",
        f"| INT8, one pair, median | {latency:.3f} ms | ≤ {LIMIT_MS} ms | {verdict[latency <= LIMIT_MS]} |",
        f"| INT8, batches of 32 | {rate:.0f} pairs/s | ≥ {LIMIT_PAIRS} pairs/s | {verdict[rate >= LIMIT_PAIRS]} |",
    ]


def page(measured: Sequence[Measured], setup: Setup) -> str:
    """Return the page of one card."""
    gpu, tactics = setup.gpu, setup.tactics
    allowed = "" if tactics is None else f" Tactics from {', '.join(tactics) or 'no source'} alone."
    lines = [
        f"# On {gpu.name}",
        "",
        f"Measured on {date.today().isoformat()} with `make bench-gpu`: {gpu.name}, compute capability "
        f"{'.'.join(map(str, gpu.capability))}, driver for CUDA {gpu.driver}, TensorRT {setup.version}, "
        f"{setup.provider}.{allowed}",
        f"Latency is of one pair, from host memory to scores in host memory, {'with' if setup.graphs else 'without'} "
        "CUDA graphs. Difference: fused scores against FP32 on the processor, golden vectors and noisy copies of them.",
        "",
        "| engine | build | plan | difference from FP32 | latency, median / p99 | pairs a second, batch "
        + " / ".join(map(str, BATCHES))
        + " |",
        "| --- | --- | --- | --- | --- | --- |",
        *(m.row() for m in measured),
        *limits(measured, setup),
    ]
    return "\n".join(lines) + "\n"


def page_name(gpu: Gpu) -> str:
    """Return the name of the page for a card, e.g. gpu-nvidia-h200.md."""
    return f"gpu-{re.sub('[^a-z0-9]+', '-', gpu.name.lower()).strip('-')}.md"


def write(steps: Iterable[Sequence[Measured]], setup: Setup, out: Path) -> None:
    """Write the page after every step, and print each new row."""
    said: set[str] = set()
    for measured in steps:
        out.write_text(page(measured, setup))
        for row in (m.row() for m in measured if m.tried):
            if row not in said:
                print(row, flush=True)
                said.add(row)
    print(f"wrote {out}")


def precisions(text: str) -> tuple[Precision, ...]:
    """Return the precisions in ``text``, which are separated by commas.

    Raises:
        ArgumentTypeError: a name is unknown or empty.
    """
    names = [name.strip() for name in text.split(",")]
    unknown = [name for name in names if name not in PRECISIONS]
    if unknown:
        raise argparse.ArgumentTypeError(f"unknown precision {unknown[0]!r}; there are {', '.join(PRECISIONS)}.")
    return tuple(p for p in PRECISIONS if p in names)


def main() -> None:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(description="Measure TensorRT engines of a bundle on this machine's GPU.")
    parser.add_argument("--bundle", type=Path, help="a bundle with all artifacts; without it one is made with torch")
    parser.add_argument("--no-graphs", action="store_true", help="measure without CUDA graphs")
    parser.add_argument(
        "--precision", type=precisions, default=PRECISIONS, help="which engines, e.g. int8,fp16; default: all"
    )
    parser.add_argument("--out", type=Path, help="the page; default: benchmarks/gpu-CARD.md")
    given = parser.parse_args()
    trt = import_tensorrt()
    gpu = find_gpus()[0]
    device = open_device(gpu.index)
    device.close()
    graphs, tactics = not given.no_graphs, BuildSettings.of_environment().tactic_sources
    setup = Setup(gpu, str(trt.__version__), device.provider, graphs, tactics)
    machine = Machine(trt, gpu, lambda: open_device(gpu.index))
    with tempfile.TemporaryDirectory() as folder:
        bundle = open_bundle(given.bundle) if given.bundle else completed(Path(folder) / "bundle")
        steps = measure(bundle, machine, Plan(graphs=graphs, precisions=given.precision))
        write(steps, setup, given.out or FOLDER / page_name(gpu))


def completed(folder: Path) -> Bundle:
    """Create a complete copy of the shipped bundle in ``folder``. Needs torch and the packages for export."""
    from tests.support.models.shipped import complete_bundle

    return complete_bundle(folder)


if __name__ == "__main__":
    main()
