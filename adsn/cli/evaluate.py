"""``adsn-eval``: score a bundle or a checkpoint on data sets and report ISO/IEC 30107-3 figures."""

from __future__ import annotations

import json
import math
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import typer
from rich.console import Console
from rich.progress import Progress, TaskID
from rich.table import Table

from adsn.cli.folders import require_writable_file, require_writable_folder
from adsn.cli.train import DEFAULT_CACHE, Threads, bars, open_plan, open_section
from adsn.metrics import Report
from runtime.cli.command import Version, command, run
from runtime.core.errors import ConfigError

if TYPE_CHECKING:
    from adsn.datasets.pairs import PairDataset
    from adsn.datasets.sections import AnySection
    from adsn.evaluation.attention import AttentionFunction
    from adsn.evaluation.counterfactual import Effect
    from adsn.evaluation.evaluate import Scored, Scorer
    from adsn.evaluation.plan import DataPlan
    from adsn.evaluation.report import ReportImage, ReportSection
    from runtime.imaging.crop import CropRule

Model = Annotated[Path, typer.Argument(help="A bundle's folder, or a checkpoint.safetensors.", show_default=False)]
Data = Annotated[Path | None, typer.Option(help="Plan (TOML) with the test sets; default: the shipped one.")]
Precisions = Annotated[str, typer.Option(help="int8, fp32 or both, for a bundle.")]
Threshold = Annotated[
    float | None, typer.Option(help="Threshold; default: the bundle's operating point.", min=0, max=1)
]
Out = Annotated[Path | None, typer.Option(help="Write the figures and every presentation's score here (JSON).")]
ReportFile = Annotated[Path | None, typer.Option("--report", help="Write a page with curves and tables here (HTML).")]
Thumbnails = Annotated[
    bool, typer.Option("--thumbnails", help="Show the worst samples in the page. These are pictures of faces.")
]
Explain = Annotated[
    int, typer.Option(help="Draw attention over the crops of this many worst samples of each kind.", min=0, max=50)
]
Cache = Annotated[Path, typer.Option(help="Folder for rendered sets.")]
WithDev = Annotated[
    bool, typer.Option("--dev", help="Score the plan's dev set, to set a threshold on it, not the tests.")
]
Counterfactuals = Annotated[
    int,
    typer.Option(
        "--counterfactual",
        help="Render this many presentations of each species with and without glasses, hat, open mouth and gaze, and "
        "report whose decisions change.",
        min=0,
        max=10_000,
    ),
]
WORST = 6
LARGEST_EFFECT = 0.01
"""By how much an attribute may change a species' error rate before the table shows it in red."""


@dataclass(frozen=True, slots=True)
class EvaluatedModel:
    """What is evaluated: a scorer for each precision, and how to ask for attention."""

    what: str
    scorers: dict[str, Scorer]
    attend: AttentionFunction
    modalities: tuple[str, ...]
    rule: CropRule
    threshold: float


def open_model(model: Path, precision: str, threshold: float | None) -> EvaluatedModel:
    """Open a bundle or a checkpoint.

    Raises:
        ConfigError: wrong options. BundleError, CheckpointError: it cannot be used; says why.
    """
    from adsn.evaluation.attention import engine_attention, network_attention
    from adsn.evaluation.evaluate import engine_scorer, network_scorer

    if not model.exists():
        raise ConfigError(f"{model}: there is neither a bundle's folder nor a checkpoint.")
    if not model.is_dir():
        from adsn.network.checkpoint import crop_rule, load_checkpoint

        if threshold is None:
            raise ConfigError("a checkpoint has no operating point: give --threshold, or evaluate a bundle.")
        network, training = load_checkpoint(model)
        config = network.config
        return EvaluatedModel(
            what=f"{model} torch",
            scorers={"torch": network_scorer(network)},
            attend=network_attention(network),
            modalities=config.modalities,
            rule=crop_rule(config, training),
            threshold=threshold,
        )
    from runtime.bundle.manifest import open_bundle
    from runtime.liveness.open import open_engine

    wanted: dict[str, tuple[Literal["int8", "fp32"], ...]] = {
        "int8": ("int8",),
        "fp32": ("fp32",),
        "both": ("int8", "fp32"),
    }
    if precision not in wanted:
        raise ConfigError(f"--precision is int8, fp32 or both, not {precision!r}.")
    bundle = open_bundle(model)
    engines = {name: open_engine(bundle, precision=name) for name in wanted[precision]}
    manifest = bundle.manifest
    return EvaluatedModel(
        what=f"{manifest.name} {manifest.version} {' and '.join(engines)}",
        scorers={str(name): engine_scorer(engine) for name, engine in engines.items()},
        attend=engine_attention(next(iter(engines.values()))),
        modalities=manifest.modalities,
        rule=manifest.rule(),
        threshold=manifest.operating_point().threshold if threshold is None else threshold,
    )


def evaluate(
    model: Model,
    data: Data = None,
    precision: Precisions = "int8",
    threshold: Threshold = None,
    out: Out = None,
    report: ReportFile = None,
    thumbnails: Thumbnails = False,
    explain: Explain = 0,
    counterfactual: Counterfactuals = 0,
    dev: WithDev = False,
    cache: Cache = DEFAULT_CACHE,
    threads: Threads = 0,
    version: Version = False,
) -> None:
    """Score MODEL on the plan's test sets: APCER per species, BPCER, AUC, with counts and 95 % intervals."""
    from adsn.evaluation.report import html_report
    from runtime.core.files import write_atomically

    if (thumbnails or explain) and not report:
        raise ConfigError("--thumbnails and --explain draw into the page: give --report FILE as well.")
    require_writable_file(out, "--out")
    require_writable_file(report, "--report")
    subject = open_model(model, precision, threshold)
    console = Console()
    plan = open_plan(data, console)
    require_writable_folder(cache, "--cache")
    results = []
    with bars(console) as progress:
        for name, section in sections_of(plan, dev=dev):
            workers = threads or os.cpu_count() or 1
            pairs = open_section(name, section, subject.modalities, subject.rule, cache, progress, workers)
            results.append(measured(subject, name, pairs, progress, WORST if thumbnails else 0, explain))
    for result in results:
        for kind, found in result.scored.items():
            title = f"{subject.what} on {found.name}, {kind}, threshold {result.threshold:.4f}"
            show(console, f"{title}, AUC {result.figures[kind]['auc']:.5f}", found.report(result.threshold))
    effects = counterfactuals(subject, counterfactual, console) if counterfactual else []
    if out:
        figures = evaluation_json(subject, results, effects)
        write_atomically(out, (json.dumps(figures, indent=1) + "\n").encode())
        console.print(f"wrote {out}")
    if report:
        notes = [note for result in results for note in comparison_notes(result)]
        page = html_report(f"{subject.what}, threshold {subject.threshold:.6f}", results, notes)
        write_atomically(report, page.encode())
        console.print(f"wrote {report}")


def sections_of(plan: DataPlan, *, dev: bool) -> list[tuple[str, AnySection]]:
    """The plan's test sets by name, or the sources of its dev set."""
    if not dev:
        return list(plan.test.items())
    return [(f"dev-{k + 1}" if k else "dev", section) for k, section in enumerate(plan.dev)]


def measured(
    subject: EvaluatedModel, name: str, pairs: PairDataset, progress: Progress, plain: int, explained: int
) -> ReportSection:
    """Score a set with every precision.

    ``plain`` and ``explained``: how many of the worst samples of each kind to draw, without and with attention.

    Raises:
        DatasetError: the set lacks bona fide or attack presentations.
    """
    from adsn.datasets.base import require_both_classes
    from adsn.evaluation.evaluate import report_json, score_set
    from adsn.evaluation.report import ReportSection

    require_both_classes(pairs)
    scored = {}
    for kind, scorer in subject.scorers.items():
        task = progress.add_task(f"score {name}, {kind}", total=len(pairs), note="")
        began = time.monotonic()

        def tick(n: int, task: TaskID = task, began: float = began) -> None:
            progress.advance(task, n)
            rate = progress.tasks[task].completed / max(time.monotonic() - began, 1e-9)
            progress.update(task, note=f"{rate:.0f} pairs/s")

        scored[kind] = score_set(scorer, pairs, subject.modalities, tick=tick)
    figures = {kind: report_json(found, subject.threshold) for kind, found in scored.items()}
    pictures = worst_pictures(subject, pairs, next(iter(scored.values())), plain, explained)
    return ReportSection(name, subject.threshold, scored, figures, pictures)


def counterfactuals(subject: EvaluatedModel, presentations: int, console: Console) -> list[Effect]:
    """Measure and print what glasses, hats and expressions change, with the first precision."""
    from adsn.evaluation.counterfactual import CHANGES, Counterfactual
    from synthetic import SPECIES

    scorer = next(iter(subject.scorers.values()))
    asked = Counterfactual(scorer, subject.rule, subject.modalities, subject.threshold, presentations)
    effects = []
    with bars(console) as progress:
        task = progress.add_task("counterfactuals", total=len(CHANGES) * len(SPECIES), note="")
        for effect in asked.effects():
            effects.append(effect)
            progress.advance(task)
    title = f"one attribute changed, all else the same, {presentations} rendered presentations each"
    table = Table("attribute", "species", "errors without", "errors with", "flips", title=title, title_justify="left")
    for e in effects:
        style = "bold red" if abs(e.change) > LARGEST_EFFECT else ""
        row = (e.attribute, e.species, str(e.without.errors), str(e.with_it.errors), str(e.flips))
        table.add_row(*row, style=style)
    console.print(table)
    worst = max(effects, key=lambda e: abs(e.change))
    console.print(f"largest change: {worst.attribute} on {worst.species}, {100 * worst.change:+.1f} points")
    return effects


def evaluation_json(subject: EvaluatedModel, results: list[ReportSection], effects: list[Effect]) -> dict[str, Any]:
    """What ``--out`` holds. The first precision's figures and scores stand at the top of each set."""
    from adsn.evaluation.counterfactual import effects_json

    sets = []
    for result in results:
        kinds = list(result.scored)
        row = dict(result.figures[kinds[0]])
        values, species = result.scored[kinds[0]].presentations_of()
        # A non-response has no number in JSON either.
        scores = [None if math.isnan(v) else round(v, 7) for v in values.tolist()]
        row["presentations"] = {"species": species, "score": scores}
        row["precisions"] = {kind: dict(result.figures[kind]) for kind in kinds[1:]}
        row["comparison"] = comparison_notes(result)
        sets.append(row)
    found: dict[str, Any] = {"schema_version": 1, "model": subject.what, "sets": sets}
    if effects:
        found["counterfactual"] = effects_json(effects)
    return found


def comparison_notes(result: ReportSection) -> list[str]:
    """How far two precisions differ on one set, in words; nothing when there is one."""
    if len(result.scored) < 2:
        return []
    (a, first), (b, second) = list(result.scored.items())[:2]
    x, y = first.scores[:, 0], second.scores[:, 0]
    flips = int(((x >= result.threshold) != (y >= result.threshold)).sum())
    return [
        f"{result.title}: {flips} of {len(x)} decisions differ between {a} and {b}; scores by at most "
        f"{float(np.abs(x - y).max()):.4f}, {float(np.abs(x - y).mean()):.5f} on average."
    ]


def worst_pictures(
    subject: EvaluatedModel, pairs: PairDataset, scored: Scored, plain: int, explained: int
) -> list[ReportImage]:
    """Crops of the highest scored attacks and lowest scored bona fide pairs, and attention over some of them."""
    from adsn.evaluation.attention import overlay
    from adsn.evaluation.report import ReportImage, worst_samples
    from runtime.imaging.overlay import grey_picture

    pictures = []
    for count, drawn in ((plain, False), (explained, True)):
        for index in worst_samples(scored, count):
            sample = pairs[index]
            crops = {m: np.asarray(sample.crops[m]) for m in subject.modalities}
            caption = f"{sample.species}, score {float(scored.scores[index, 0]):.4f}"
            if drawn:
                maps = subject.attend({m: crop[None] for m, crop in crops.items()})[0]
                shown = {m: overlay(crop, maps[k]) for k, (m, crop) in enumerate(crops.items())}
                pictures.append(ReportImage(f"{caption}, attention", shown))
            else:
                pictures.append(ReportImage(caption, {m: grey_picture(crop) for m, crop in crops.items()}))
    return pictures


def show(console: Console, title: str, report: Report) -> None:
    """Error rates as a table; the worst species is the headline."""
    table = Table("", "rate (errors/presentations, interval)", title=title, title_justify="left")
    worst = report.worst[0] if report.apcer else ""
    for kind, rate in report.apcer.items():
        table.add_row(f"APCER {kind}" + (" (worst)" if kind == worst else ""), str(rate))
    table.add_row("BPCER", str(report.bpcer))
    console.print(table)


def main() -> None:
    """Console script."""
    run(command(evaluate), extra="train")
