"""``adsn-eval``: score a bundle or a checkpoint on data sets and report ISO/IEC 30107-3 figures."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table

from adsn.metrics import Report
from adsn.train_cli import DEFAULT_CACHE, Threads, bars, open_set
from runtime.command import Version, command, run
from runtime.errors import ConfigError

Model = Annotated[Path, typer.Argument(help="A bundle's folder, or a checkpoint.safetensors.", show_default=False)]
Data = Annotated[Path | None, typer.Option(help="Plan (TOML) with the test sets; default: the shipped one.")]
Precision = Annotated[str, typer.Option(help="int8 or fp32, for a bundle.")]
Threshold = Annotated[
    float | None, typer.Option(help="Threshold; default: the bundle's operating point.", min=0, max=1)
]
Out = Annotated[Path | None, typer.Option(help="Write the figures and every presentation's score here (JSON).")]
Cache = Annotated[Path, typer.Option(help="Folder for rendered sets.")]
WithDev = Annotated[
    bool, typer.Option("--dev", help="Score the plan's dev set, to set a threshold on it, not the tests.")
]


def evaluate(
    model: Model,
    data: Data = None,
    precision: Precision = "int8",
    threshold: Threshold = None,
    out: Out = None,
    dev: WithDev = False,
    cache: Cache = DEFAULT_CACHE,
    threads: Threads = 0,
    version: Version = False,
) -> None:
    """Score MODEL on the plan's test sets: APCER per species, BPCER, AUC, with counts and 95 % intervals."""
    from adsn.evaluate import Scorer, engine_scorer, network_scorer, report_json, score_set
    from adsn.plan import DEFAULT_PLAN, read_plan
    from runtime.assemble import open_engine
    from runtime.bundle import open_bundle

    if not model.exists():
        raise ConfigError(f"{model}: there is neither a bundle's folder nor a checkpoint.")
    plan = read_plan(data or DEFAULT_PLAN)
    scorer: Scorer
    modalities: tuple[str, ...]
    if model.is_dir():
        if precision not in ("int8", "fp32"):
            raise ConfigError(f"--precision is int8 or fp32, not {precision!r}.")
        chosen: Literal["int8", "fp32"] = "int8" if precision == "int8" else "fp32"
        bundle = open_bundle(model)
        scorer = engine_scorer(open_engine(bundle, precision=chosen))
        modalities, size = bundle.manifest.modalities, bundle.manifest.crop.size
        threshold = bundle.manifest.operating_point().threshold if threshold is None else threshold
        what = f"{bundle.manifest.name} {bundle.manifest.version} {chosen}"
    else:
        from adsn.checkpoint import load_checkpoint

        if threshold is None:
            raise ConfigError("a checkpoint has no operating point: give --threshold, or evaluate a bundle.")
        network, _ = load_checkpoint(model)
        scorer, what = network_scorer(network), f"{model} torch"
        modalities, size = network.config.modalities, network.config.size
    sections = {"dev": plan.dev} if dev else plan.test
    console = Console()
    results = []
    with bars(console) as progress:
        for name, section in sections.items():
            pairs = open_set(plan.spec(name, section, size), cache, progress, threads or os.cpu_count() or 1)
            task = progress.add_task(f"score {name}", total=len(pairs), note="")
            scored = score_set(scorer, pairs, modalities, tick=lambda n, task=task: progress.advance(task, n))  # type: ignore[misc]  # mypy does not infer a default's type
            results.append(scored)
    figures = [report_json(scored, threshold) for scored in results]
    for scored, row in zip(results, figures, strict=True):
        show(
            console,
            f"{what} on {scored.name}, threshold {threshold:.4f}, AUC {row['auc']:.5f}",
            scored.report(threshold),
        )
    if out:
        for row, scored in zip(figures, results, strict=True):
            values, species = scored.presentations_of()
            row["presentations"] = {"species": species, "score": [round(float(v), 7) for v in values]}
        out.write_text(json.dumps({"schema_version": 1, "model": what, "sets": figures}, indent=1) + "\n")
        console.print(f"wrote {out}")


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
    from adsn.checkpoint import CheckpointError

    run(command(evaluate), CheckpointError)
