"""Open a camera by its address. The module for each scheme is imported on first use."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import cast

from runtime.capture.source import Source
from runtime.capture.uri import CameraUri, parse_uri
from runtime.core.errors import CameraUnsupported, ConfigError
from runtime.core.values import Modality

SchemeOpener = Callable[[CameraUri, Modality, int], Source]


@dataclass(frozen=True, slots=True)
class Scheme:
    """Scheme of camera addresses.

    ``module``: module with the functions ``open_<scheme>`` and ``check_<scheme>``. ``needs``: package that it imports
    when a camera is opened. ``install``: how to install that package.
    """

    module: str
    what: str
    example: str
    needs: str = ""
    install: str = ""


SCHEMES = {
    "v4l2": Scheme("runtime.capture.v4l2.source", "a camera of this machine", "v4l2:/dev/video0?size=640x480&fps=30"),
    "opencv": Scheme("runtime.capture.opencv", "any camera that OpenCV opens", "opencv:rtsp://host/stream"),
    "file": Scheme("runtime.capture.file", "a video file", "file:clip.mkv"),
    "gst": Scheme(
        "runtime.capture.gstreamer",
        "a GStreamer pipeline",
        "gst:nvarguscamerasrc ! nvvidconv ! appsink",
        "gi",
        "PyGObject and GStreamer's introspection from the system's packages: "
        "apt install python3-gi gir1.2-gst-plugins-base-1.0, and an environment made with --system-site-packages",
    ),
    "realsense": Scheme(
        "runtime.capture.realsense.source",
        "an Intel RealSense",
        "realsense:SERIAL",
        "pyrealsense2",
        "pip install 'adsn[realsense]' (it also needs the system's libusb-1.0)",
    ),
    "mcap": Scheme("runtime.recording.source", "a recording", "mcap:recording.mcap", "mcap", "pip install 'adsn[rig]'"),
    "synthetic": Scheme(
        "runtime.capture.simulated.rig", "the simulated rig", "synthetic:?species=replay_screen&seed=107&fps=30"
    ),
}


def check_uri(text: str) -> CameraUri:
    """Parse an address and check that its scheme is one of `SCHEMES`.

    Raises:
        ConfigError: ``text`` is not an address, or its scheme is unknown.
    """
    uri = parse_uri(text)
    if uri.scheme not in SCHEMES:
        raise ConfigError(f"{uri.text}: unknown camera scheme {uri.scheme!r}; use one of {', '.join(SCHEMES)}.")
    return uri


def missing_package(scheme: Scheme) -> str:
    """Return how to install the package that a scheme lacks, or an empty string if nothing is missing."""
    try:
        present = not scheme.needs or importlib.util.find_spec(scheme.needs) is not None
    except (ImportError, ValueError):
        present = False
    return "" if present else scheme.install


def check_camera(text: str, modality: Modality) -> CameraUri:
    """Check an address and its options as far as possible without opening the camera.

    Raises:
        ConfigError: the address or one of its options is wrong.
        CaptureError: a package or a file that the camera needs is missing.
    """
    parsed = check_uri(text)
    checker = cast(Callable[[CameraUri, Modality], None], getattr(_module(parsed), f"check_{parsed.scheme}"))
    checker(parsed, modality)
    return parsed


def open_source(uri: str, modality: Modality, generation: int = 0) -> Source:
    """Open the camera at an address as the rig's source of ``modality``. All of its frames carry ``generation``.

    Raises:
        ConfigError: the address or one of its options is wrong.
        CameraUnsupported: the package for this scheme is not installed. The message says how to install it.
        CaptureError: the camera cannot be opened.
    """
    parsed = check_uri(uri)
    opener = cast(SchemeOpener, getattr(_module(parsed), f"open_{parsed.scheme}"))
    return opener(parsed, modality, generation)


def _module(parsed: CameraUri) -> ModuleType:
    """Return the module for the scheme of an address.

    Raises:
        CameraUnsupported: a package that the module needs is not installed.
    """
    scheme = SCHEMES[parsed.scheme]
    install = missing_package(scheme)
    if install:
        raise CameraUnsupported(f"{parsed.text}: {scheme.what} needs a package that is not installed: {install}.")
    try:
        return importlib.import_module(scheme.module)
    except ModuleNotFoundError as error:
        # A missing module of this package is a broken installation, not something that the operator can install.
        if (error.name or "").startswith("runtime"):
            raise CameraUnsupported(f"{parsed.text}: this version cannot read {scheme.what}.") from error
        raise CameraUnsupported(f"{parsed.text}: {scheme.what} needs {error.name}, which is not installed.") from error
