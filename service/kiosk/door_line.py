"""The relay line: opening it for the daemon, and locking it after the daemon has ended for any reason.

The daemon writes a note of the line that it uses, so that a later mistake in the settings cannot keep that door open.
Without a note, only the line is read from the settings. The module imports little, because locking must be fast.
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
    """A GPIO line and its polarity."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    chip: str = Field(default="/dev/gpiochip0", description="GPIO chip.")
    line: int | str = Field(description="Number or name of the line.", examples=[17])
    active_low: bool = Field(default=False, description="Set if a low level opens the door.")


class DoorSettings(BaseModel):
    """The part of a kiosk's settings that names the line."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    gpio: LineSettings | None = None


def open_line(found: LineSettings) -> GpiodLine:
    """Open the line, locked. Raises the same errors as `GpiodLine`."""
    return GpiodLine(found.chip, found.line, found.active_low)


def open_door_line(found: LineSettings, environ: Mapping[str, str] = os.environ) -> GpiodLine:
    """Open the line for the daemon, locked, and note it in systemd's ``RUNTIME_DIRECTORY``, which lasts for this run.

    Raises the same errors as `GpiodLine`. If the note cannot be written, this is logged, and locking later relies on
    the settings.
    """
    note = _note(environ)
    if note is not None:
        chosen = LineSettings(chip=found.chip, line=found.line, active_low=found.active_low)
        try:
            # Atomically, and before the line is opened: a partial note would be useless.
            write_atomically(note, chosen.model_dump_json().encode())
        except OSError as error:
            log.warning("the note of the relay line could not be written to %s: %s", note, error.strerror)
    return open_line(found)


def read_line(path: Path | None, environ: Mapping[str, str]) -> LineSettings | None:
    """Return the line that the daemon noted, otherwise the one in the settings, or None if there is neither.

    Raises:
        ConfigError: there is no note, and the settings file cannot be read, is not TOML, or has an invalid line.
    """
    note = _note(environ)
    if note is not None:
        # The note may be missing or damaged. ValidationError also covers invalid JSON.
        with contextlib.suppress(OSError, ValidationError):
            return LineSettings.model_validate_json(note.read_bytes())
    own = {name: value for name, value in environ.items() if name.startswith(PREFIX.text)}
    return load_config(DoorSettings, path, prefixes=(PREFIX,), environ=own).gpio


def lock(found: LineSettings | None) -> None:
    """Drive the line to locked and release it. The kernel may have kept the daemon's last level.

    Raises:
        ConfigError: the line cannot be driven; the message says why.
    """
    if found is None:
        return
    try:
        line = open_line(found)
    except OSError as error:
        raise ConfigError(f"the relay line cannot be locked: {error.strerror}.") from error
    with contextlib.suppress(OSError):
        line.close()


def _note(environ: Mapping[str, str]) -> Path | None:
    folder = environ.get("RUNTIME_DIRECTORY")
    return Path(folder) / NOTE if folder else None
