"""``adsn-doctor``: check what works on this machine, and say how to fix problems."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from runtime.cli.command import FAILURE, BundleFolder, Json, Version, command, run
from runtime.cli.doctor.cameras import camera_diagnoses, clock_diagnoses
from runtime.cli.doctor.engines import engine_diagnoses
from runtime.cli.doctor.report import MARKS, Diagnosis
from runtime.cli.doctor.rig import rig_diagnoses
from runtime.cli.doctor.store import store_diagnoses
from runtime.cli.options import (
    Config,
    Depth,
    Ir,
    Rgb,
    Skew,
    StrobeOption,
    Synthetic,
    rig_settings,
    store_settings,
)
from runtime.config.rig import RigSettings
from runtime.config.store import StoreSettings
from runtime.core.errors import ConfigError
from runtime.liveness.open import default_bundle

WATCH_S = 3.0

Seconds = Annotated[float, typer.Option(help="How long to run the rig, in seconds.", min=0.5, max=600)]


def run_checks(
    folder: Path, rig: RigSettings | None = None, seconds: float = WATCH_S, store: StoreSettings | None = None
) -> list[Diagnosis]:
    """Run all checks, in the order in which problems should be fixed.

    If a ``rig`` is configured, it runs for ``seconds``. If ``store`` has an address, the store is queried.
    """
    diagnoses = [*engine_diagnoses(folder), *camera_diagnoses(), *clock_diagnoses()]
    if rig is not None and rig.configured:
        diagnoses += rig_diagnoses(rig, seconds)
    if store is not None and store.url is not None:
        diagnoses += store_diagnoses(store)
    return diagnoses


def doctor(
    bundle: BundleFolder = None,
    config: Config = None,
    rgb: Rgb = None,
    ir: Ir = None,
    depth: Depth = None,
    max_skew_ms: Skew = None,
    strobe: StrobeOption = None,
    synthetic: Synthetic = False,
    seconds: Seconds = WATCH_S,
    as_json: Json = False,
    version: Version = False,
) -> None:
    """Check interpreter, packages, engine, bundle, cameras and clocks, and the rig and the shared store if they are
    configured. Exit code 1 if a check fails."""
    rig, store, extra = None, None, []
    try:
        rig = rig_settings(
            config, rgb=rgb, ir=ir, depth=depth, max_skew_ms=max_skew_ms, strobe=strobe, synthetic=synthetic
        )
        store = store_settings(config)
    except ConfigError as error:
        extra.append(Diagnosis("fail", "settings", str(error)))
    diagnoses = run_checks(bundle or default_bundle(), rig, seconds, store) + extra
    if as_json:
        typer.echo(json.dumps([asdict(diagnosis) for diagnosis in diagnoses]))
    else:
        console = Console(soft_wrap=True, highlight=False)
        for diagnosis in diagnoses:
            console.print(f"{MARKS[diagnosis.level]} {diagnosis.subject}: ", end="")
            console.print(diagnosis.detail, markup=False)
    if any(diagnosis.level == "fail" for diagnosis in diagnoses):
        raise typer.Exit(FAILURE)


def main() -> None:
    """Run the console script."""
    run(command(doctor))
