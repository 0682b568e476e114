"""``adsn-serve``: the HTTP service."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Annotated

import typer
import uvicorn
from rich.console import Console

from runtime import __version__
from runtime.assemble import Loaded, open_pipeline
from runtime.command import FAILURE, Version, command, run
from service.app import create_app
from service.settings import Settings, read_settings

Host = Annotated[str | None, typer.Option(help="Address to listen on; any but loopback needs ADSN_API_KEY.")]
Port = Annotated[int | None, typer.Option(help="Port; 0 lets the system choose.")]
BundleFolder = Annotated[Path | None, typer.Option("--bundle", help="Model folder; default: the shipped one.")]
Precision = Annotated[str | None, typer.Option(help="int8 or fp32.")]
CheckConfig = Annotated[bool, typer.Option("--check-config", help="Check the settings, say what they are, and exit.")]
GRACE_S = 5


class Server(uvicorn.Server):
    """Announces the real address once it listens, which matters with port 0."""

    def __init__(self, config: uvicorn.Config, settings: Settings) -> None:
        super().__init__(config)
        self._settings = settings
        self.failed = False

    async def startup(self, sockets: list[object] | None = None) -> None:  # type: ignore[override]
        await super().startup(sockets)  # type: ignore[arg-type]  # uvicorn's own annotation is narrower than its use
        if self.started:
            port = self.servers[0].sockets[0].getsockname()[1]
            host = f"[{self._settings.host}]" if ":" in self._settings.host else self._settings.host
            model = f"{self._settings.bundle.name} {self._settings.precision}"
            Console(highlight=False).print(f"adsn {__version__} · {model} · http://{host}:{port}/docs", soft_wrap=True)
            sys.stdout.flush()

    def stop_failed(self) -> None:
        """The engine cannot start: end the process, from any thread."""
        # Not by a signal: uvicorn raises those again at its end, and a service manager takes SIGTERM for a clean stop.
        self.failed = True
        self.should_exit = True


def serve(
    host: Host = None,
    port: Port = None,
    bundle: BundleFolder = None,
    precision: Precision = None,
    check_config: CheckConfig = False,
    version: Version = False,
) -> None:
    """Serve POST /liveness. Settings: options here, then ADSN_ environment variables."""
    settings = read_settings(host=host, port=port, bundle=bundle, precision=precision)
    if check_config:
        for name in Settings.model_fields:
            typer.echo(f"{name} = {getattr(settings, name)}")
        return
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")

    def load() -> Loaded:
        return open_pipeline(
            settings.bundle,
            precision=settings.precision,
            public_key=settings.bundle_key,
            backend=settings.engine,
            required=settings.require_engine,
        )

    app = create_app(settings, load, on_failure=lambda: server.stop_failed())
    server = Server(
        uvicorn.Config(
            app,
            host=settings.host,
            port=settings.port,
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=GRACE_S,
            # What a body may hold is limited; how long its sender may keep the connection idle is, too.
            timeout_keep_alive=20,
        ),
        settings,
    )
    server.run()
    if server.failed or not server.started:
        raise typer.Exit(FAILURE)


def main() -> None:
    """Console script."""
    run(command(serve))
