"""The relay's line by itself: how the daemon takes it, and what locks it after the daemon has ended in whatever way.

The daemon notes which line it takes, so that no mistake made in the settings since can keep that door open. Without a
note the settings say which line, and nothing else in them is looked at. Little is imported: a door waits for it.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from runtime.config.loader import EnvironmentPrefix, load_config
from runtime.core.errors import ConfigError
from runtime.core.files import write_atomically
from service.outputs.relay import GpiodLine

log = logging.getLogger("adsn.kiosk")
PREFIX = EnvironmentPrefix("ADSN_KIOSK_", strict=False)
NOTE = "line.json"


class LineSettings(BaseModel):
    """Which line, and what locks it."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    chip: str = Field(default="/dev/gpiochip0", description="The chip.")
    line: int | str = Field(description="The line's number, or its name.", examples=[17])
    active_low: bool = Field(default=False, description="The relay board opens on a low level.")


class DoorSettings(BaseModel):
    """Of a kiosk's settings, the line."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    gpio: LineSettings | None = None


def open_line(found: LineSettings) -> GpiodLine:
    """The line, locked. Raises as `GpiodLine`."""
    return GpiodLine(found.chip, found.line, found.active_low)


def take_line(found: LineSettings, environ: Mapping[str, str] = os.environ) -> GpiodLine:
    """The line for the daemon, locked, and noted in systemd's ``RUNTIME_DIRECTORY``, which lives as long as this run.

    Raises as `GpiodLine`. A note that cannot be written is logged: the settings are then what is left.
    """
    note = _note(environ)
    if note is not None:
        chosen = LineSettings(chip=found.chip, line=found.line, active_low=found.active_low)
        try:
            # Replaced as a whole, and before the line is taken: what is half written would be worth nothing.
            write_atomically(note, chosen.model_dump_json().encode())
        except OSError as error:
            log.warning("which line locks the door could not be noted in %s: %s", note, error.strerror)
    return open_line(found)


def read_line(path: Path | None, environ: Mapping[str, str]) -> LineSettings | None:
    """The line that the daemon took, else the one that the settings name; None where there is neither.

    Raises:
        ConfigError: nothing was noted, and the file cannot be read, is no TOML, or does not say which line.
    """
    note = _note(environ)
    if note is not None:
        # No note, or a damaged one: ValidationError covers what is no JSON too.
        with contextlib.suppress(OSError, ValidationError):
            return LineSettings.model_validate_json(note.read_bytes())
    own = {name: value for name, value in environ.items() if name.startswith(PREFIX.text)}
    return load_config(DoorSettings, path, prefixes=(PREFIX,), environ=own).gpio


def lock(found: LineSettings | None) -> None:
    """Drive the line to locked and let go of it. The kernel may have kept the level that the daemon left.

    Raises:
        ConfigError: it cannot be driven; the message says why.
    """
    if found is None:
        return
    try:
        line = open_line(found)
    except OSError as error:
        raise ConfigError(f"the relay's line cannot be locked: {error.strerror}.") from error
    with contextlib.suppress(OSError):
        line.close()


def _note(environ: Mapping[str, str]) -> Path | None:
    folder = environ.get("RUNTIME_DIRECTORY")
    return Path(folder) / NOTE if folder else None
