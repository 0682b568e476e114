"""``adsn-rig view``: show a running rig in the terminal and, on request, on a local web page."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Annotated

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from runtime.cli.command import BundleFolder
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
from runtime.cli.rig.page import RigPage
from runtime.core.values import MODALITY_NAMES
from runtime.pairing.feed import CapturedPair, FeedStatus
from runtime.pairing.rig import Rig

REFRESH_S = 0.25
LINE_S = 1.0
COLOURS = {"running": "green", "opening": "yellow", "stalled": "yellow", "lost": "red", "closed": "dim"}

Seconds = Annotated[float | None, typer.Option(help="End after this many seconds.", min=0.1)]
WithPage = Annotated[bool, typer.Option("--page", help="Also show the images on a page for this machine only.")]
Decide = Annotated[bool, typer.Option("--decide", help="Score the pairs with the bundle's model.")]


def view(
    config: Config = None,
    rgb: Rgb = None,
    ir: Ir = None,
    depth: Depth = None,
    max_skew_ms: Skew = None,
    strobe: StrobeOption = None,
    synthetic: Synthetic = False,
    seconds: Seconds = None,
    page: WithPage = False,
    decide: Decide = False,
    bundle: BundleFolder = None,
) -> None:
    """Run a rig and show its status: camera states, rates, skew, illumination, and why there are no pairs."""
    settings = require_rig(
        rig_settings(config, rgb=rgb, ir=ir, depth=depth, max_skew_ms=max_skew_ms, strobe=strobe, synthetic=synthetic)
    )
    printer = DecisionPrinter(bundle) if decide else None
    served = RigPage() if page else None
    rig = Rig(settings, observers=(served,) if served else ())
    console = Console(highlight=False)
    try:
        if served is not None:
            served.start(rig)
            console.print(f"images, for this machine only: {served.url}", markup=False, soft_wrap=True)
        rig.start()
        with ended_by_signal() as stop:
            show(rig, console, stop, seconds, printer)
    finally:
        rig.close()
        if served is not None:
            served.close()


@contextmanager
def ended_by_signal() -> Iterator[threading.Event]:
    """Yield an event that is set by SIGTERM and Ctrl-C, so that the command can shut down cleanly."""
    stop = threading.Event()

    def set_stop(number: int, frame: FrameType | None) -> None:
        stop.set()

    before = [(number, signal.signal(number, set_stop)) for number in (signal.SIGTERM, signal.SIGINT)]
    try:
        yield stop
    finally:
        for number, handler in before:
            signal.signal(number, handler)


def show(
    rig: Rig, console: Console, stop: threading.Event, seconds: float | None, printer: DecisionPrinter | None = None
) -> None:
    """Show a running rig until ``stop`` is set or ``seconds`` have passed.

    On a terminal it is shown as a table, otherwise as one line per second.
    """
    end = None if seconds is None else time.monotonic() + seconds
    number, decision = -1, ""
    live = sys.stdout.isatty()
    printed = time.monotonic()
    display = Live(console=console, auto_refresh=False, transient=True) if live else None
    if display is not None:
        display.start()
    try:
        while not stop.is_set() and (end is None or time.monotonic() < end):
            captured: CapturedPair | None = rig.wait(number, REFRESH_S)
            now = time.monotonic()
            if captured is not None:
                number = captured.number
                if printer is not None:
                    decision = printer.line(captured, time.monotonic_ns())
            if now - printed < (REFRESH_S if live else LINE_S):
                continue
            printed = now
            status = rig.status()
            if display is not None:
                display.update(status_table(status, decision), refresh=True)
            else:
                console.print(status_line(status, decision), markup=False, soft_wrap=True)
            if all(camera.state == "closed" for camera in status.cameras):
                break
    finally:
        if display is not None:
            display.stop()
    console.print(status_line(rig.status(), decision), markup=False, soft_wrap=True)


def status_line(status: FeedStatus, decision: str = "") -> str:
    """Return a rig's status as one line."""
    cameras = "  ".join(f"{c.modality} {c.state} {c.fps:.1f} fps" for c in status.cameras)
    parts = [f"{cameras}  pairs {status.pairs} ({status.pairs_per_s:.1f}/s)"]
    if status.skew_ms is not None:
        parts.append(f"skew {status.skew_ms:+.2f} ms")
    parts.append(f"strobe {status.strobe}")
    if status.recording:
        parts.append(f"REC {status.recording}")
    parts += filter(None, (decision, status.advice))
    return "  ".join(parts)


def status_table(status: FeedStatus, decision: str = "") -> Group:
    """Return a rig's status as a table for the terminal."""
    grid = Table(box=None, pad_edge=False)
    for name in ("camera", "state", "fps", "generation", "frames", "dropped", "reconnects", "image"):
        grid.add_column(name)
    for camera in status.cameras:
        drops = ", ".join(f"{cause} {count}" for cause, count in sorted(camera.drops.items())) or "–"
        info = camera.info
        picture = "" if info is None else f"{info.width}×{info.height} {info.pixel_format}, {info.timestamp_source}"
        grid.add_row(
            MODALITY_NAMES[camera.modality],
            Text(camera.state, style=COLOURS[camera.state]),
            f"{camera.fps:.1f}",
            str(camera.generation),
            str(camera.frames),
            drops,
            str(camera.reconnects),
            picture,
        )
    skew = "–" if status.skew_ms is None else f"{status.skew_ms:+.2f} ms"
    rejected = ", ".join(f"{reason} {count}" for reason, count in sorted(status.rejected.items())) or "–"
    rows = [
        Text(f"pairs {status.pairs}, {status.pairs_per_s:.1f}/s, skew {skew}, strobe {status.strobe}"),
        Text(f"rejected: {rejected}", style="dim"),
    ]
    if decision:
        rows.append(Text(decision, style="bold"))
    if status.advice:
        rows.append(Text(status.advice, style="yellow"))
    if status.recording:
        rows.append(Text(f"● REC {status.recording}", style="bold red"))
    return Group(grid, *rows)
