"""The export from a checkpoint to a bundle, step by step. Pure of terminals: progress goes through callbacks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adsn.datasets.cache import open_cache
from adsn.datasets.pairs import PairDataset
from adsn.datasets.sections import DataSection, ListedSection
from adsn.evaluation.evaluate import Scored, Scorer, batch_of, engine_scorer, score_set
from adsn.evaluation.plan import DataPlan
from adsn.network.checkpoint import crop_rule, load_checkpoint
from calib.ranges import Method, Ranges, measure_ranges, stratified
from calib.threshold import operating_point
from export.errors import ExportError
from export.graph import check_against_torch, session, to_onnx
from export.lint import Target, lint
from export.manifest import golden_vectors, manifest_of, source_of
from export.parity import Comparison, ParityLimits, violations
from export.quantize import quantize_for_cpu, tensors_to_measure
from export.sensitivity import LayerCost, fewest_kept, sensitivity
from export.tensorrt_graph import as_float_inputs, quantize_for_tensorrt, strongly_typed
from runtime.bundle.manifest import Artifact, OperatingPointEntry
from runtime.engines.onnx import OnnxCpuEngine

CALIBRATION_BATCH = 16
SENSITIVITY_PAIRS = 64
SERVED_BY: dict[Artifact, tuple[Target, ...]] = {"int8-cpu": (), "int8-trt": ("8.6", "10"), "int8-trt11": ("11",)}
"""Which TensorRT generations an artifact is for; it must pass the lint of each."""


@dataclass(frozen=True, slots=True)
class Options:
    """What a person may choose. ``artifacts`` beside ``int8-cpu``, which every bundle holds; ``samples`` to calibrate
    on, drawn evenly from each species with ``seed``; ``min_samples`` below which ranges are not to be trusted."""

    artifacts: tuple[Artifact, ...] = ("int8-cpu",)
    method: Method = "percentile"
    samples: int = 512
    min_samples: int = 128
    seed: int = 0
    keep_float: tuple[str, ...] = ()
    auto_keep: bool = False
    sensitivity: bool = False
    limits: ParityLimits = field(default_factory=ParityLimits)
    ranges: Ranges | None = None
    """Ranges measured before, and perhaps reviewed; None: measured now."""


@dataclass(frozen=True, slots=True)
class Built:
    """Everything a bundle is written from, and what was measured on the way."""

    files: dict[str, bytes]
    manifest: dict[str, Any]
    comparisons: list[Comparison]
    point: OperatingPointEntry
    torch_difference: float
    kept: list[str]
    costs: list[LayerCost]


class Step:
    """Progress of one step: ``start(name, total)`` once, ``tick(n)`` as samples finish."""

    def start(self, name: str, total: int) -> None: ...
    def tick(self, count: int) -> None: ...


class Chosen:
    """Some samples of a set, in its order, as a set of their own to read from."""

    def __init__(self, pairs: PairDataset, indices: Sequence[int], modalities: tuple[str, str], step: Step) -> None:
        self.pairs, self.indices, self.modalities, self.step = pairs, list(indices), modalities, step

    def batches(self) -> Iterator[dict[str, NDArray[Any]]]:
        """The samples in batches, anew at each call."""
        for start in range(0, len(self.indices), CALIBRATION_BATCH):
            part = [self.pairs[i] for i in self.indices[start : start + CALIBRATION_BATCH]]
            yield {m: np.stack([sample.crops[m] for sample in part]) for m in self.modalities}
            self.step.tick(len(part))

    def first(self, count: int) -> dict[str, NDArray[Any]]:
        """Up to ``count`` of the samples, spread over all of them, as one batch."""
        spread = np.unique(np.linspace(0, len(self.indices) - 1, min(count, len(self.indices))).astype(int))
        part = [self.pairs[self.indices[i]] for i in spread]
        return {m: np.stack([sample.crops[m] for sample in part]) for m in self.modalities}


def literal_scorer(model: bytes, *, float_inputs: bool) -> Scorer:
    """Scores with every Q/DQ computed as it is written, whatever this processor's kernels would do."""
    literal = session(model, literal=True)

    def score(batch: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        inputs = as_float_inputs(batch) if float_inputs else dict(batch)
        fused, streams = literal.run(["score", "stream_scores"], inputs)
        result: NDArray[np.float32] = np.concatenate([fused[:, None], streams], 1)
        return result

    return score


def quantised(
    fp32: bytes, ranges: Ranges, artifacts: Sequence[Artifact], keep_float: Sequence[str]
) -> dict[Artifact, bytes]:
    """The artifacts, each past the lint of the TensorRT generations it is for.

    Raises:
        ExportError: a graph would not be read as it is meant; names node and rule.
    """
    models: dict[Artifact, bytes] = {"int8-cpu": quantize_for_cpu(fp32, ranges, keep_float)}
    if set(artifacts) & {"int8-trt", "int8-trt11"}:
        models["int8-trt"] = quantize_for_tensorrt(fp32, ranges, keep_float)
    if "int8-trt11" in artifacts:
        models["int8-trt11"] = strongly_typed(models["int8-trt"])
    models = {name: model for name, model in models.items() if name in artifacts or name == "int8-cpu"}
    for name, model in models.items():
        for target in SERVED_BY[name]:
            findings = lint(model, target)
            if findings:
                lines = "\n  ".join(map(str, findings[:8]))
                raise ExportError(f"{name} is not safe on TensorRT {target}; nothing was written:\n  {lines}")
    return models


class _Gate:
    """Scores of FP32, measured once, and of what is held against them."""

    def __init__(self, fp32: bytes, tests: list[PairDataset], modalities: tuple[str, str], step: Step) -> None:
        self.tests, self.modalities, self.step = tests, modalities, step
        engine = OnnxCpuEngine(fp32, "fp32")
        self.fp32 = [self.score("FP32", engine_scorer(engine), test) for test in tests]

    def score(self, words: str, scorer: Scorer, pairs: PairDataset) -> Scored:
        self.step.start(f"{words} on {pairs.name}", len(pairs))
        return score_set(scorer, pairs, self.modalities, tick=self.step.tick)

    def served(self, model: bytes, threshold: float) -> list[Comparison]:
        scorer = engine_scorer(OnnxCpuEngine(model, "int8"))
        return [
            Comparison(a, self.score("int8-cpu", scorer, test), threshold)
            for a, test in zip(self.fp32, self.tests, strict=True)
        ]

    def literal(self, artifact: Artifact, model: bytes, threshold: float) -> list[Comparison]:
        scorer = literal_scorer(model, float_inputs=artifact != "int8-cpu")
        return [
            Comparison(a, self.score(f"{artifact}, literally", scorer, test), threshold, artifact, "literal")
            for a, test in zip(self.fp32, self.tests, strict=True)
        ]


def build(
    checkpoint: Path, plan: DataPlan, cache: Path, options: Options, *, workers: int, step: Step, version: str
) -> Built:
    """Run every step of an INT8 export and measure it; writes nothing.

    Raises:
        CheckpointError: the checkpoint cannot be used. CalibrationError: the samples cannot give ranges.
        ExportError: a step failed; says which and why.
    """
    network, training = load_checkpoint(checkpoint)
    modalities, rule = network.config.modalities, crop_rule(network.config, training)
    step.start("ONNX", 1)
    fp32 = to_onnx(network)
    step.tick(1)

    def opened(name: str, section: DataSection | ListedSection) -> PairDataset:
        if isinstance(section, ListedSection):
            return section.open(modalities, rule)
        spec = plan.spec(name, section, rule)
        step.start(f"render {name}", sum((spec.bona_fide, len(spec.species) * spec.per_attack)) * spec.frames)
        return open_cache(spec, cache, workers=workers, tick=step.tick)

    calibration, dev = opened("calibration", plan.calibration), opened("dev", plan.dev)
    tests = [opened(name, section) for name, section in plan.test.items()]

    sample, _ = batch_of(tests[0], 0, CALIBRATION_BATCH, modalities)
    difference = check_against_torch(network, fp32, sample)

    ranges, chosen = calibrated(fp32, calibration, modalities, options, step)
    costs: list[LayerCost] = []
    if options.sensitivity or options.auto_keep:
        costs = _costs(fp32, ranges, chosen, step)

    gate = _Gate(fp32, tests, modalities, step)
    # The threshold is fixed on dev before any test set is scored, and for the model that ships.
    kept = list(options.keep_float)
    first = quantised(fp32, ranges, ("int8-cpu",), kept)["int8-cpu"]

    def point_of(model: bytes) -> OperatingPointEntry:
        values, species = gate.score("int8-cpu", engine_scorer(OnnxCpuEngine(model, "int8")), dev).presentations_of()
        return operating_point(values, species, measured_on=f"{dev.name} ({source_of(plan.dev)}), INT8")

    point = point_of(first)
    if options.auto_keep:
        kept = _auto_keep(gate, fp32, ranges, point.threshold, costs, options)
        point = point_of(quantised(fp32, ranges, ("int8-cpu",), kept)["int8-cpu"])
    models = quantised(fp32, ranges, options.artifacts, kept)
    comparisons = gate.served(models["int8-cpu"], point.threshold)
    for name, model in models.items():
        comparisons += gate.literal(name, model, point.threshold)

    scorers: dict[str, Scorer] = {
        "fp32": engine_scorer(OnnxCpuEngine(fp32, "fp32")),
        "int8": engine_scorer(OnnxCpuEngine(models["int8-cpu"], "int8")),
    }
    scorers |= {str(n): literal_scorer(m, float_inputs=True) for n, m in models.items() if n != "int8-cpu"}
    files = {
        "checkpoint.safetensors": checkpoint.read_bytes(),
        "model.onnx": fp32,
        **{f"model.{name}.onnx": model for name, model in models.items()},
        "ranges.json": ranges.to_json(),
        "golden.npz": golden_vectors(tests[0], modalities, scorers, gate.fp32[0].scores[:, 0]).to_bytes(),
    }
    manifest = manifest_of(network, training, version, point, ranges, options.seed, comparisons, kept, plan)
    return Built(files, manifest, comparisons, point, difference, kept, costs)


def calibrated(
    fp32: bytes, pairs: PairDataset, modalities: tuple[str, str], options: Options, step: Step
) -> tuple[Ranges, Chosen]:
    """Activation ranges of ``pairs``, or those that ``options`` give; and the samples they come from.

    Raises:
        ExportError: fewer samples than ``options.min_samples``. CalibrationError: see `measure_ranges`.
    """
    species = pairs.species()
    chosen = Chosen(pairs, stratified(species, options.samples, options.seed), modalities, step)
    if len(chosen.indices) < options.min_samples:
        raise ExportError(
            f"{pairs.name}: {len(chosen.indices)} calibration pairs; ranges from fewer than {options.min_samples} "
            "change from draw to draw. Name a larger set with --calib, raise --samples, or lower --min-samples "
            "knowingly."
        )
    if options.ranges is not None:
        return options.ranges, chosen
    step.start(f"ranges ({options.method})", len(chosen.indices) * (1 if options.method == "minmax" else 2))
    names = tensors_to_measure(fp32)
    counts = Counter(species[i] for i in chosen.indices)
    return measure_ranges(fp32, names, chosen.batches, pairs.name, method=options.method, species=counts), chosen


def _costs(fp32: bytes, ranges: Ranges, chosen: Chosen, step: Step) -> list[LayerCost]:
    from export.sensitivity import layers

    step.start("sensitivity, layer by layer", len(layers(fp32)))
    return sensitivity(fp32, ranges, chosen.first(SENSITIVITY_PAIRS), step.tick)


def _auto_keep(
    gate: _Gate, fp32: bytes, ranges: Ranges, threshold: float, costs: Sequence[LayerCost], options: Options
) -> list[str]:
    """The fewest layers, dearest first, that must stay in float for the gate to pass as served.

    Raises:
        ExportError: not even the most that may be kept are enough.
    """
    given = list(options.keep_float)
    order = [cost.layer for cost in costs if not cost.layer.startswith(tuple(given) or ("\0",))]

    def passes(kept: list[str]) -> bool:
        model = quantised(fp32, ranges, ("int8-cpu",), given + kept)["int8-cpu"]
        return not violations(gate.served(model, threshold), options.limits)

    kept = fewest_kept(order, passes)
    if kept is None:
        raise ExportError(
            "even with the dearest layers in float the INT8 model differs too much from FP32; nothing was written. Use "
            "more calibration pairs or another --method, or accept a larger change with --max-flips and "
            "--max-rate-change."
        )
    return given + kept
