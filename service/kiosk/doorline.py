"""The relay's line by itself: what locks it after the daemon has ended in whatever way.

Nothing else in the settings may keep a door open, so nothing else in them is looked at; and little is imported, because
a door waits for it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from runtime.configfile import Prefix, load_config
from runtime.errors import ConfigError
from service.outputs.relay import GpiodLine

PREFIX = Prefix("ADSN_KIOSK_", strict=False)


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


def read_line(path: Path | None, environ: Mapping[str, str]) -> LineSettings | None:
    """The line that the settings name; None where they name none.

    Raises:
        ConfigError: the file cannot be read, is no TOML, or does not say which line.
    """
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
        line = GpiodLine(found.chip, found.line, found.active_low)
    except OSError as error:
        raise ConfigError(f"the relay's line cannot be locked: {error.strerror}.") from error
    with contextlib.suppress(OSError):
        line.close()
