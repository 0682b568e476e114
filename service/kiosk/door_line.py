"""The GPIO line of the door relay: open it for the daemon, and lock it after the daemon has ended for any reason.

The daemon notes in a file which line it uses, so that a later mistake in the settings cannot keep the door open.
Without this note, the line is read from the settings, and nothing else is. The module imports little, because locking
must be fast.
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
    """Open the line in the locked state. Raises the same errors as `GpiodLine`."""
    return GpiodLine(found.chip, found.line, found.active_low)


def open_door_line(found: LineSettings, environ: Mapping[str, str] = os.environ) -> GpiodLine:
    """Open the line for the daemon, locked, and note it in systemd's ``RUNTIME_DIRECTORY``, which lasts for this run.

    That folder exists only during this run of the daemon. If the note cannot be written, this is logged, and locking
    relies on the settings. Raises the same errors as `GpiodLine`.
    """
    note = _note(environ)
    if note is not None:
        chosen = LineSettings(chip=found.chip, line=found.line, active_low=found.active_low)
        try:
            # Write the note before the line is opened, and atomically, because a partial note would be useless.
            write_atomically(note, chosen.model_dump_json().encode())
        except OSError as error:
            log.warning("the note of the relay line could not be written to %s: %s", note, error.strerror)
    return open_line(found)


def read_line(path: Path | None, environ: Mapping[str, str]) -> LineSettings | None:
    """Return the line that the daemon noted, or else the one in the settings, or None if there is neither.

    Raises:
        ConfigError: there is no note, and the settings file cannot be read, is not TOML, or has an invalid line.
    """
    note = _note(environ)
    if note is not None:
        # The note may be missing or damaged. pydantic raises ValidationError for invalid JSON too.
        with contextlib.suppress(OSError, ValidationError):
            return LineSettings.model_validate_json(note.read_bytes())
    own = {name: value for name, value in environ.items() if name.startswith(PREFIX.text)}
    return load_config(DoorSettings, path, prefixes=(PREFIX,), environ=own).gpio


def lock(found: LineSettings | None) -> None:
    """Drive the line to locked and release it.

    This is needed because the kernel may have kept the last level set by the daemon.

    Raises:
        ConfigError: the line cannot be driven. The message says why.
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
