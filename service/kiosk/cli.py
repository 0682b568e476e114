"""Command line of ``adsn-kiosk``, the daemon between a rig and a door."""

from __future__ import annotations

import json
import logging
import os
import resource
import signal
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from runtime.cli.command import FAILURE, BundleFolder, PrintConfig, Version, command, run
from runtime.config.template import config_text
from runtime.core.errors import ConfigError
from service.kiosk.door_line import lock, read_line
from service.outputs.base import Event, boottime_ns

if TYPE_CHECKING:
    from service.kiosk.config import KioskSettings

# Large modules are imported where they are used, because --lock-door must start fast.

Config = Annotated[Path | None, typer.Option("--config", help="Settings file (TOML).")]
CheckConfig = Annotated[
    Path | None, typer.Option("--check-config", help="Check a settings file and exit: 0 if valid, 78 if not.")
]
LockDoor = Annotated[bool, typer.Option("--lock-door", help="Drive the relay line to locked and exit.")]
Demo = Annotated[bool, typer.Option("--demo", help="Run on simulated cameras, print events, and open nothing.")]
SpeciesOption = Annotated[str, typer.Option("--species", help="Species that visit the demo in turn, comma-separated.")]
Seed = Annotated[int, typer.Option(help="Random seed of the simulation.", min=0)]
Port = Annotated[int | None, typer.Option(help="Port of the console; 0 picks a free port.")]

END_S = 4.5
"""Time after the first signal, in seconds, at which the process exits even if a thread still hangs."""


class ConsoleChannel:
    """Channel that writes events to standard output, for the demo."""

    name = "print"

    def offer(self, event: Event) -> None:
        sys.stdout.write(json.dumps(event.body(boottime_ns())) + "\n")
        sys.stdout.flush()

    def counts(self) -> Mapping[str, int]:
        return {}

    def waiting(self) -> int:
        return 0

    def close(self, timeout_s: float) -> None: ...


def kiosk(
    config: Config = None,
    check_config: CheckConfig = None,
    print_config: PrintConfig = False,
    lock_door: LockDoor = False,
    demo: Demo = False,
    species: SpeciesOption = "bona_fide,replay_screen",
    seed: Seed = 107,
    port: Port = None,
    bundle: BundleFolder = None,
    version: Version = False,
) -> None:
    """Watch a rig, decide who is live, and control the door. SIGTERM and Ctrl-C stop it within five seconds.

    Precedence, lowest to highest: settings file, secrets, ADSN_KIOSK_ environment variables, command-line options.
    """
    if lock_door:
        return lock(read_line(config, os.environ))
    from service.kiosk.config import KioskSettings, read_kiosk_settings

    if print_config:
        typer.echo(config_text(KioskSettings, "Settings of adsn-kiosk."), nl=False)
        return
    options: dict[str, Any] = {"http.port": port, "bundle": bundle}
    if demo:
        options |= demo_rig(species, seed)
    settings = read_kiosk_settings(check_config or config, environ=os.environ, options=options)
    if demo and any((settings.gpio, settings.command, settings.webhook, settings.mqtt)):
        raise ConfigError("--demo opens nothing: remove gpio, command, webhook and mqtt from the settings.")
    from service.config.settings import LogSettings
    from service.kiosk.check import check
    from service.process.logs import set_up_logging
    from service.process.memory import keep_freed_memory

    require_rig(settings)
    check(settings)
    if check_config is not None:
        typer.echo(f"{check_config}: the settings are valid.")
        return
    # A core dump could contain faces.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    set_up_logging(LogSettings())
    keep_freed_memory()
    code = serve(settings, demo)
    logging.shutdown()
    sys.stdout.flush()
    # Everything is closed. A thread of a driver or engine that is still running would abort the process when the
    # interpreter shuts down.
    os._exit(code)


def serve(settings: KioskSettings, demo: bool) -> int:
    """Run the daemon until a signal arrives, and return its exit code."""
    from runtime.face.open import open_detector
    from runtime.liveness.open import LoadedModel, open_pipeline
    from runtime.pairing.rig import Rig
    from service.kiosk.daemon import Daemon

    def load() -> LoadedModel:
        return open_pipeline(
            settings.bundle,
            precision=settings.precision,
            public_key=settings.bundle_key,
            backend=settings.engine,
            required=settings.require_engine,
            remote=settings.remote.engine(),
            detector=open_detector(settings.face),
        )

    stop = threading.Event()

    def end(*_: object) -> None:
        if not stop.is_set():
            # This timer is never cancelled, so that even with a hanging thread the process ends within the time that
            # systemd allows.
            guard = threading.Timer(END_S, os._exit, (FAILURE,))
            guard.daemon = True
            guard.start()
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    daemon = Daemon(settings, Rig(settings.rig), load, channels=[ConsoleChannel()] if demo else [])
    return daemon.run(stop)


def demo_rig(species: str, seed: int) -> Mapping[str, Any]:
    """Return settings of simulated cameras, in front of which people and attacks appear in turn.

    Raises:
        ConfigError: a species is unknown.
    """
    from runtime.capture.simulated.rig import SPECIES

    unknown = [name for name in species.split(",") if name not in SPECIES]
    if unknown:
        raise ConfigError(f"unknown species {', '.join(unknown)}. Known are: {', '.join(SPECIES)}.")
    uri = f"synthetic:?species={species}&seed={seed}&presence=2s:6s"
    return {"rig.rgb": uri, "rig.ir": uri}


def require_rig(settings: KioskSettings) -> None:
    """Check that cameras are configured; otherwise raise `ConfigError`."""
    if not settings.rig.configured:
        raise ConfigError(
            "no cameras are configured. Name them in the section [rig] of a settings file (see adsn-kiosk "
            "--print-config), or try adsn-kiosk --demo."
        )


def main() -> None:
    """Run the console script."""
    run(command(kiosk))
