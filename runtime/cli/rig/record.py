"""``adsn-rig record`` and ``adsn-rig replay``."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from runtime.capture.source import SourceInfo
from runtime.cli.command import FAILURE, BundleFolder
from runtime.cli.options import (
    Config,
    DecisionPrinter,
    Depth,
    Ir,
    Rgb,
    Skew,
    StrobeOption,
    Synthetic,
    require_rig,
    rig_settings,
)
from runtime.cli.rig.view import ended_by_signal, show
from runtime.core.errors import ConfigError, RecordingInvalid
from runtime.core.values import Modality
from runtime.pairing.rig import Rig
from runtime.recording.reader import ReadTally, Recording
from runtime.recording.writer import Recorder

Folder = Annotated[Path, typer.Argument(help="Folder that only you can read (mode 0700); created if missing.")]
File = Annotated[Path, typer.Argument(help="A recording, NAME.mcap.")]
Consent = Annotated[
    str,
    typer.Option(
        "--i-have-consent", help="Who agreed to be recorded, and how, e.g. 'test staff, form 12'. Kept in the file."
    ),
]
Seconds = Annotated[float | None, typer.Option(help="Length in seconds; without it, end with Ctrl-C.", min=0.1)]
Jpeg = Annotated[int, typer.Option(help="JPEG quality of RGB frames; 0 stores every pixel.", min=0, max=100)]
Speed = Annotated[bool, typer.Option("--at-speed", help="Play at the recorded speed, as a rig sees it.")]
Decide = Annotated[bool, typer.Option("--decide", help="Score every pair with the bundle's model, one line each.")]


def record(
    folder: Folder,
    consent: Consent = "",
    config: Config = None,
    rgb: Rgb = None,
    ir: Ir = None,
    depth: Depth = None,
    max_skew_ms: Skew = None,
    strobe: StrobeOption = None,
    synthetic: Synthetic = False,
    seconds: Seconds = None,
    jpeg: Jpeg = 0,
) -> None:
    """Record a rig's frames and pairs as MCAP. Faces are biometric data: nothing is recorded without consent."""
    settings = require_rig(
        rig_settings(config, rgb=rgb, ir=ir, depth=depth, max_skew_ms=max_skew_ms, strobe=strobe, synthetic=synthetic)
    )
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    recorder = Recorder(folder, settings, consent=consent, jpeg=jpeg)
    try:
        rig = Rig(settings, observers=(recorder,))

        def describe(modality: Modality) -> SourceInfo | None:
            return next((c.info for c in rig.status().cameras if c.modality == modality), None)

        recorder.describe = describe
        try:
            rig.start()
            with ended_by_signal() as stop:
                show(rig, Console(highlight=False), stop, seconds)
        finally:
            rig.close()
    finally:
        recorder.close()
    Console(soft_wrap=True, highlight=False, markup=False).print(
        f"{recorder.path}: {recorder.frames} frames, {recorder.pairs} pairs, {recorder.left_out} frames left out."
    )
    if recorder.error or not recorder.frames:
        raise typer.Exit(FAILURE)


def replay(file: File, at_speed: Speed = False, decide: Decide = False, bundle: BundleFolder = None) -> None:
    """Form a recording's pairs again and compare them with the recorded ones.

    Exit code 1 if they differ or part of the file is damaged. A recording that was cut off is read to its end.
    """
    recording = Recording(file)
    console = Console(soft_wrap=True, highlight=False, markup=False)
    if len(recording.modalities) != 2:
        raise RecordingInvalid(f"{file}: contains only {' and '.join(recording.modalities)}, so there are no pairs.")
    console.print(f"recorded {recording.created}, consent: {recording.consent}")
    printer = DecisionPrinter(bundle) if decide else None
    if at_speed:
        if "%" in str(file) or "?" in str(file):
            raise ConfigError(f"{file}: for --at-speed, rename the file so that its name has no % and no ?.")
        cameras = {str(m): f"mcap:{file}" for m in recording.modalities}
        rig = Rig(recording.settings.model_copy(update=cameras))
        rig.start()
        try:
            with ended_by_signal() as stop:
                show(rig, console, stop, None, printer)
        finally:
            rig.close()
        return
    tally = ReadTally()
    formed: list[dict[str, int]] = []
    for captured in recording.replay(tally=tally):
        pair = captured.pair
        formed.append({m: getattr(pair, f"{m}_time_ns") for m in recording.modalities})
        if printer is not None:
            skew = "" if pair.skew_ns is None else f"{pair.skew_ns / 1e6:.2f} ms"
            console.print(f"{captured.number} {skew} {printer.line(captured, captured.t_emitted_ns)}")
    then = list(recording.pair_times())
    same = len(_keys(then) & _keys(formed))
    console.print(f"{tally.frames} frames, {len(formed)} pairs; they include {same} of the {len(then)} recorded pairs.")
    if tally.damaged or tally.end:
        console.print(f"{tally.damaged} parts are damaged. {tally.end}")
    if same < len(then) or tally.damaged:
        raise typer.Exit(FAILURE)


def _keys(pairs: list[dict[str, int]]) -> set[tuple[tuple[str, int], ...]]:
    return {tuple(sorted(times.items())) for times in pairs}
