"""Parse the address of a V4L2 camera before the camera is opened."""

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
    """A parsed V4L2 address. ``path``: node of the camera. ``metadata``: ``auto``, ``off``, or a metadata node."""

    path: str
    wanted: FormatRequest
    bits: int | None
    unit_mm: float
    timestamp: TimestampChoice
    buffers: int
    controls: ControlSettings
    metadata: str


def node_path(options: CameraUri) -> str:
    """Return the node that an address names: ``v4l2:0`` is ``/dev/video0``."""
    return f"/dev/video{options.path}" if options.path.isdigit() else options.path


def parse_request(options: CameraUri, modality: Modality) -> Request:
    """Parse the options of an address.

    Raises:
        ConfigError: an option is unknown or wrong.
    """
    options.allow(*OPTIONS)
    path = node_path(options)
    if not path.startswith("/"):
        raise ConfigError(f"{options.text}: v4l2 needs a node, e.g. v4l2:/dev/video0; adsn-rig list shows the nodes.")
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
            f"{options.text}: metadata must be auto, off or a node such as /dev/video3, not {request.metadata!r}."
        )
    return request


def check_request(options: CameraUri, modality: Modality) -> None:
    """Check an address as far as possible without opening the camera.

    Raises:
        ConfigError: an option is unknown or wrong, the named format cannot supply this modality, or the node is not a
            device.
    """
    request = parse_request(options, modality)
    for path in (request.path, request.metadata):
        # A missing device may be plugged in later, but an ordinary file never becomes a device.
        if path.startswith("/") and os.path.exists(path) and not stat.S_ISCHR(os.stat(path).st_mode):
            raise ConfigError(f"{options.text}: {path} is not a device. adsn-rig list shows the cameras.")
    fourcc = request.wanted.fourcc
    if fourcc is None:
        return
    name = ALIASES.get(fourcc.upper(), fourcc.upper())
    if name not in FORMATS:
        raise ConfigError(
            f"{options.text}: unsupported pixel format {fourcc!r}; use one of {', '.join(FORMATS)}. "
            "adsn-rig list shows which of them the camera has."
        )
    if name not in PREFERRED[modality]:
        raise ConfigError(f"{options.text}: {name} does not give {modality}; use {', '.join(PREFERRED[modality])}.")
    if request.bits is not None and FORMATS[name].kind != "grey16":
        raise ConfigError(f"{options.text}: bits applies to two-byte grey formats only, not to {name}. Leave it out.")
