"""Export a checkpoint to a bundle, step by step. Nothing is printed; progress is reported through callbacks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adsn.datasets.base import require_both_classes
from adsn.datasets.cache import open_cache
from adsn.datasets.mixed import MixedPairs
from adsn.datasets.pairs import PairDataset
from adsn.datasets.sections import AnySection, ListedSection, PathTracedSection
from adsn.evaluation.evaluate import Scored, Scorer, batch_of, engine_scorer, score_set
from adsn.evaluation.mismatch import mismatches, with_mismatches
from adsn.evaluation.plan import DataPlan
from adsn.network.checkpoint import crop_rule, load_checkpoint
from calib.ranges import Method, Ranges, measure_ranges, stratified
from calib.threshold import operating_point
from export.errors import ExportError
from export.graph import check_against_torch, session, to_onnx
from export.lint import lint
from export.manifest import Measured, golden_vectors, manifest_of, sources_of
from export.parity import Comparison, ParityLimits, violations
from export.quantize import quantize_for_cpu, tensors_to_measure
from export.samples import CALIBRATION_BATCH, ProgressStep, SampleSubset
from export.sensitivity import LayerCost, fewest_kept, sensitivity
from export.tensorrt_graph import as_float_inputs, quantize_for_tensorrt, strongly_typed
from runtime.bundle.manifest import Int8Artifact, OperatingPointEntry
from runtime.engines.onnx import OnnxCpuEngine
from runtime.engines.tensorrt.versions import TensorRtGeneration
from runtime.imaging.crop import CropRule

SENSITIVITY_PAIRS = 64
SERVED_BY: dict[Int8Artifact, tuple[TensorRtGeneration, ...]] = {
    "int8-cpu": (),
    "int8-trt": ("8.6", "10"),
    "int8-trt11": ("11",),
}
"""Artifact → TensorRT generations that run it. The artifact must pass the lint rules of each of them."""


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """Options of an export.

    ``artifacts``: artifacts to create in addition to ``int8-cpu``, which every bundle contains. ``samples``: number of
    calibration samples, drawn evenly from all species with ``seed``. ``min_samples``: minimum number of calibration
    samples; with fewer, activation ranges are not reliable.
    """

    artifacts: tuple[Int8Artifact, ...] = ("int8-cpu",)
    method: Method = "percentile"
    samples: int = 512
    min_samples: int = 128
    seed: int = 0
    keep_float: tuple[str, ...] = ()
    auto_keep: bool = False
    sensitivity: bool = False
    limits: ParityLimits = field(default_factory=ParityLimits)
    ranges: Ranges | None = None
    """Activation ranges that were measured earlier, and perhaps reviewed by hand. None: measure them."""
    version: str = "0.1.0"
    """Version of the bundle."""


@dataclass(frozen=True, slots=True)
class ExportSource:
    """Inputs of an export: a checkpoint, the plan of the calibration and test data, the folder for rendered sets, and
    the number of rendering processes."""

    checkpoint: Path
    plan: DataPlan
    cache: Path
    workers: int = 1


@dataclass(frozen=True, slots=True)
class ExportResult:
    """Result of an export: the contents of the bundle, the measurements, and the test sets they were made on."""

    files: dict[str, bytes]
    manifest: dict[str, Any]
    comparisons: list[Comparison]
    point: OperatingPointEntry
    torch_difference: float
    kept: list[str]
    costs: list[LayerCost]
    tests: list[PairDataset]


def literal_scorer(model: bytes, *, float_inputs: bool) -> Scorer:
    """Return a scorer that computes every Q/DQ step by step, independently of the kernels of this CPU."""
    literal = session(model, literal=True)

    def score(batch: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        inputs = as_float_inputs(batch) if float_inputs else dict(batch)
        fused, streams = literal.run(["score", "stream_scores"], inputs)
        result: NDArray[np.float32] = np.concatenate([fused[:, None], streams], 1)
        return result

    return score


def quantised(
    fp32: bytes, ranges: Ranges, artifacts: Sequence[Int8Artifact], keep_float: Sequence[str]
) -> dict[Int8Artifact, bytes]:
    """Quantise an FP32 model. Return the artifacts, each of which has passed the lint rules of its TensorRT
    generations.

    Raises:
        ExportError: TensorRT would reject or misread a graph. The message names the node and the rule.
    """
    models: dict[Int8Artifact, bytes] = {"int8-cpu": quantize_for_cpu(fp32, ranges, keep_float)}
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


@dataclass(frozen=True, slots=True)
class _Sets:
    """The data sets of a plan, each opened once."""

    calibration: PairDataset
    dev: list[PairDataset]
    tests: list[PairDataset]


def _open_sets(source: ExportSource, modalities: tuple[str, str], rule: CropRule, step: ProgressStep) -> _Sets:
    """Open the data sets of the plan. Render those that are missing.

    Raises:
        DatasetError: a set cannot be read, or a set used for thresholds or rates lacks a class.
    """
    plan = source.plan

    def opened(name: str, section: AnySection) -> PairDataset:
        if isinstance(section, PathTracedSection):
            return section.open(name, rule)
        if isinstance(section, ListedSection):
            return section.open(modalities, rule)
        spec = section.spec(name, rule)
        step.start(f"render {name}", sum((spec.bona_fide, len(spec.species) * spec.per_attack)) * spec.frames)
        return open_cache(spec, source.cache, workers=source.workers, tick=step.tick)

    def each(name: str, sections: tuple[AnySection, ...]) -> list[PairDataset]:
        return [opened(f"{name}-{k + 1}" if k else name, section) for k, section in enumerate(sections)]

    calibration = each("calibration", plan.calibration)
    sets = _Sets(
        calibration[0] if len(calibration) == 1 else MixedPairs("calibration", calibration),
        each("dev", plan.dev),
        [opened(name, section) for name, section in plan.test.items()],
    )
    for pairs in (*sets.dev, *sets.tests):
        require_both_classes(pairs)
    return sets


class _ParityGate:
    """Comparisons of INT8 models with FP32, whose scores are computed once. ``scorer``: scorer of the FP32 model."""

    def __init__(self, fp32: bytes, tests: list[PairDataset], modalities: tuple[str, str], step: ProgressStep) -> None:
        self.tests, self.modalities, self.step = tests, modalities, step
        self.scorer = engine_scorer(OnnxCpuEngine(fp32, "fp32"))
        self.fp32 = [self.tested("FP32", self.scorer, test) for test in tests]

    def score(self, words: str, scorer: Scorer, pairs: PairDataset) -> Scored:
        """Score a set, with a progress step named ``words``."""
        self.step.start(f"{words} on {pairs.name}", len(pairs))
        return score_set(scorer, pairs, self.modalities, tick=self.step.tick)

    def tested(self, words: str, scorer: Scorer, pairs: PairDataset) -> Scored:
        """Score a test set and its mismatched pairs, which count as a separate species."""
        scored = self.score(words, scorer, pairs)
        self.step.start(f"{words} on mismatched pairs of {pairs.name}", len(mismatches(scored)))
        return with_mismatches(scorer, pairs, scored, self.modalities, tick=self.step.tick)

    def point(self, scorer: Scorer, dev: list[PairDataset], source: str, max_bpcer: float) -> OperatingPointEntry:
        """Return the operating point of the INT8 model, set on the development sets."""
        scored = [(pairs.name, *self.score("int8-cpu", scorer, pairs).presentations_of()) for pairs in dev]
        return operating_point(
            np.concatenate([values for _, values, _ in scored]),
            [name for _, _, species in scored for name in species],
            measured_on=f"{' and '.join(name for name, _, _ in scored)} ({source}), INT8",
            max_bpcer=max_bpcer,
            sources=[name for name, values, _ in scored for _ in values],
        )

    def served(self, scorer: Scorer, threshold: float) -> list[Comparison]:
        """Compare the served INT8 model with FP32 on each test set."""
        return [
            Comparison(a, self.tested("int8-cpu", scorer, test), threshold)
            for a, test in zip(self.fp32, self.tests, strict=True)
        ]

    def literal(self, artifact: Int8Artifact, scorer: Scorer, threshold: float) -> list[Comparison]:
        """Compare an artifact with FP32 on each test set, with every Q/DQ computed step by step."""
        return [
            Comparison(a, self.tested(f"{artifact}, literally", scorer, test), threshold, artifact, "literal")
            for a, test in zip(self.fp32, self.tests, strict=True)
        ]


@dataclass(frozen=True, slots=True)
class _Settled:
    """Settings of the INT8 model for the bundle: nodes kept in float, scorer of its engine, and operating point."""

    kept: list[str]
    scorer: Scorer
    point: OperatingPointEntry


Quantise = Callable[[Sequence[Int8Artifact], Sequence[str]], dict[Int8Artifact, bytes]]
"""Function that returns the models for given artifacts and nodes to keep in float; see `quantised`."""


def _settle(
    gate: _ParityGate,
    dev: list[PairDataset],
    source: str,
    max_bpcer: float,
    quantise: Quantise,
    costs: Sequence[LayerCost],
    options: ExportOptions,
) -> _Settled:
    """Choose the layers to keep in float, and set the threshold of the INT8 model.

    The threshold comes from ``dev`` alone. The test sets are used for nothing but the choice of layers. ``source``: a
    few words on the origin of ``dev``. ``max_bpcer``: see `DataPlan`.
    """

    def started(kept: Sequence[str]) -> Scorer:
        return engine_scorer(OnnxCpuEngine(quantise(("int8-cpu",), kept)["int8-cpu"], "int8"))

    kept = list(options.keep_float)
    scorer = started(kept)
    point = gate.point(scorer, dev, source, max_bpcer)
    if options.auto_keep:
        kept = _auto_keep(gate, started, point.threshold, costs, options)
        scorer = started(kept)
        point = gate.point(scorer, dev, source, max_bpcer)
    return _Settled(kept, scorer, point)


def build(source: ExportSource, options: ExportOptions, step: ProgressStep | None = None) -> ExportResult:
    """Run every step of an INT8 export and measure the resulting models. Nothing is written to disk.

    Raises:
        CheckpointError: the checkpoint cannot be used. CalibrationError: the samples give no ranges.
        DatasetError: a set cannot be used. ExportError: a step failed. The message gives the step and the reason.
    """
    step = step or ProgressStep()
    network, training = load_checkpoint(source.checkpoint)
    modalities, rule = network.config.modalities, crop_rule(network.config, training)
    step.start("ONNX", 1)
    fp32 = to_onnx(network)
    step.tick(1)
    sets = _open_sets(source, modalities, rule, step)
    sample, _ = batch_of(sets.tests[0], 0, CALIBRATION_BATCH, modalities)
    difference = check_against_torch(network, fp32, sample)
    ranges, chosen = calibrated(fp32, sets.calibration, modalities, options, step)
    costs = _costs(fp32, ranges, chosen, step) if options.sensitivity or options.auto_keep else []
    gate = _ParityGate(fp32, sets.tests, modalities, step)
    quantise = partial(quantised, fp32, ranges)
    settled = _settle(gate, sets.dev, sources_of(source.plan.dev), source.plan.max_bpcer, quantise, costs, options)
    models = quantise(options.artifacts, settled.kept)
    literal = {name: literal_scorer(model, float_inputs=name != "int8-cpu") for name, model in models.items()}
    comparisons = gate.served(settled.scorer, settled.point.threshold)
    for name, scorer in literal.items():
        comparisons += gate.literal(name, scorer, settled.point.threshold)
    scorers = {"fp32": gate.scorer, "int8": settled.scorer}
    scorers |= {str(name): scorer for name, scorer in literal.items() if name != "int8-cpu"}
    fused = gate.fp32[0].scores[: len(sets.tests[0]), 0]
    files = {
        "checkpoint.safetensors": source.checkpoint.read_bytes(),
        "model.onnx": fp32,
        **{f"model.{name}.onnx": model for name, model in models.items()},
        "ranges.json": ranges.to_json(),
        "golden.npz": golden_vectors(sets.tests[0], modalities, scorers, fused).to_bytes(),
    }
    measured = Measured(settled.point, ranges, options.seed, comparisons, settled.kept, options.limits)
    manifest = manifest_of(network, training, source.plan, options.version, measured)
    return ExportResult(files, manifest, comparisons, settled.point, difference, settled.kept, costs, sets.tests)


def calibrated(
    fp32: bytes, pairs: PairDataset, modalities: tuple[str, str], options: ExportOptions, step: ProgressStep
) -> tuple[Ranges, SampleSubset]:
    """Return activation ranges and the calibration samples chosen from ``pairs``.

    The ranges are measured on these samples. If ``options`` has ranges, those are returned instead, whatever samples
    they were measured on.

    Raises:
        ExportError: there are fewer samples than ``options.min_samples``. CalibrationError: see `measure_ranges`.
    """
    species = pairs.species()
    chosen = SampleSubset(pairs, stratified(species, options.samples, options.seed), modalities, step)
    if len(chosen.indices) < options.min_samples:
        raise ExportError(_too_few(pairs.name, len(species), options))
    if options.ranges is not None:
        return options.ranges, chosen
    step.start(f"ranges ({options.method})", len(chosen.indices) * (1 if options.method == "minmax" else 2))
    names = tensors_to_measure(fp32)
    counts = Counter(species[i] for i in chosen.indices)
    return measure_ranges(fp32, names, chosen.batches, pairs.name, method=options.method, species=counts), chosen


def _too_few(name: str, pairs: int, options: ExportOptions) -> str:
    """Return the message for a calibration set of ``pairs`` pairs that gives fewer samples than ``options`` require."""
    wanted = options.min_samples
    given = min(pairs, options.samples)
    # Name only the option that helps: a higher --samples does not if the set has fewer pairs.
    more = (
        f"Draw more: --samples {wanted}."
        if pairs >= wanted
        else "Record more, or name a larger set as [calibration] in the plan (--calib)."
    )
    return (
        f"{name}: {given} calibration pairs; ranges from fewer than {wanted} change from draw to draw. {more} To "
        f"accept fewer all the same, pass --min-samples {given}."
    )


def _costs(fp32: bytes, ranges: Ranges, chosen: SampleSubset, step: ProgressStep) -> list[LayerCost]:
    from export.sensitivity import layers

    step.start("sensitivity, layer by layer", len(layers(fp32)))
    return sensitivity(fp32, ranges, chosen.first(SENSITIVITY_PAIRS), step.tick)


def _auto_keep(
    gate: _ParityGate,
    started: Callable[[Sequence[str]], Scorer],
    threshold: float,
    costs: Sequence[LayerCost],
    options: ExportOptions,
) -> list[str]:
    """Return the layers to keep in float: those in ``options.keep_float``, and as few others as the served model needs
    to pass the gate, most expensive first.

    ``started``: function that returns a scorer of the INT8 model for given nodes to keep in float.

    Raises:
        ExportError: the gate fails even with the maximum number of layers in float.
    """
    given = list(options.keep_float)
    order = [cost.layer for cost in costs if not cost.layer.startswith(tuple(given) or ("\0",))]

    def passes(kept: list[str]) -> bool:
        return not violations(gate.served(started(given + kept), threshold), options.limits)

    kept = fewest_kept(order, passes)
    if kept is None:
        raise ExportError(
            "even with the most expensive layers in float the INT8 model differs too much from FP32; nothing was "
            "written. Use more calibration pairs or another --method, or accept a larger change with --max-flips and "
            "--max-rate-change."
        )
    return given + kept
