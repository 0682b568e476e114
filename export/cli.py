"""``adsn-export``: from a checkpoint to a verified bundle."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from adsn.metrics import Rate
from adsn.train_cli import DEFAULT_CACHE, bars
from runtime.command import Version, command, run
from runtime.errors import ConfigError

if TYPE_CHECKING:
    from export.build import Built

Checkpoint = Annotated[Path, typer.Argument(help="checkpoint.safetensors of adsn-train.", show_default=False)]
Int8 = Annotated[bool, typer.Option("--int8", help="Quantise to INT8; the float model is written beside it.")]
Calib = Annotated[
    Path | None, typer.Option(help="Plan (TOML) of calibration, dev and test data; default: the shipped one.")
]
Out = Annotated[Path, typer.Option(help="Folder of the bundle.")]
Cache = Annotated[Path, typer.Option(help="Folder for rendered sets.")]
Flips = Annotated[float, typer.Option(help="Largest accepted share of decisions that INT8 flips.", min=0, max=1)]
RateChange = Annotated[float, typer.Option(help="Largest accepted change of worst APCER and of BPCER.", min=0, max=1)]
KeepFloat = Annotated[
    list[str] | None,
    typer.Option(help="Beginning of the names of nodes to leave in float, e.g. /streams.0/stem (may be repeated)."),
]
BundleVersion = Annotated[str, typer.Option(help="Version to write into the manifest.")]


def export(
    checkpoint: Checkpoint,
    int8: Int8 = False,
    calib: Calib = None,
    out: Out = Path("runs/bundle"),
    cache: Cache = DEFAULT_CACHE,
    max_flips: Flips = 0.002,
    max_rate_change: RateChange = 0.002,
    keep_float: KeepFloat = None,
    bundle_version: BundleVersion = "0.1.0",
    version: Version = False,
) -> None:
    """Turn CHECKPOINT into a bundle: ONNX, activation ranges, INT8, threshold, parity, golden vectors, manifest."""
    if not int8:
        raise ConfigError("say --int8: a bundle always holds the INT8 model, with the float one beside it.")
    from adsn.plan import DEFAULT_PLAN, read_plan
    from export.build import ParityLimits, Step, build, require_parity
    from export.write import write_bundle

    plan = read_plan(calib or DEFAULT_PLAN)
    console = Console()
    with bars(console) as progress:

        class Bars(Step):
            def start(self, name: str, total: int) -> None:
                self.finish()
                self.task = progress.add_task(name, total=total, note="")

            def tick(self, count: int) -> None:
                progress.advance(self.task, count)

            def finish(self) -> None:
                # A set that lay in the cache ticks nothing.
                if hasattr(self, "task"):
                    progress.update(self.task, completed=progress.tasks[self.task].total)

        step = Bars()
        built = build(
            checkpoint,
            plan,
            cache,
            workers=os.cpu_count() or 1,
            step=step,
            version=bundle_version,
            keep_float=keep_float or (),
        )
        step.finish()
    show(console, built)
    require_parity(built, ParityLimits(max_flips, max_rate_change))
    built.manifest["parity_limits"] = {"flips": max_flips, "rate": max_rate_change}
    write_bundle(out, built.files, built.manifest)
    console.print(f"wrote {out}: loaded, verified, golden vectors reproduced in FP32 and INT8")


def show(console: Console, built: Built) -> None:
    """What was measured, in a table that is read in ten seconds."""
    point = built.point
    console.print(
        f"threshold {point.threshold:.4f}, uncertain from {point.band_low:.4f} ({point.target}; {point.measured_on}); "
        f"torch and ONNX differ by {built.torch_difference:.1e}"
    )
    for comparison in built.comparisons:
        a, b = comparison.fp32.report(comparison.threshold), comparison.int8.report(comparison.threshold)
        pairs = len(comparison.fp32.scores)
        changed = f"{comparison.flips} of {pairs} decisions flip ({comparison.flips / pairs:.2%})"
        difference = f"at most {comparison.differences.max():.4f}, mean {comparison.differences.mean():.5f}"
        title = f"{comparison.fp32.name}: {changed}, |Δscore| {difference}"
        table = Table("", "FP32", "INT8", title=title, title_justify="left")
        for kind in a.apcer:
            table.add_row(f"APCER {kind}", brief(a.apcer[kind]), brief(b.apcer[kind]))
        table.add_row("BPCER", brief(a.bpcer), brief(b.bpcer))
        console.print(table)


def brief(rate: Rate) -> str:
    """A rate with its count, short enough for a table in a narrow terminal."""
    return f"{rate.value:.2%} ({rate.errors}/{rate.trials})"


def main() -> None:
    """Console script."""
    from adsn.checkpoint import CheckpointError

    run(command(export), CheckpointError)
