"""The address of a camera: ``scheme:path?option=value&option=value``.

Options follow the last question mark. An address whose path contains question marks therefore needs another one after
the path, even without options: ``opencv:rtsp://host/stream?channel=1?``. In a GStreamer pipeline, the last question
mark belongs to the pipeline if a space or an exclamation mark occurs anywhere after it. Percent-encoding is decoded,
except in pipelines and network addresses.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar
from urllib.parse import unquote

from runtime.core.errors import ConfigError

T = TypeVar("T", bound=str)

SCHEME = re.compile(r"([a-z][a-z0-9+.-]*):(.*)", re.DOTALL)
SIZE = re.compile(r"(\d{1,5})[x×](\d{1,5})")
# Match up to the last @, because a password may contain an unescaped @ or /. Hiding too much does no harm.
CREDENTIALS = re.compile(r"//\S*@")
# The same for an address without its scheme: a name and a password before a host.
CAMERAS = "v4l2|opencv|file|gst|realsense|mcap|synthetic"
BARE_CREDENTIALS = re.compile(rf"(?<!\S)([\"'(\[<]*(?:[\w.-]+=)?(?:(?:{CAMERAS}):)?)([^\s:]*:\S*@)")
PATH_WITH_AT = re.compile(rf"(?:{CAMERAS}):[^:]*")
SECRETS = re.compile(r"(?i)\b([a-z_-]*(?:password|passwd|passphrase|secret|token|api-?key|user-pw|pwd))=[^&\s?!]*")
MOST_PIXELS = 8192


def redact(text: str) -> str:
    """Return ``text`` with names, passwords and tokens replaced by ``***``, safe for logs and web pages."""
    return SECRETS.sub(r"\1=***", BARE_CREDENTIALS.sub(_bare, CREDENTIALS.sub("//***@", text)))


def _bare(match: re.Match[str]) -> str:
    """Return the replacement for a match of a name and a password. Text that only looks like one is returned
    unchanged."""
    hidden = "//***@" in match[2] or PATH_WITH_AT.fullmatch(match[2])
    return match[0] if hidden else f"{match[1]}***@"


@dataclass(frozen=True, slots=True)
class CameraUri:
    """A parsed address.

    ``text``: the whole address without passwords. ``path`` and ``options`` may contain passwords. ``written``: the path
    before percent-decoding.
    """

    scheme: str
    path: str = field(repr=False)
    options: Mapping[str, str] = field(repr=False)
    text: str
    written: str = field(default="", repr=False)

    def allow(self, *names: str) -> None:
        """Reject all options except those in ``names``.

        Raises:
            ConfigError: an option is unknown. The message names the first one.
        """
        for name in self.options:
            if name not in names:
                known = f"the options are {', '.join(sorted(names))}" if names else "there are no options"
                hint = " If the address itself has a '?', add another '?' at its end." if "://" in self.path else ""
                raise ConfigError(f"{self.text}: {self.scheme} cameras have no option {name!r}; {known}.{hint}")

    def string(self, name: str, default: str = "") -> str:
        """Return an option's text."""
        return self.options.get(name, default)

    def size(self) -> tuple[int, int] | None:
        """Return the option ``size``, width and height in pixels; None if it is absent."""
        text = self.options.get("size")
        if text is None:
            return None
        match = SIZE.fullmatch(text)
        if match is None:
            raise self._error("size", "a width and a height such as 640x480")
        width, height = int(match[1]), int(match[2])
        if not (1 <= width <= MOST_PIXELS and 1 <= height <= MOST_PIXELS):
            raise self._error("size", f"from 1x1 to {MOST_PIXELS}x{MOST_PIXELS}")
        return width, height

    def integer(self, name: str, default: int, low: int | None = None, high: int | None = None) -> int:
        """Return a whole number between ``low`` and ``high``."""
        text = self.options.get(name)
        if text is None:
            return default
        if not re.fullmatch(r"[+-]?\d{1,18}", text):
            raise self._error(name, "a whole number")
        self._bounds(name, int(text), low, high)
        return int(text)

    def number(self, name: str, default: float, low: float | None = None, high: float | None = None) -> float:
        """Return a finite number between ``low`` and ``high``."""
        text = self.options.get(name)
        if text is None:
            return default
        try:
            value = float(text)
        except ValueError:
            raise self._error(name, "a number") from None
        if not math.isfinite(value):
            raise self._error(name, "a finite number")
        self._bounds(name, value, low, high)
        return value

    def choice(self, name: str, choices: Sequence[T], default: T) -> T:
        """Return one of ``choices``."""
        text = self.options.get(name)
        if text is None:
            return default
        for match in choices:
            if match == text:
                return match
        raise self._error(name, f"one of {', '.join(choices)}")

    def flag(self, name: str) -> bool:
        """Return whether an option is on."""
        return self.choice(name, ("0", "1"), "0") == "1"

    @property
    def file(self) -> Path:
        """Return the path as a file name, with ``~`` expanded.

        If a file exists whose name is the path before percent-decoding, that name is returned.

        Raises:
            ConfigError: the address has no path.
        """
        if not self.path:
            raise ConfigError(f"{self.text}: {self.scheme} needs a file, e.g. {self.scheme}:/path/to/file.")
        written = Path(self.written or self.path).expanduser()
        return written if os.path.exists(written) else Path(self.path).expanduser()

    def _error(self, name: str, expected: str) -> ConfigError:
        shown = "***" if redact(f"{name}=x") != f"{name}=x" else self.options[name]
        return ConfigError(f"{self.text}: the option {name} must be {expected}, not {shown!r}.")

    def _bounds(self, name: str, value: float, low: float | None, high: float | None) -> None:
        if low is not None and value < low:
            raise self._error(name, f"{low:g} or more")
        if high is not None and value > high:
            raise self._error(name, f"{high:g} or less")


def parse_uri(text: str) -> CameraUri:
    """Parse an address.

    Raises:
        ConfigError: there is no scheme, or the options are malformed.
    """
    shown = redact(text)
    match = SCHEME.fullmatch(text.strip())
    if match is None:
        hint = f" Did you mean v4l2:{shown}?" if text.startswith("/dev/video") else ""
        raise ConfigError(f"{shown!r} is not a camera address; use scheme:path?options, e.g. v4l2:/dev/video0.{hint}")
    scheme, rest = match[1], match[2]
    path, options = rest, ""
    head, mark, tail = rest.rpartition("?")
    if mark and not (scheme == "gst" and re.search(r"[\s!]", tail)):
        path, options = head, tail
    written = path
    if scheme != "gst" and "://" not in path:
        path = unquote(path)
    return CameraUri(scheme, path, _options(options, shown), shown, written)


def _options(text: str, shown: str) -> dict[str, str]:
    options: dict[str, str] = {}
    for part in filter(None, text.split("&")):
        name, equals, value = part.partition("=")
        if not equals or not name:
            raise ConfigError(f"{shown}: options are name=value, joined by '&'; {redact(part)!r} is not.")
        if name in options:
            raise ConfigError(f"{shown}: the option {name} appears twice.")
        options[name] = unquote(value)
    return options
