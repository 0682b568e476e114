"""Create the manifest of a bundle, without its file list, and the golden vectors."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray

from adsn.datasets.pairs import PairDataset
from adsn.datasets.sections import AnySection, ListedSection
from adsn.evaluation.plan import DataPlan
from adsn.network.checkpoint import crop_rule
from adsn.network.model import ADSN, INPUT_CHANNELS
from calib.ranges import Ranges
from export.card import datasets_read
from export.parity import Comparison, ParityLimits
from runtime.bundle.manifest import Calibration, CropEntry, Manifest, OperatingPointEntry, TensorEntry
from runtime.engines.golden import GoldenVectors

GOLDEN_PAIRS = 12
NEAR_PAIRS = 8
"""Number of golden pairs with a score near 0.5, where the score reacts most to a changed activation. Scores near 0 or 1
would hide saturated arithmetic."""
SYNTHETIC = "Trained on synthetic faces only: to look, develop and test with, not to guard a door."
ON_DISK = "Trained on {train}, tested on {test}: what it does elsewhere nobody has measured."


def sources_of(sections: Iterable[AnySection]) -> str:
    """Return a few words on the origin of the sets, for the manifest."""
    words = {section.dataset if isinstance(section, ListedSection) else "synthetic" for section in sections}
    return " and ".join(sorted(words))


def summary_of(training: dict[str, Any], plan: DataPlan) -> str:
    """Return the summary of a bundle: the faces on which it was trained and those on which it was measured."""
    read = datasets_read(training)
    if not read:
        return SYNTHETIC
    return ON_DISK.format(train=" and ".join(read), test=sources_of(plan.test.values()))


def golden_vectors(
    pairs: PairDataset,
    modalities: tuple[str, str],
    scorers: Mapping[str, Callable[[Mapping[str, NDArray[Any]]], NDArray[np.float32]]],
    fp32: NDArray[np.float32],
) -> GoldenVectors:
    """Return golden vectors: a pair of each species, noise, and pairs with scores near 0.5.

    Noise causes activations that faces do not cause. ``fp32``: score of each pair by the float model. ``scorers``:
    precision to record, such as ``int8`` or ``int8-trt`` → function from crops to scores, float32 [N, 3].
    """
    chosen: list[dict[str, NDArray[Any]]] = []
    species_list = pairs.species()
    for species in dict.fromkeys(species_list):
        crops = pairs[species_list.index(species)].crops
        chosen.append({m: np.asarray(crops[m]) for m in modalities})
    rng = np.random.default_rng(0)
    while len(chosen) < GOLDEN_PAIRS:
        like = chosen[0]
        chosen.append({
            m: rng.integers(0, 256, a.shape, dtype=np.uint8) if a.dtype == np.uint8 else rng.uniform(300, 900, a.shape)
            .astype(np.float32)
            for m, a in like.items()
        })  # fmt: skip
    for index in np.argsort(np.abs(fp32 - 0.5), kind="stable")[:NEAR_PAIRS]:
        crops = pairs[int(index)].crops
        chosen.append({m: np.asarray(crops[m]) for m in modalities})
    inputs = {m: np.stack([pair[m] for pair in chosen]) for m in modalities}
    # Score the pairs one by one, so that the expected scores do not depend on how a batch is split among threads.
    scores = {
        name: np.concatenate([scorer({m: a[i : i + 1] for m, a in inputs.items()}) for i in range(len(chosen))])
        for name, scorer in scorers.items()
    }
    return GoldenVectors(inputs, scores)


def name_of(training: Mapping[str, Any], modalities: Sequence[str]) -> str:
    """Return the name of a bundle: the name of its training recipe or, if the recipe is unknown, its modalities.

    The name distinguishes models in responses, logs and model repositories.
    """
    return str(training["recipe"].get("name") or f"adsn-{'-'.join(modalities)}")


@dataclass(frozen=True, slots=True)
class Measured:
    """Measurements of an export.

    These are the operating point, the activation ranges and the ``seed`` of their samples, the comparisons with FP32,
    the nodes kept in float, and the limits of the parity gate.
    """

    point: OperatingPointEntry
    ranges: Ranges
    seed: int
    comparisons: Sequence[Comparison]
    kept: Sequence[str]
    limits: ParityLimits


def manifest_of(
    network: ADSN, training: dict[str, Any], plan: DataPlan, version: str, measured: Measured
) -> dict[str, Any]:
    """Return the manifest without its file list, which is created from the bytes when they are written."""
    ranges = measured.ranges
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
    rule = crop_rule(config, training)
    manifest = Manifest(
        schema_version=2,
        name=name_of(training, config.modalities),
        version=version,
        licence="Apache-2.0",
        summary=summary_of(training, plan),
        modalities=config.modalities,
        inputs=inputs,
        outputs=outputs,
        crop=CropEntry(size=rule.size, margin=rule.margin),
        files=[],
        operating_points=[measured.point],
        calibration=Calibration(
            method=ranges.method,
            samples=ranges.samples,
            data=ranges.data,
            data_sha256=ranges.data_sha256,
            species=dict(ranges.species),
            seed=measured.seed,
            kept_in_float=list(measured.kept),
        ),
        parity=[comparison.parity() for comparison in measured.comparisons],
        parity_limits={"flips": measured.limits.flips, "rate": measured.limits.rate},
        training=training,
        tools={
            "python": platform.python_version(),
            "torch": torch.__version__,
            "onnx": onnx.__version__,
            "onnxruntime": onnxruntime.__version__,
        },
    )
    return manifest.model_dump(mode="json")
