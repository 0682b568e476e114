"""``adsn-doctor``: what works on this machine, and what to do about what does not."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from runtime.cli.command import FAILURE, Version, command, run
from runtime.cli.doctor.cameras import camera_findings, clock_findings
from runtime.cli.doctor.engines import engine_findings
from runtime.cli.doctor.report import MARKS, Finding
from runtime.cli.doctor.rig import rig_findings
from runtime.cli.options import Bundle, Config, Depth, Ir, Rgb, Skew, Strobe, Synthetic, rig_settings
from runtime.config.rig import RigSettings
from runtime.core.errors import ConfigError
from runtime.liveness.open import default_bundle

WATCH_S = 3.0

Seconds = Annotated[float, typer.Option(help="How long to run the rig, where one is named.", min=0.5, max=600)]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def examine(folder: Path, rig: RigSettings | None = None, seconds: float = WATCH_S) -> list[Finding]:
    """All findings, in the order in which one would mend them. ``rig``: is run for ``seconds`` if it names cameras."""
    findings = [*engine_findings(folder), *camera_findings(), *clock_findings()]
    if rig is not None and rig.configured:
        findings += rig_findings(rig, seconds)
    return findings


def doctor(
    bundle: Bundle = None,
    config: Config = None,
    rgb: Rgb = None,
    ir: Ir = None,
    depth: Depth = None,
    max_skew_ms: Skew = None,
    strobe: Strobe = None,
    synthetic: Synthetic = False,
    seconds: Seconds = WATCH_S,
    as_json: Json = False,
    version: Version = False,
) -> None:
    """Check interpreter, packages, engine, bundle, cameras and clocks, and a rig where one is named; exit code 1 when
    something fails."""
    rig, extra = None, []
    try:
        rig = rig_settings(
            config, rgb=rgb, ir=ir, depth=depth, max_skew_ms=max_skew_ms, strobe=strobe, synthetic=synthetic
        )
    except ConfigError as error:
        extra.append(Finding("fail", "settings", str(error)))
    findings = examine(bundle or default_bundle(), rig, seconds) + extra
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in findings]))
    else:
        console = Console(soft_wrap=True, highlight=False)
        for finding in findings:
            console.print(f"{MARKS[finding.level]} {finding.subject}: ", end="")
            console.print(finding.detail, markup=False)
    if any(finding.level == "fail" for finding in findings):
        raise typer.Exit(FAILURE)


def main() -> None:
    """Console script."""
    run(command(doctor))
