"""The export from a checkpoint to a bundle, step by step. Pure of terminals: progress goes through callbacks."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray

from adsn.cache import open_cache
from adsn.checkpoint import load_checkpoint
from adsn.data import PairDataset
from adsn.evaluate import Scored, batch_of, engine_scorer, score_set
from adsn.metrics import Report
from adsn.network import ADSN, INPUT_CHANNELS
from adsn.plan import DataPlan
from adsn.sections import DataSection, ListedSection
from calib.ranges import Ranges, measure_ranges
from calib.threshold import operating_point, rate_entry
from export.errors import ParityError
from export.graph import check_against_torch, to_onnx
from export.quantize import quantize_for_cpu, tensors_to_measure
from runtime.bundle import Calibration, CropEntry, Manifest, OperatingPointEntry, Parity, TensorEntry
from runtime.engines.base import Precision
from runtime.engines.onnx import OnnxCpuEngine
from runtime.golden import Golden
from runtime.preprocess import CropRule

CALIBRATION_BATCH = 16
GOLDEN_PAIRS = 12


@dataclass(frozen=True, slots=True)
class ParityLimits:
    """How much INT8 may differ from FP32 on any test set: decision flips, and APCER/BPCER as fractions."""

    flips: float = 0.002
    rate: float = 0.002


@dataclass(frozen=True, slots=True)
class Comparison:
    """One test set scored by both precisions at the same threshold."""

    fp32: Scored
    int8: Scored
    threshold: float

    @property
    def differences(self) -> NDArray[np.float32]:
        difference: NDArray[np.float32] = np.abs(self.fp32.scores[:, 0] - self.int8.scores[:, 0])
        return difference

    @property
    def flips(self) -> int:
        """Pairs on different sides of the threshold."""
        t = self.threshold
        return int(((self.fp32.scores[:, 0] >= t) != (self.int8.scores[:, 0] >= t)).sum())

    def parity(self) -> Parity:
        a, b = self.fp32.report(self.threshold), self.int8.report(self.threshold)
        return Parity(
            data=self.fp32.name,
            data_sha256=self.fp32.digest,
            pairs=len(self.fp32.scores),
            max_score_difference=round(float(self.differences.max()), 6),
            mean_score_difference=round(float(self.differences.mean()), 6),
            decision_flips=self.flips,
            fp32=_entries(a),
            int8=_entries(b),
            int8_parts={name: _entries(part.report(self.threshold)) for name, part in self.int8.parts().items()},
        )

    def violations(self, limits: ParityLimits) -> list[str]:
        """What exceeds the limits, in words."""
        a, b = self.fp32.report(self.threshold), self.int8.report(self.threshold)
        pairs = len(self.fp32.scores)
        found = []
        if self.flips > limits.flips * pairs:
            found.append(f"{self.flips} of {pairs} decisions flip ({self.flips / pairs:.2%} > {limits.flips:.2%})")
        for name, x, y in (("worst-species APCER", a.worst[1], b.worst[1]), ("BPCER", a.bpcer, b.bpcer)):
            # A difference below one presentation is no difference.
            if abs(x.value - y.value) > max(limits.rate, 1 / max(x.trials, 1)) + 1e-9:
                found.append(f"{name} moves from {x.value:.2%} to {y.value:.2%}")
        return [f"{self.fp32.name}: {text}" for text in found]


def _entries(report: Report) -> dict[str, Any]:
    entries = {f"apcer.{kind}": rate_entry(rate) for kind, rate in report.apcer.items()}
    return {**entries, "bpcer": rate_entry(report.bpcer)}


@dataclass(frozen=True, slots=True)
class Built:
    """Everything a bundle is written from."""

    files: dict[str, bytes]
    manifest: dict[str, Any]
    comparisons: list[Comparison]
    point: OperatingPointEntry
    torch_difference: float

    def violations(self, limits: ParityLimits) -> list[str]:
        return [text for comparison in self.comparisons for text in comparison.violations(limits)]


class Step:
    """Progress of one step: ``start(name, total)`` once, ``tick(n)`` as samples finish."""

    def start(self, name: str, total: int) -> None: ...
    def tick(self, count: int) -> None: ...


def build(
    checkpoint: Path,
    plan: DataPlan,
    cache: Path,
    *,
    workers: int,
    step: Step,
    version: str,
    keep_float: Sequence[str] = (),
) -> Built:
    """Run every step of an INT8 export and measure it; writes nothing.

    Raises:
        CheckpointError: the checkpoint cannot be used. ExportError: a step failed; says which and why.
    """
    network, training = load_checkpoint(checkpoint)
    modalities, size = network.config.modalities, network.config.size
    step.start("ONNX", 1)
    fp32 = to_onnx(network)
    step.tick(1)

    def opened(name: str, section: DataSection | ListedSection) -> PairDataset:
        if isinstance(section, ListedSection):
            return section.open(modalities, size)
        spec = plan.spec(name, section, size)
        step.start(f"render {name}", sum((spec.bona_fide, len(spec.species) * spec.per_attack)) * spec.frames)
        return open_cache(spec, cache, workers=workers, tick=step.tick)

    calibration, dev = opened("calibration", plan.calibration), opened("dev", plan.dev)
    tests = [opened(name, section) for name, section in plan.test.items()]

    sample, _ = batch_of(tests[0], 0, CALIBRATION_BATCH, modalities)
    difference = check_against_torch(network, fp32, sample)

    step.start("activation ranges", len(calibration))
    ranges = measure_ranges(fp32, tensors_to_measure(fp32), _batches(calibration, modalities, step), calibration.name)
    step.start("quantise", 1)
    int8 = quantize_for_cpu(fp32, ranges, keep_float)
    step.tick(1)

    engines: dict[Precision, OnnxCpuEngine] = {
        "fp32": OnnxCpuEngine(fp32, "fp32"),
        "int8": OnnxCpuEngine(int8, "int8"),
    }

    def score(precision: Precision, pairs: PairDataset) -> Scored:
        step.start(f"{precision.upper()} on {pairs.name}", len(pairs))
        return score_set(engine_scorer(engines[precision]), pairs, modalities, tick=step.tick)

    # The threshold is fixed on dev before any test set is scored, and for the model that ships.
    values, species = score("int8", dev).presentations_of()
    point = operating_point(values, species, measured_on=f"{dev.name} ({source_of(plan.dev)}), INT8")
    comparisons = [Comparison(score("fp32", test), score("int8", test), point.threshold) for test in tests]

    golden = _golden(tests, modalities, engines)
    files = {
        "checkpoint.safetensors": checkpoint.read_bytes(),
        "model.onnx": fp32,
        "model.int8-cpu.onnx": int8,
        "ranges.json": ranges.to_json(),
        "golden.npz": golden.to_bytes(),
    }
    manifest = _manifest(network, training, version, point, ranges, comparisons, keep_float, plan)
    return Built(files, manifest, comparisons, point, difference)


def source_of(section: DataSection | ListedSection) -> str:
    """Where a set comes from, in a word for the manifest."""
    return section.dataset if isinstance(section, ListedSection) else "synthetic"


SYNTHETIC = "Trained on synthetic faces only: to look, develop and test with, not to guard a door."
ON_DISK = "Trained on {train}, tested on {test}: what it does elsewhere nobody has measured."


def summary_of(training: dict[str, Any], plan: DataPlan) -> str:
    """The first sentence of a bundle: which faces it has seen, and on which it was measured."""
    data = training["recipe"]["data"]
    train = sorted({str(data[part].get("dataset") or "synthetic faces") for part in ("train", "dev")})
    if train == ["synthetic faces"]:
        return SYNTHETIC
    test = sorted({source_of(section) for section in plan.test.values()})
    return ON_DISK.format(train=" and ".join(train), test=" and ".join(test))


def _batches(pairs: PairDataset, modalities: tuple[str, str], step: Step) -> Iterator[dict[str, NDArray[Any]]]:
    for start in range(0, len(pairs), CALIBRATION_BATCH):
        crops, samples = batch_of(pairs, start, start + CALIBRATION_BATCH, modalities)
        yield crops
        step.tick(len(samples))


def _golden(tests: list[PairDataset], modalities: tuple[str, str], engines: dict[Precision, OnnxCpuEngine]) -> Golden:
    """A few rendered pairs of every kind, and noise, which drives activations where faces do not."""
    chosen: list[dict[str, NDArray[Any]]] = []
    for species in dict.fromkeys(tests[0][i].species for i in range(len(tests[0]))):
        index = next(i for i in range(len(tests[0])) if tests[0][i].species == species)
        chosen.append({m: np.asarray(tests[0][index].crops[m]) for m in modalities})
    rng = np.random.default_rng(0)
    while len(chosen) < GOLDEN_PAIRS:
        like = chosen[0]
        chosen.append({
            m: rng.integers(0, 256, a.shape, dtype=np.uint8) if a.dtype == np.uint8 else rng.uniform(300, 900, a.shape)
            .astype(np.float32)
            for m, a in like.items()
        })  # fmt: skip
    inputs = {m: np.stack([pair[m] for pair in chosen]) for m in modalities}
    # One by one: how a batch is split among threads must not be part of what is expected.
    scores = {
        precision: np.concatenate(
            [engine_scorer(engine)({m: a[i : i + 1] for m, a in inputs.items()}) for i in range(len(chosen))]
        )
        for precision, engine in engines.items()
    }
    return Golden(inputs, {str(k): v for k, v in scores.items()})


def _manifest(
    network: ADSN,
    training: dict[str, Any],
    version: str,
    point: OperatingPointEntry,
    ranges: Ranges,
    comparisons: list[Comparison],
    keep_float: Sequence[str],
    plan: DataPlan,
) -> dict[str, Any]:
    """The manifest without its file list, which is made from the bytes when they are written."""
    config = network.config
    size, maps, grid = config.size, config.maps, 2 * network.grid
    inputs = [
        TensorEntry(name=m, dtype="float32" if m == "depth" else "uint8", shape=(size, size, INPUT_CHANNELS[m]))
        for m in config.modalities
    ]
    outputs = [
        TensorEntry(name="score", dtype="float32", shape=()),
        TensorEntry(name="stream_scores", dtype="float32", shape=(2,)),
        TensorEntry(name="attention", dtype="float32", shape=(2, maps, grid, grid)),
    ]
    rule = CropRule(size=size)
    manifest = Manifest(
        schema_version=1,
        name=f"adsn-{'-'.join(config.modalities)}",
        version=version,
        licence="Apache-2.0",
        summary=summary_of(training, plan),
        modalities=config.modalities,
        inputs=inputs,
        outputs=outputs,
        crop=CropEntry(size=rule.size, margin=rule.margin),
        files=[],
        operating_points=[point],
        calibration=Calibration(
            method=ranges.method,
            samples=ranges.samples,
            data=ranges.data,
            data_sha256=ranges.data_sha256,
            kept_in_float=list(keep_float),
        ),
        parity=[comparison.parity() for comparison in comparisons],
        training=training,
        tools={
            "python": platform.python_version(),
            "torch": torch.__version__,
            "onnx": onnx.__version__,
            "onnxruntime": onnxruntime.__version__,
        },
    )
    return manifest.model_dump(mode="json")


def require_parity(built: Built, limits: ParityLimits) -> None:
    """Raise `ParityError` when INT8 differs from FP32 by more than ``limits`` on any test set."""
    found = built.violations(limits)
    if found:
        raise ParityError(
            "the INT8 model differs too much from FP32; nothing was written:\n  "
            + "\n  ".join(found)
            + "\nUse more calibration pairs, or accept it knowingly with --max-flips and --max-rate-change."
        )
