"""Measure the contribution of each part of the network and of its training: ``python -m benchmarks.ablation``.

The program trains many small networks on a part of the shipped recipe's training set (sensor family A). It scores each
on family B of the shipped plan, whose people and cameras are in no training set. Each finished run is saved in
``ablation.json``, so the program can be stopped and started again. ``docs/ablation.md`` is written from that file.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from adsn.cli.train import DEFAULT_CACHE
from adsn.datasets.cache import CachedPairs, open_cache
from adsn.datasets.pairs import BONA_FIDE, Sample
from adsn.datasets.sections import AnySection, DataSection
from adsn.evaluation.evaluate import Scored, network_scorer, score_set
from adsn.evaluation.plan import DEFAULT_PLAN, read_plan
from adsn.metrics import threshold_for_bpcer
from adsn.training.recipe import Recipe, read_recipe
from adsn.training.train import Trainer
from runtime.imaging.crop import CropRule
from synthetic import SPECIES

ROOT = Path(__file__).resolve().parent.parent
RUNS = ROOT / "benchmarks" / "ablation.json"
PAGE = ROOT / "docs" / "ablation.md"
STALE = (
    "**These figures are of an earlier recipe.** Its crops showed 1.4 times the face's box, and only bona fide faces",
    "wore attributes such as glasses. It used milder augmentation, no mismatched pairs and no teacher. The shipped",
    "weights come from a later recipe, whose parts have not been compared yet.",
    "",
)
"""Note that is shown on the page until the runs are repeated."""
RECIPE = ROOT / "adsn" / "recipes" / "rgb-ir.toml"
SEEDS = (1, 2)
FACES, EACH = 2400, 280
EPOCHS, WIDTH, BATCH = 4, 16, 32
MAX_BPCER = 0.01


class PairSubset:
    """Selected samples of a rendered set, in memory. ``blind``: modality whose images are replaced by zeros."""

    def __init__(self, whole: CachedPairs, chosen: NDArray[np.int64], blind: str = "") -> None:
        self._whole, self._chosen, self._blind = whole, chosen, blind
        self.arrays: dict[str, NDArray[Any]] = {
            m: np.zeros_like(a[chosen]) if m == blind else a[chosen] for m, a in whole.arrays.items() if m != "depth"
        }
        self.name = whole.name

    def __len__(self) -> int:
        return len(self._chosen)

    def __getitem__(self, index: int) -> Sample:
        sample = self._whole[int(self._chosen[index])]
        crops = {m: a[index] for m, a in self.arrays.items()}
        return Sample(
            crops, sample.label, sample.species, sample.subject, sample.presentation, sample.sensor, sample.conditions
        )

    def labels(self) -> NDArray[np.int64]:
        """Return the labels, int64 [len]: 1 bona fide, 0 attack."""
        return self._whole.labels()[self._chosen]

    def species(self) -> list[str]:
        """Return the species of every pair."""
        kinds = self._whole.species()
        return [kinds[i] for i in self._chosen]

    def rows(self) -> list[dict[str, Any]]:
        """Return every pair without its images."""
        rows = self._whole.rows()
        return [rows[i] for i in self._chosen]

    def digest(self) -> str:
        """Return the digest of the whole set. The selection is determined by this module."""
        return self._whole.digest()


@dataclass(frozen=True, slots=True)
class Variant:
    """One row of a table: a change from the baseline."""

    name: str
    table: str
    network: Mapping[str, Any] = field(default_factory=dict)
    loss: Mapping[str, Any] = field(default_factory=dict)
    augment: Mapping[str, Any] = field(default_factory=dict)
    without: str = ""
    shapes: str = ""
    blind: str = ""


BASE = Variant("base: 4 maps, split after layer 3, all terms, both streams", "parts")
VARIANTS = [
    BASE,
    Variant("1 map", "parts", network={"maps": 1}),
    Variant("2 maps", "parts", network={"maps": 2}),
    Variant("8 maps", "parts", network={"maps": 8}),
    Variant("maps drawn from layer 2", "parts", network={"maps_from": 2}),
    Variant("no stream terms", "parts", loss={"stream": 0.0}),
    Variant("no centre term", "parts", loss={"centre": 0.0}),
    Variant("no overlap term", "parts", loss={"overlap": 0.0}),
    Variant("cross-entropy alone", "parts", loss={"stream": 0.0, "centre": 0.0, "overlap": 0.0}),
    Variant("no modality dropout", "parts", augment={"drop": 0.0}),
    Variant("colour alone", "parts", augment={"drop": 0.0, "copy_grey": 0.0}, blind="ir"),
    Variant("infrared alone", "parts", augment={"drop": 0.0, "copy_grey": 0.0}, blind="rgb"),
    Variant("analytic shapes alone", "shapes", shapes="analytic"),
    Variant("scan-derived shapes alone", "shapes", shapes="scan"),
    *(Variant(species, "left out", without=species) for species in SPECIES[1:]),
]


def chosen_of(pairs: CachedPairs, variant: Variant, faces: int, each: int) -> NDArray[np.int64]:
    """Return the indices of the pairs on which a variant is trained.

    ``faces``: number of bona fide pairs. ``each``: number of pairs of each attack species. The first ones are used.
    """
    taken: dict[str, int] = {}
    chosen = []
    kinds = pairs.species()
    for index, kind in enumerate(kinds):
        if kind == variant.without:
            continue
        if variant.shapes and bool(pairs[index].conditions["scan_derived"]) != (variant.shapes == "scan"):
            continue
        if taken.get(kind, 0) < (faces if kind == BONA_FIDE else each):
            taken[kind] = taken.get(kind, 0) + 1
            chosen.append(index)
    return np.array(chosen)


def recipe_of(shipped: Recipe, variant: Variant, seed: int) -> Recipe:
    """Return the shipped recipe with a narrower network, shorter training and the change of the variant."""
    network = shipped.network.model_copy(update={"width": WIDTH, **variant.network})
    train = shipped.train.model_copy(update={"seed": seed, "epochs": EPOCHS, "batch": BATCH})
    loss = shipped.loss.model_copy(update=dict(variant.loss))
    augment = shipped.augment.model_copy(update=dict(variant.augment))
    changed = {"network": network, "train": train, "loss": loss, "augment": augment, "name": "ablation"}
    return shipped.model_copy(update=changed)


def figures(test: Scored, threshold: float) -> dict[str, Any]:
    """Return the table entries of a scored test set."""
    report = test.report(threshold)
    worst, rate = report.worst
    apcer = {kind: rate.value for kind, rate in report.apcer.items()}
    dark = test.parts().get("RGB mean below 10/255")
    return {
        "auc": test.auc(),
        "apcer": apcer,
        "apcer_mean": statistics.fmean(apcer.values()),
        "apcer_worst": rate.value,
        "worst": worst,
        "bpcer": report.bpcer.value,
        "auc_dark": dark.auc() if dark else None,
    }


def run_once(
    variant: Variant, seed: int, shipped: Recipe, train: CachedPairs, dev: CachedPairs, test: CachedPairs
) -> dict[str, Any]:
    """Train and score one variant with one seed."""
    began = time.monotonic()
    recipe = recipe_of(shipped, variant, seed)
    parts = PairSubset(train, chosen_of(train, variant, FACES, EACH), variant.blind)
    # A variant that is trained without a species must not use that species to choose the threshold either.
    dev_part = PairSubset(dev, chosen_of(dev, variant, 10**6, 10**6), variant.blind)
    with tempfile.TemporaryDirectory() as folder:
        # This set is scored after every epoch, but the scores have no effect, so a part of it is enough.
        watched = PairSubset(dev, chosen_of(dev, variant, 100, 10), variant.blind)
        trainer = Trainer(recipe, parts, watched, Path(folder))
        trainer.run()
    network = trainer.network.eval()
    scorer = network_scorer(network)
    scored_dev = score_set(scorer, dev_part, trainer.modalities, batch=64)
    values, kinds = scored_dev.presentations_of()
    threshold = threshold_for_bpcer(values[np.array(kinds) == BONA_FIDE], MAX_BPCER)
    scored = score_set(scorer, PairSubset(test, np.arange(len(test)), variant.blind), trainer.modalities, batch=64)
    result = {
        "variant": variant.name,
        "seed": seed,
        "pairs": len(parts),
        "tested": len(scored.scores),
        **figures(scored, threshold),
    }
    scan = np.array([c["scan_derived"] > 0 for c in scored.conditions])
    result["on scan"] = figures(scored.part("scan", scan), threshold)
    result["on analytic"] = figures(scored.part("analytic", ~scan), threshold)
    result["seconds"] = round(time.monotonic() - began, 1)
    return result


def percent(values: list[float]) -> str:
    """Return the rates with both seeds as percentages."""
    return " / ".join(f"{100 * v:.1f}" for v in values)


def table(header: list[str], rows: list[list[str]]) -> Iterator[str]:
    """Return a Markdown table."""
    yield "| " + " | ".join(header) + " |"
    yield "|" + " --- |" * len(header)
    yield from ("| " + " | ".join(row) + " |" for row in rows)


class Results:
    """The runs of all variants."""

    def __init__(self, runs: list[dict[str, Any]]) -> None:
        self.runs = runs
        self.variants = [v for v in VARIANTS if self.of(v.name, lambda r: 0.0)]

    def of(self, variant: str, get: Callable[[dict[str, Any]], float]) -> list[float]:
        """Return a figure of each run of ``variant``, by seed."""
        return [get(r) for r in sorted(self.runs, key=lambda r: int(r["seed"])) if r["variant"] == variant]


def _at(outer: str, inner: str) -> Callable[[dict[str, Any]], float]:
    """Return a function that reads one figure from a section of a run."""
    return lambda run: float(run[outer][inner])


def page(runs: list[dict[str, Any]]) -> str:
    """Return docs/ablation.md."""
    results = Results(runs)
    lines = [
        "# Contribution of each part",
        "",
        "This page shows how much each part of the network and of its training contributes to the error rates. The",
        "command `python -m benchmarks.ablation` makes it.",
        "",
        *STALE,
        "Every network here is small and trained briefly, so that many can be compared: width "
        f"{WIDTH}, {EPOCHS} epochs,",
        f"batches of {BATCH}. The training data are the first {FACES} bona fide presentations and the first {EACH} of",
        "each species in the shipped recipe's training set (sensor family A, both sources of face shape). The",
        "threshold is set on family A's development people for BPCER ≤ 1 %. All figures are measured on family B,",
        f"which has other people and other cameras ({runs[0]['tested']} presentations).",
        "",
        f"Each cell has two figures, one for each random seed ({' and '.join(map(str, SEEDS))}). If a line differs",
        "from the base by less than its two figures differ from each other, the difference means nothing. The shipped",
        "weights are four times as large and trained on much more data. Their figures are in the model card.",
        "",
        "## Parts of network and training",
        "",
    ]
    lines += [*_parts(results), *_left_out(results), *_shapes(results)]
    return "\n".join(lines) + "\n"


def _auc(values: list[float]) -> str:
    return " / ".join(f"{v:.4f}" for v in values)


def _parts(results: Results) -> list[str]:
    of = results.of
    rows = []
    for v in results.variants:
        if v.table == "parts":
            worst = sorted({str(r["worst"]) for r in results.runs if r["variant"] == v.name})
            rows.append(
                [
                    v.name,
                    _auc(of(v.name, lambda r: r["auc"])),
                    percent(of(v.name, lambda r: r["apcer_mean"])),
                    percent(of(v.name, lambda r: r["apcer_worst"])) + f" ({', '.join(worst)})",
                    percent(of(v.name, lambda r: r["bpcer"])),
                    _auc(of(v.name, lambda r: r["auc_dark"])),
                ]
            )
    return list(
        table(
            [
                "variant",
                "AUC",
                "APCER, mean of species, %",
                "APCER, worst species, %",
                "BPCER, %",
                "AUC where RGB mean < 10/255",
            ],
            rows,
        )
    )


def _left_out(results: Results) -> list[str]:
    of = results.of
    lines = ["", "## A species nobody trained on", ""]
    lines += [
        "*Left out*: the network was trained, and its threshold set, without the species, and then tested on it.",
        "*Trained on*: the base. The APCER of the species left out is what to expect of an unforeseen attack.",
        "",
    ]
    left = [
        [
            v.name,
            percent(of(v.name, _at("apcer", v.name))),
            percent(of(BASE.name, _at("apcer", v.name))),
            percent(of(v.name, lambda r: r["bpcer"])),
        ]
        for v in results.variants
        if v.table == "left out"
    ]
    return lines + list(table(["species", "APCER left out, %", "APCER trained on, %", "BPCER left out, %"], left))


def _shapes(results: Results) -> list[str]:
    of = results.of
    lines = ["", "## One source of face shape, tested on the other", ""]
    shapes = [
        [
            v.name if v is not BASE else "both",
            *(
                cell
                for part in ("on analytic", "on scan")
                for cell in (
                    _auc(of(v.name, _at(part, "auc"))),
                    percent(of(v.name, _at(part, "apcer_mean"))),
                    percent(of(v.name, _at(part, "bpcer"))),
                )
            ),
        ]
        for v in results.variants
        if v.table == "shapes" or v is BASE
    ]
    return lines + list(
        table(
            [
                "trained on",
                "analytic: AUC",
                "mean APCER, %",
                "BPCER, %",
                "scan-derived: AUC",
                "mean APCER, %",
                "BPCER, %",
            ],
            shapes,
        )
    )


def _rendered(name: str, section: AnySection, rule: CropRule, cache: Path) -> CachedPairs:
    assert isinstance(section, DataSection), f"the shipped plan's {name} is rendered"
    return open_cache(section.spec(name, rule), cache)


def main() -> None:
    """Run the missing variants and write the page."""
    torch.set_num_threads(1)
    shipped, plan = read_recipe(RECIPE), read_plan(DEFAULT_PLAN)
    sections = {"dev": plan.dev[0], "family-B": plan.test["family-B"]}
    cache = ROOT / ".cache" / "rendered" if (ROOT / ".cache" / "rendered").exists() else DEFAULT_CACHE
    train = open_cache(shipped.spec("train"), cache)
    dev, test = (_rendered(name, section, shipped.rule(), cache) for name, section in sections.items())
    runs: list[dict[str, Any]] = json.loads(RUNS.read_text()) if RUNS.exists() else []
    for variant in VARIANTS:
        for seed in SEEDS:
            if any(r["variant"] == variant.name and r["seed"] == seed for r in runs):
                continue
            runs.append(run_once(variant, seed, shipped, train, dev, test))
            r = runs[-1]
            worst = f"worst {r['worst']} {r['apcer_worst']:.3f}, BPCER {r['bpcer']:.3f}"
            print(f"{variant.name}, seed {seed}: AUC {r['auc']:.4f}, {worst}, {r['seconds']} s", flush=True)
            RUNS.write_text(json.dumps(runs, indent=1) + "\n")
            PAGE.write_text(page(runs))
    PAGE.write_text(page(runs))


if __name__ == "__main__":
    main()
