"""Shared behaviour of all console scripts: ``--version``, one-line errors, and exit codes.

Exit codes: 0 success, 1 failure, 2 wrong use, 78 bad configuration (EX_CONFIG of sysexits.h).
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console

from runtime import __version__
from runtime.core.errors import AdsnError, ConfigError

FAILURE = 1
BAD_CONFIGURATION = 78
EXTRAS = {
    "torch": "train",
    "safetensors": "train",
    "onnx": "export",
    "onnxslim": "export",
    "onnxruntime": "cpu",
    "scipy": "calib",
}
"""Package → smallest extra that installs it."""


def _print_version(value: bool) -> None:
    if value:
        typer.echo(f"adsn {__version__}")
        raise typer.Exit


Version = Annotated[
    bool,
    typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
]
BundleFolder = Annotated[Path | None, typer.Option("--bundle", help="Model folder; default: the shipped one.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
PrintConfig = Annotated[bool, typer.Option("--print-config", help="Print a settings file with every key and exit.")]


def command(function: Callable[..., None]) -> typer.Typer:
    """Return an application with one command."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    app.command()(function)
    return app


def group(help_text: str) -> typer.Typer:
    """Return an application with several commands."""
    app = typer.Typer(
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        no_args_is_help=True,
        help=help_text,
    )

    def version(show: Version = False) -> None: ...

    app.callback(help=help_text)(version)
    return app


def run(app: typer.Typer, *also: type[Exception], extra: str | None = None) -> NoReturn:
    """Run ``app``. Errors of the project and those in ``also`` are printed on one line and give an exit code.

    ``extra``: extra to recommend if a package is missing; by default the smallest one that contains it.
    """
    failures: tuple[type[Exception], ...] = (AdsnError, *also)
    try:
        try:
            app()
        finally:
            # Flush now, because a full disk could not be reported when the interpreter exits.
            sys.stdout.flush()
    except ConfigError as error:
        fail(str(error), BAD_CONFIGURATION)
    except failures as error:
        fail(str(error), FAILURE)
    except ModuleNotFoundError as error:
        name = (error.name or "").partition(".")[0]
        if name not in EXTRAS:
            raise
        package = f"adsn[{extra or EXTRAS[name]}]"
        fail(f"this command needs {name}, which is not installed: pip install '{package}'", FAILURE)
    except OSError as error:
        _abandon_output()
        fail(_described(error), FAILURE)
    except KeyboardInterrupt:
        fail("stopped.", 130)
    sys.exit(0)


def _described(error: OSError) -> str:
    """Return a sentence that describes an error of the operating system."""
    where = f"{error.filename}: " if error.filename is not None else ""
    advice = " Free some space, or write elsewhere." if error.errno == errno.ENOSPC else ""
    return f"{where}{error.strerror or error}.{advice}"


def _abandon_output() -> None:
    """Discard unwritten output. If it cannot be written now, writing it when the interpreter exits would fail again."""
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        return
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def fail(message: str, code: int) -> NoReturn:
    """Print ``message`` to standard error and exit with ``code``."""
    Console(stderr=True, highlight=False, markup=False, soft_wrap=True).print(f"error: {message}", style="bold red")
    sys.exit(code)
