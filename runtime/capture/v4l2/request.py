"""What a camera's address asks of the kernel's reader, taken apart before the camera is opened."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass

from runtime.capture.uri import CameraUri
from runtime.capture.v4l2.controls import ControlSettings
from runtime.capture.v4l2.formats import ALIASES, FORMATS, PREFERRED
from runtime.capture.v4l2.negotiation import FormatRequest
from runtime.capture.v4l2.timestamps import TIMESTAMP_CHOICES, TimestampChoice
from runtime.core.errors import ConfigError
from runtime.core.values import Modality

BUFFERS = 4
OPTIONS = ("fourcc", "size", "fps", "bits", "unit_mm", "stamp", "metadata", "buffers", *ControlSettings.OPTIONS)


@dataclass(frozen=True, slots=True)
class Request:
    """What an address asks for. ``path``: the camera's node. ``metadata``: ``auto``, ``off``, or a node."""

    path: str
    wanted: FormatRequest
    bits: int | None
    unit_mm: float
    timestamp: TimestampChoice
    buffers: int
    controls: ControlSettings
    metadata: str


def node_path(options: CameraUri) -> str:
    """The node that an address names: ``v4l2:0`` is ``/dev/video0``."""
    return f"/dev/video{options.path}" if options.path.isdigit() else options.path


def parse_request(options: CameraUri, modality: Modality) -> Request:
    """Take the options apart.

    Raises:
        ConfigError: an option is unknown or wrong.
    """
    options.allow(*OPTIONS)
    path = node_path(options)
    if not path.startswith("/"):
        raise ConfigError(f"{options.text}: v4l2 needs a node, e.g. v4l2:/dev/video0; adsn-rig list names them.")
    request = Request(
        path=path,
        wanted=FormatRequest(
            fourcc=options.string("fourcc") or None,
            size=options.size(),
            fps=options.number("fps", 0, 0.1, 1000) if "fps" in options.options else None,
        ),
        bits=options.integer("bits", 0, 8, 16) or None,
        unit_mm=options.number("unit_mm", 1.0, 0.001, 1000),
        timestamp=options.choice("stamp", TIMESTAMP_CHOICES, "auto"),
        buffers=options.integer("buffers", BUFFERS, 2, 32),
        controls=ControlSettings.of(options),
        metadata=options.string("metadata", "auto" if modality == "ir" else "off"),
    )
    if request.metadata not in ("auto", "off") and not request.metadata.startswith("/"):
        raise ConfigError(
            f"{options.text}: metadata is auto, off or a node such as /dev/video3, not {request.metadata!r}."
        )
    return request


def check_request(options: CameraUri, modality: Modality) -> None:
    """Make sure of what can be known while the camera stays closed.

    Raises:
        ConfigError: an option is unknown or wrong, no such camera gives this modality in the format that is named, or
            the node is no device.
    """
    request = parse_request(options, modality)
    for path in (request.path, request.metadata):
        # A device that is not there may be plugged in later; a file never becomes one.
        if path.startswith("/") and os.path.exists(path) and not stat.S_ISCHR(os.stat(path).st_mode):
            raise ConfigError(f"{options.text}: {path} is no device. adsn-rig list names the cameras.")
    fourcc = request.wanted.fourcc
    if fourcc is None:
        return
    name = ALIASES.get(fourcc.upper(), fourcc.upper())
    if name not in FORMATS:
        raise ConfigError(
            f"{options.text}: the pixel format {fourcc!r} cannot be read; {', '.join(FORMATS)} can. "
            "adsn-rig list shows which of them the camera has."
        )
    if name not in PREFERRED[modality]:
        raise ConfigError(f"{options.text}: {name} gives no {modality} pictures; {', '.join(PREFERRED[modality])} do.")
    if request.bits is not None and FORMATS[name].kind != "grey16":
        raise ConfigError(f"{options.text}: bits is for grey formats of two bytes; {name} is not one. Leave it out.")
