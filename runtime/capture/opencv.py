"""Cameras through OpenCV: for network cameras, and as a fallback for cameras that no other scheme supports.

OpenCV reports neither sequence numbers nor damaged frames, so gaps go unnoticed. For local cameras it passes on the
driver's timestamps. For network streams it passes on only the position in the stream, which is not a capture time, so
the arrival time is used instead.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

import cv2
import numpy as np
from numpy.typing import NDArray

from runtime.capture.ffmpeg import require_ffmpeg
from runtime.capture.pixels import ImageConverter
from runtime.capture.reader_thread import ReaderThread
from runtime.capture.source import SourceInfo
from runtime.capture.uri import CameraUri
from runtime.capture.v4l2.abi import CLOCK_MONOTONIC
from runtime.capture.v4l2.formats import ALIASES, FORMATS
from runtime.capture.v4l2.timestamps import TimestampMapper
from runtime.core.errors import CameraData, CameraLost, CameraMissing, CameraUnsupported, ConfigError
from runtime.core.values import Frame, Modality

LOCAL = ("fourcc", "size", "fps", "bits", "unit_mm", "stamp")
NETWORK = ("timeout",)
GrabbedFrame = tuple[NDArray[Any], int, float]
"""Decoded array, arrival time in ns, position in the stream according to OpenCV in ms."""


@dataclass(frozen=True, slots=True)
class OpenCvRequest:
    """Settings requested by an address; empty, 0 or None for those that it does not give."""

    fourcc: str
    size: tuple[int, int] | None
    fps: float
    bits: int | None
    unit_mm: float
    timestamp: Literal["start", "end", "arrival"]
    timeout_s: float


def open_opencv(options: CameraUri, modality: Modality, generation: int) -> OpenCvSource:
    """Open ``opencv:INDEX`` or ``opencv:URL``; docs/cameras.md lists the options.

    Raises:
        ConfigError: an option is unknown or wrong.
        CameraMissing, CameraUnsupported, CameraData: the camera cannot be used.
    """
    device, local = _device(options)
    settings = _settings(options, local)
    capture = cv2.VideoCapture()
    if local:
        opened = capture.open(int(device), cv2.CAP_V4L2)
    else:
        require_ffmpeg(options.text)
        timeout_ms = round(settings.timeout_s * 1000)
        timeouts = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, timeout_ms, cv2.CAP_PROP_READ_TIMEOUT_MSEC, timeout_ms]
        opened = capture.open(options.path, cv2.CAP_FFMPEG, timeouts)
    if not opened:
        capture.release()
        raise CameraMissing(
            f"{options.text}: OpenCV cannot open it and does not say why: it may be absent, in use or forbidden. "
            f"For a camera of this machine, v4l2: gives the reason."
        )
    try:
        raw = _configure(capture, settings, modality) if local else ""
        _verify_format(capture, settings, options)
    except BaseException:
        capture.release()
        raise
    return OpenCvSource(options, modality, generation, capture, settings, raw)


def check_opencv(options: CameraUri, modality: Modality) -> None:
    """Check an address's options without opening the camera.

    Raises:
        ConfigError: an option is unknown or wrong. CameraUnsupported: this OpenCV reads no network streams.
    """
    device, local = _device(options)
    _settings(options, local)
    if not local:
        try:
            parts = urlsplit(device)
            named = bool(parts.hostname) and parts.port != 0
        except ValueError:
            named = False
        if not named:
            raise ConfigError(f"{options.text}: not a network address; use rtsp://HOST:PORT/PATH.")
        require_ffmpeg(options.text)


def _device(options: CameraUri) -> tuple[str, bool]:
    """Return the number of a local camera or the address of a network camera, and whether the camera is local."""
    device = options.path.removeprefix("/dev/video")
    local = device.isdigit()
    if not local and "://" not in options.path:
        hint = " Did you leave out rtsp:// or http:// before the host?" if "@" in options.path else ""
        raise ConfigError(
            f"{options.text}: opencv takes a camera number or a network address; use file: for a video.{hint}"
        )
    # The size and rate of a network stream are up to the sender.
    options.allow(*(LOCAL if local else NETWORK))
    return device, local


def _settings(options: CameraUri, local: bool) -> OpenCvRequest:
    return OpenCvRequest(
        fourcc=ALIASES.get(options.string("fourcc").upper(), options.string("fourcc").upper()),
        size=options.size(),
        fps=options.number("fps", 0, 0, 1000),
        bits=options.integer("bits", 0, 8, 16) or None,
        unit_mm=options.number("unit_mm", 1.0, 0.001, 1000),
        # OpenCV passes on the driver's timestamp but not its flags. With USB cameras it is near the end of the
        # exposure.
        timestamp=options.choice("stamp", ("end", "start", "arrival"), "end") if local else "arrival",
        timeout_s=options.number("timeout", 5, 0.1, 60),
    )


def _configure(capture: cv2.VideoCapture, settings: OpenCvRequest, modality: Modality) -> str:
    """Set up a local camera as its address requests. Return the pixel format if OpenCV leaves it unconverted, otherwise
    an empty string."""
    if settings.fourcc:
        padded = settings.fourcc.ljust(4).encode("ascii", "replace")[:4]
        capture.set(cv2.CAP_PROP_FOURCC, int.from_bytes(padded, "little"))
    if settings.size:
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, settings.size[0])
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, settings.size[1])
    if settings.fps:
        capture.set(cv2.CAP_PROP_FPS, settings.fps)
    given = format_of(capture)
    if modality == "rgb" or given not in FORMATS or FORMATS[given].kind not in ("grey8", "grey16", "packed"):
        return ""
    # With conversion on, OpenCV keeps only the high byte of 16-bit images. This comes last, because setting a format
    # turns conversion on again.
    capture.set(cv2.CAP_PROP_CONVERT_RGB, 0)
    return given


def _verify_format(capture: cv2.VideoCapture, settings: OpenCvRequest, options: CameraUri) -> None:
    """Check that the stream has the requested format, because OpenCV silently accepts a different one."""
    given = format_of(capture)
    if settings.fourcc and given != settings.fourcc:
        raise CameraUnsupported(
            f"{options.text}: the camera delivers {given or 'an unknown format'} instead of the requested format."
        )
    width, height = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
    if settings.size and (width, height) != settings.size:
        raise CameraUnsupported(
            f"{options.text}: the camera delivers {width}x{height} instead; adsn-rig list shows its sizes."
        )


def format_of(capture: cv2.VideoCapture) -> str:
    """Return the pixel format of a stream as a fourcc, or an empty string if OpenCV does not know it."""
    code = int(capture.get(cv2.CAP_PROP_FOURCC))
    return code.to_bytes(4, "little").decode("ascii", "replace").strip("\0 ") if 0 < code < 1 << 32 else ""


class OpenCvSource:
    """`runtime.capture.source.Source` of a camera opened by OpenCV. ``raw``: pixel format if OpenCV leaves it
    unconverted, otherwise empty."""

    def __init__(
        self,
        options: CameraUri,
        modality: Modality,
        generation: int,
        capture: cv2.VideoCapture,
        settings: OpenCvRequest,
        raw: str,
    ) -> None:
        self._generation, self._capture, self._raw, self._name = generation, capture, raw, options.text
        bits = settings.bits or (FORMATS[raw].bits if raw and raw != "Y16" else None)
        self._converter = ImageConverter(modality, options.text, bits=bits, unit_mm=settings.unit_mm)
        self._timestamps = TimestampMapper(
            None if settings.timestamp == "arrival" else settings.timestamp, options.text
        )
        fps = float(capture.get(cv2.CAP_PROP_FPS))
        self._info = SourceInfo(
            modality=modality,
            uri=options.text,
            identity=options.text.partition("?")[0],
            backend=f"opencv {cv2.__version__} {capture.getBackendName()}",
            width=int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)),
            height=int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)),
            pixel_format=format_of(capture),
            fps=fps if 0 < fps < 1000 else None,
            timestamp_source=self._timestamps.source(CLOCK_MONOTONIC),
        )
        self._reader_thread: ReaderThread[GrabbedFrame] = ReaderThread(self._step, capture.release, options.text)

    @property
    def info(self) -> SourceInfo:
        return self._info

    def _step(self) -> GrabbedFrame:
        if not self._capture.grab():
            raise CameraLost(
                f"{self._name}: OpenCV gets no more frames: the camera or the connection is gone or hangs."
            )
        arrival_ns = time.monotonic_ns()
        position_ms = self._capture.get(cv2.CAP_PROP_POS_MSEC)
        whole, pixels = self._capture.retrieve()
        if not whole or pixels is None:
            raise CameraData(f"{self._name}: OpenCV could not decode a frame.")
        return pixels, arrival_ns, position_ms

    def read(self, timeout_s: float) -> Frame | None:
        """See `Source.read`."""
        grabbed = self._reader_thread.get(timeout_s)
        if grabbed is None:
            return None
        pixels, arrival_ns, position_ms = grabbed
        image = self._converter.convert(self._native(pixels) if self._raw else pixels)
        capture_ns, source = self._timestamps.capture(round(position_ms * 1e6), CLOCK_MONOTONIC, arrival_ns, None)
        self._info = self._info.timed_by(source)
        return Frame(
            modality=self._info.modality,
            image=image,
            t_capture_ns=capture_ns,
            t_arrival_ns=arrival_ns,
            seq=None,
            timestamp_source=source,
            generation=self._generation,
        )

    def _native(self, pixels: NDArray[Any]) -> NDArray[Any]:
        """Return the image in an array that OpenCV left unconverted."""
        if pixels.dtype == np.uint16 or pixels.ndim == 2:
            if FORMATS[self._raw].kind == "grey16" and pixels.dtype != np.uint16:
                raise CameraData(f"{self._name}: OpenCV delivers {self._raw} with 8 bits; the low bits are lost.")
            return pixels
        if pixels.ndim == 3 and pixels.shape[2] == 2:
            # YUYV and UYVY: luminance is the first or the second byte of each pixel.
            return np.ascontiguousarray(pixels[:, :, 0 if self._raw != "UYVY" else 1])
        return pixels

    def close(self) -> None:
        """See `Source.close`."""
        self._reader_thread.close()
