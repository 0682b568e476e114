"""``adsn-kiosk``: the embedded daemon. This version watches the synthetic rig and prints what it decides.

It drives no door: outputs, attempts and sequential evidence need real cameras' timing, and a daemon that could open
something on single synthetic pairs would be worse than none.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from runtime.assemble import default_bundle, open_pipeline
from runtime.cameras.synthetic import FAMILIES, FRAME_NS, SPECIES, SyntheticRig
from runtime.command import Version, command, run
from runtime.errors import AdsnError, ConfigError
from runtime.pipeline import LivenessPipeline

Demo = Annotated[bool, typer.Option("--demo", help="Watch the synthetic rig; the only source in this version.")]
Kind = Annotated[str, typer.Option("--species", help="What stands before the synthetic rig.")]
Family = Annotated[str, typer.Option(help="Sensor family of the synthetic rig.")]
Seed = Annotated[int, typer.Option(help="Which simulated world.", min=0)]
Pairs = Annotated[int, typer.Option(help="Stop after so many pairs; 0: go on until stopped.", min=0)]
BundleFolder = Annotated[Path | None, typer.Option("--bundle", help="Model folder; default: the shipped one.")]


def watch(pipeline: LivenessPipeline, rig: SyntheticRig, pairs: int, stop: threading.Event) -> Iterator[dict[str, Any]]:
    """One event for each pair, at the rig's rate or as fast as this machine can.

    Whatever goes wrong with a pair is an ``uncertain`` event with a reason, and the next pair is tried.
    """
    number = 0
    due = time.monotonic_ns()
    while not stop.is_set() and (pairs == 0 or number < pairs):
        made = rig.next()
        try:
            found = pipeline.assess(made.pair)
            event: dict[str, Any] = {
                "decision": found.decision,
                "score": round(found.score, 6),
                "reasons": list(found.reasons),
                "ms": round(sum(found.timing_ms.values()), 2),
            }
        except AdsnError as error:
            event = {"decision": "uncertain", "score": None, "reasons": [error.code], "ms": None}
        yield {"pair": number, **event}
        number += 1
        due = max(due + FRAME_NS, time.monotonic_ns() - FRAME_NS)
        stop.wait(max(0, due - time.monotonic_ns()) / 1e9)


def kiosk(
    demo: Demo = False,
    species: Kind = "bona_fide",
    family: Family = "A",
    seed: Seed = 107,
    pairs: Pairs = 0,
    bundle: BundleFolder = None,
    version: Version = False,
) -> None:
    """Watch a rig and print one JSON line for each pair. SIGTERM and Ctrl-C end it."""
    if not demo:
        raise ConfigError("no rig is configured. This version watches the synthetic rig only: adsn-kiosk --demo")
    if species not in SPECIES or family not in FAMILIES:
        raise ConfigError(f"unknown species or family; there are {', '.join(SPECIES)} and {', '.join(FAMILIES)}.")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    loaded = open_pipeline(bundle or default_bundle())
    rig = SyntheticRig(seed=seed, subject=9000, species=species, family=family)
    try:
        for event in watch(loaded.pipeline, rig, pairs, stop):
            sys.stdout.write(json.dumps(event) + "\n")
            sys.stdout.flush()
    finally:
        loaded.pipeline.engine.close()


def main() -> None:
    """Console script."""
    run(command(kiosk))
