"""``adsn-eval``: score a bundle or a checkpoint on data sets and report ISO/IEC 30107-3 figures."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import Progress, TaskID

from adsn.cli.evaluated_model import EvaluatedModel, open_model
from adsn.cli.evaluation_data import DataOptions, TestSet, open_sets
from adsn.cli.evaluation_output import comparison_notes, evaluation_json, show, show_robustness
from adsn.cli.evaluation_pictures import worst_pictures
from adsn.cli.evaluation_questions import choose_counterfactuals, counterfactuals, mismatched, robustness_of
from adsn.cli.folders import require_writable_file, require_writable_folder
from adsn.cli.train import DEFAULT_CACHE, Threads, bars
from runtime.cli.command import Version, command, run
from runtime.core.errors import ConfigError

if TYPE_CHECKING:
    from adsn.evaluation.counterfactual import Effect
    from adsn.evaluation.report import ReportPage, ReportSection
    from adsn.evaluation.verdict import Limits

Model = Annotated[Path, typer.Argument(help="A bundle's folder, or a checkpoint.safetensors.", show_default=False)]
Data = Annotated[
    Path | None,
    typer.Option(
        help="Plan (TOML) with the test sets, or a folder: recordings with their recordings.csv, or path-traced pairs; "
        "default: the shipped plan."
    ),
]
Subjects = Annotated[
    str | None,
    typer.Option(help="People of a folder of path-traced pairs: FIRST:LAST, one past the last.", metavar="FIRST:LAST"),
]
Precisions = Annotated[str, typer.Option(help="int8, fp32 or both, for a bundle.")]
Threshold = Annotated[
    float | None, typer.Option(help="Threshold; default: the bundle's operating point.", min=0, max=1)
]
Out = Annotated[Path | None, typer.Option(help="Write the figures and every presentation's score here (JSON).")]
ReportFile = Annotated[Path | None, typer.Option("--report", help="Write a page with curves and tables here (HTML).")]
Thumbnails = Annotated[bool, typer.Option("--thumbnails", help="Show the worst samples in the page. They show faces.")]
Explain = Annotated[
    int, typer.Option(help="Draw attention over the crops of this many worst samples of each kind.", min=0, max=50)
]
Cache = Annotated[Path, typer.Option(help="Folder for rendered sets and path-traced counterfactuals.")]
WithDev = Annotated[
    bool, typer.Option("--dev", help="Score the plan's dev set instead of the test sets, to set a threshold on it.")
]
Counterfactuals = Annotated[
    int,
    typer.Option(
        "--counterfactual",
        help="Render this many presentations of each species with and without glasses, hat, medical mask, open mouth, "
        "averted gaze and another background, and report whose decisions change.",
        min=0,
        max=10_000,
    ),
]
RendererOption = Annotated[
    str,
    typer.Option(
        "--renderer",
        help="Renderer of --counterfactual: fast, or pathtraced (about 2 s per image, kept in --cache).",
    ),
]
AttributeOptions = Annotated[
    list[str] | None,
    typer.Option("--attribute", help="Attribute of --counterfactual; repeat it for more. Default: all."),
]
SpeciesOptions = Annotated[
    list[str] | None,
    typer.Option("--species", help="Species of --counterfactual; repeat it for more. Default: all."),
]
Robust = Annotated[
    bool,
    typer.Option(
        "--robustness",
        help="Score a sample of each set under sweeps of gain, gamma, darkness, noise, blur, JPEG quality, rotation, "
        "box and face detector.",
    ),
]
RobustnessPairs = Annotated[
    int,
    typer.Option(
        help="Bona fide pairs that --robustness draws from each set, and as many attack pairs, shared among the "
        "species.",
        min=1,
        max=10_000,
    ),
]
MaxApcer = Annotated[
    float, typer.Option(help="APCER of a species above which the page shows it in red and says so first.", min=0, max=1)
]
MaxBpcer = Annotated[
    float, typer.Option(help="BPCER above which the page shows it in red and says so first.", min=0, max=1)
]
NoMismatch = Annotated[
    bool,
    typer.Option(
        "--no-mismatch",
        help="Skip the species pair_mismatch, which pairs a bona fide image with one of another person, one of another "
        "moment, or a warped one.",
    ),
]
WORST = 6


@dataclass(frozen=True, slots=True)
class ReportParts:
    """Measurements on each set in addition to error rates.

    ``plain``, ``explained``: number of the worst samples of each class to show, without and with attention.
    ``robustness``: number of pairs of each class for the sweeps, 0 for no sweeps. ``mismatch``: whether to add the
    species of images that do not belong together.
    """

    plain: int = 0
    explained: int = 0
    robustness: int = 0
    mismatch: bool = True


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
    renderer: RendererOption = "fast",
    attribute: AttributeOptions = None,
    species: SpeciesOptions = None,
    robustness: Robust = False,
    robustness_pairs: RobustnessPairs = 150,
    no_mismatch: NoMismatch = False,
    max_apcer: MaxApcer = 0.05,
    max_bpcer: MaxBpcer = 0.05,
    dev: WithDev = False,
    subjects: Subjects = None,
    cache: Cache = DEFAULT_CACHE,
    threads: Threads = 0,
    version: Version = False,
) -> None:
    """Score MODEL on the plan's test sets: APCER per species, BPCER, AUC, with counts and 95 % intervals."""
    from adsn.evaluation.report import html_report
    from adsn.evaluation.verdict import Limits
    from runtime.core.files import write_atomically

    if (thumbnails or explain) and not report:
        raise ConfigError("--thumbnails and --explain draw into the page: give --report FILE as well.")
    require_writable_file(out, "--out")
    require_writable_file(report, "--report")
    subject = open_model(model, precision, threshold)
    require_writable_folder(cache, "--cache")
    choice = choose_counterfactuals(counterfactual, renderer, attribute or [], species or [], cache)
    options = DataOptions(data, dev, subjects, cache, threads or os.cpu_count() or 1)
    # A dev set is used only to set thresholds, on the species in it.
    mismatch = not (no_mismatch or dev)
    parts = ReportParts(WORST if thumbnails else 0, explain, robustness_pairs if robustness else 0, mismatch)
    console = Console()
    with bars(console) as progress:
        sets = open_sets(options, subject.modalities, subject.rule, progress)
        results = [measured(subject, test, parts, progress) for test in sets]
    for result in results:
        for kind, found in result.scored.items():
            title = f"{subject.what} on {found.name}, {kind}, threshold {result.threshold:.4f}"
            show(console, f"{title}, AUC {result.figures[kind]['auc']:.5f}", found, result.threshold)
        if result.robustness is not None:
            show_robustness(console, result.robustness)
    effects = counterfactuals(subject, choice, console) if choice else []
    if out:
        figures = evaluation_json(subject, results, effects)
        write_atomically(out, (json.dumps(figures, indent=1) + "\n").encode())
        console.print(f"wrote {out}")
    if report:
        page = page_of(subject, results, effects, Limits(max_apcer, max_bpcer))
        write_atomically(report, html_report(page).encode())
        console.print(f"wrote {report}")


def page_of(subject: EvaluatedModel, results: list[ReportSection], effects: list[Effect], limits: Limits) -> ReportPage:
    """Return the content of the report page."""
    from adsn.evaluation.report import ReportPage

    return ReportPage(
        model=f"{subject.what}, threshold {subject.threshold:.6f}",
        date=f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC",
        sections=results,
        notes=[note for result in results for note in comparison_notes(result)],
        limits=limits,
        effects=effects,
    )


def measured(subject: EvaluatedModel, test: TestSet, parts: ReportParts, progress: Progress) -> ReportSection:
    """Score a set with every precision, and make the other requested measurements with the first precision.

    Raises:
        DatasetError: the set lacks bona fide or attack presentations.
    """
    from adsn.datasets.base import require_both_classes
    from adsn.evaluation.evaluate import report_json, score_set
    from adsn.evaluation.report import ReportSection

    require_both_classes(test.pairs)
    scored = {}
    for kind, scorer in subject.scorers.items():
        task = progress.add_task(f"score {test.name}, {kind}", total=len(test.pairs), note="")
        began = time.monotonic()

        def tick(n: int, task: TaskID = task, began: float = began) -> None:
            progress.advance(task, n)
            rate = progress.tasks[task].completed / max(time.monotonic() - began, 1e-9)
            progress.update(task, note=f"{rate:.0f} pairs/s")

        scored[kind] = score_set(scorer, test.pairs, subject.modalities, tick=tick)
    first = next(iter(scored.values()))
    if parts.mismatch:
        scored = {
            kind: mismatched(scorer, test, scored[kind], subject, progress) for kind, scorer in subject.scorers.items()
        }
    figures = {kind: report_json(found, subject.threshold) for kind, found in scored.items()}
    return ReportSection(
        title=test.name,
        threshold=subject.threshold,
        scored=scored,
        figures=figures,
        pictures=worst_pictures(subject, test.pairs, first, parts.plain, parts.explained),
        robustness=robustness_of(subject, test, first, parts.robustness, progress) if parts.robustness else None,
    )


def main() -> None:
    """Run the console script."""
    run(command(evaluate), extra="train")
