"""``adsn-serve``: the HTTP service."""

from __future__ import annotations

import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from runtime import __version__
from runtime.cli.command import FAILURE, BundleFolder, PrintConfig, Version, run
from runtime.cli.options import Depth
from runtime.config.template import config_text
from runtime.core.errors import ConfigError
from runtime.liveness.open import LoadedModel
from runtime.pairing.feed import PairFeed
from service.app import components_of, create_app
from service.cli.check import check
from service.cli.trust import add_to
from service.config.settings import Settings, read_settings
from service.http.server import Server
from service.liveness.active_model import log_failure
from service.liveness.loading import open_model
from service.process.logs import set_up_logging
from service.process.memory import keep_freed_memory
from service.process.systemd import Notifier

Config = Annotated[Path | None, typer.Option("--config", help="Settings file (TOML); default: ADSN_CONFIG.")]
Secrets = Annotated[Path | None, typer.Option(help="Folder with one file per secret; default: systemd's credentials.")]
Host = Annotated[
    str | None, typer.Option(help="Address to listen on; any but loopback needs keys or client certificates.")
]
Port = Annotated[int | None, typer.Option(help="Port to listen on; 0 picks a free port.")]
Precision = Annotated[str | None, typer.Option(help="Precision of the model: int8 or fp32.")]
Rig = Annotated[str | None, typer.Option(help="synthetic: attach simulated cameras.")]
Rgb = Annotated[str | None, typer.Option(help="Colour camera, e.g. v4l2:/dev/video0.")]
Ir = Annotated[str | None, typer.Option(help="Infrared camera, e.g. v4l2:/dev/video2?fourcc=GREY.")]
CheckConfig = Annotated[
    bool, typer.Option("--check-config", help="Check the settings and exit: 0 if valid, 78 if not.")
]


def serve(
    context: typer.Context,
    config: Config = None,
    secrets: Secrets = None,
    host: Host = None,
    port: Port = None,
    bundle: BundleFolder = None,
    precision: Precision = None,
    rig: Rig = None,
    rgb: Rgb = None,
    ir: Ir = None,
    depth: Depth = None,
    check_config: CheckConfig = False,
    print_config: PrintConfig = False,
    version: Version = False,
) -> None:
    """Serve POST /liveness. SIGHUP reloads the model without losing a request; SIGTERM finishes running requests.

    Precedence, lowest to highest: settings file, secrets, ADSN_ environment variables, command-line options.
    """
    if context.invoked_subcommand is not None:
        return
    if print_config:
        typer.echo(config_text(Settings, "Settings of adsn-serve."), nl=False)
        return
    overrides = Overrides(
        host=host, port=port, bundle=bundle, precision=precision, rig=rig, rgb=rgb, ir=ir, depth=depth
    )
    settings = overrides.read(config, secrets)
    check(settings)
    if check_config:
        typer.echo("the settings are valid.")
        return
    if not run_service(settings):
        raise typer.Exit(FAILURE)


@dataclass(frozen=True, slots=True)
class Overrides:
    """Settings from the command line. None means not given."""

    host: str | None
    port: int | None
    bundle: Path | None
    precision: str | None
    rig: str | None
    rgb: str | None
    ir: str | None
    depth: str | None

    def read(self, config: Path | None, secrets: Path | None) -> Settings:
        """Return the settings from the file, the secrets and the environment, overridden by these.

        Raises:
            ConfigError: entries are wrong. The message names all of them.
        """
        if self.rig not in (None, "synthetic"):
            raise ConfigError(
                f"unknown rig {self.rig!r}. Pass --rig synthetic, or set cameras with --rgb, --ir and --depth or in "
                "[rig]."
            )
        rgb, ir = self.rgb, self.ir
        if self.rig:
            rgb, ir = rgb or "synthetic:", ir or "synthetic:"
        options: dict[str, Any] = {
            "host": self.host,
            "port": self.port,
            "bundle": self.bundle,
            "precision": self.precision,
            "rig.rgb": rgb,
            "rig.ir": ir,
            "rig.depth": self.depth,
        }
        return read_settings(config, secrets=secrets, options=options)


def run_service(settings: Settings) -> bool:
    """Serve until a signal arrives. Return whether the service and its engine started."""
    set_up_logging(settings.log)
    keep_freed_memory()
    feed = open_rig(settings)
    notifier, listening = Notifier(), threading.Event()

    def report_ready(loaded: LoadedModel) -> None:
        # Ready means listening and able to score: do not announce the page of a service that cannot start.
        listening.wait()
        name = f"{loaded.manifest.name} {loaded.manifest.version}"
        announce(f"{name} {loaded.pipeline.engine.info.precision}", server.url)
        notifier.send("READY=1", f"STATUS=serving {name}")

    def stop(error: BaseException) -> None:
        server.stop_failed()

    app = create_app(settings, lambda: open_model(settings), on_failure=stop, feed=feed)
    parts = components_of(app)
    parts.model.on_loaded = report_ready
    server = Server(
        app, settings, announce=lambda url: listening.set(), reload=parts.model.reload, stopping=parts.stopping
    )
    if feed is not None:
        feed.start()
    try:
        server.run()
    finally:
        if feed is not None:
            feed.close()
    if parts.model.failure is not None:
        # This is logged last, so that it is the line that the operator sees.
        log_failure(parts.model.failure)
    return server.started and not server.failed


def announce(model: str, url: str) -> None:
    """Print that the service is ready, with its URL."""
    Console(highlight=False).print(f"ready: adsn {__version__} · {model} · {url}/console", soft_wrap=True)
    sys.stdout.flush()


def open_rig(settings: Settings) -> PairFeed | None:
    """Return the rig configured in the settings, not started yet, or None without cameras."""
    if not settings.rig.configured:
        return None
    from runtime.pairing.rig import Rig

    feed: PairFeed = Rig(settings.rig)
    return feed


def main() -> None:
    """Run the console script."""
    # Without a subcommand the service is started.
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    app.callback(invoke_without_command=True)(serve)
    add_to(app)
    run(app)
