"""Negotiate a format with a camera: choose one that it offers and that fits the request."""

from __future__ import annotations

import errno
from dataclasses import dataclass

from runtime.capture.v4l2 import abi
from runtime.capture.v4l2.formats import ALIASES, FORMATS, PREFERRED, PixelFormat
from runtime.capture.v4l2.node import DEVICE_GONE_ERRNOS, Node, OfferedFormat, OfferedSize
from runtime.core.errors import CameraData, CameraLost, CameraUnsupported
from runtime.core.values import Modality

DEFAULT_SIZE = (640, 480)
DEFAULT_FPS = 30.0
FPS_TOLERANCE = 0.02
"""Relative tolerance for frame rates. Some cameras report 29.97 for 30."""


@dataclass(frozen=True, slots=True)
class FormatRequest:
    """Format requested by an address; None for values that it does not give."""

    fourcc: str | None = None
    size: tuple[int, int] | None = None
    fps: float | None = None


@dataclass(frozen=True, slots=True)
class NegotiatedFormat:
    """Format that the driver will deliver. ``stride``: bytes per row. ``fps``: None if the driver does not report
    it."""

    format: PixelFormat
    width: int
    height: int
    stride: int
    image_bytes: int
    fps: float | None


def negotiate(node: Node, wanted: FormatRequest, modality: Modality) -> NegotiatedFormat:
    """Negotiate a format with a camera and set it.

    Raises:
        CameraUnsupported: no offered format fits. The message lists the offered formats.
        CameraBusy: another program streams from the camera. CameraLost: the camera is gone.
        CameraData: the driver's answers contradict each other.
    """
    offered = node.formats()
    format = _format(node, wanted, modality, offered)
    sizes = next((o.sizes for o in offered if o.name == format.name), ())
    width, height = wanted.size or _usual_size(sizes)
    answer = abi.Format(type=abi.BUF_VIDEO)
    answer.fmt.pix.width, answer.fmt.pix.height = width, height
    answer.fmt.pix.pixelformat, answer.fmt.pix.field = abi.fourcc(format.name), abi.FIELD_NONE
    try:
        node.kernel.ioctl(node.fd, abi.S_FMT, answer)
    except OSError as error:
        if error.errno == errno.EBUSY:
            raise node.busy() from error
        if error.errno in DEVICE_GONE_ERRNOS:
            raise CameraLost(f"{node.name}: the camera went away while its format was set.") from error
        raise CameraUnsupported(
            f"{node.name} refused {format.name} {width}x{height} ({error.strerror}). {_sizes(format, sizes)}"
        ) from error
    pix = answer.fmt.pix
    if abi.fourcc_name(pix.pixelformat) != format.name:
        raise CameraUnsupported(
            f"{node.name} replaced {format.name} by {abi.fourcc_name(pix.pixelformat)}. {_offers(offered)}"
        )
    if wanted.size is not None and (pix.width, pix.height) != wanted.size:
        raise CameraUnsupported(
            f"{node.name} has no {format.name} of {width}x{height}; the nearest is {pix.width}x{pix.height}. "
            f"{_sizes(format, sizes)}"
        )
    if pix.field not in (abi.FIELD_ANY, abi.FIELD_NONE):
        raise CameraUnsupported(f"{node.name} delivers interlaced fields, whose halves show two moments.")
    _plausible(node, format, pix)
    fps = _rate(node, wanted.fps, sizes)
    return NegotiatedFormat(format, pix.width, pix.height, pix.bytesperline, pix.sizeimage, fps)


def _format(node: Node, wanted: FormatRequest, modality: Modality, offered: tuple[OfferedFormat, ...]) -> PixelFormat:
    names = [o.name for o in offered]
    if wanted.fourcc is None:
        for name in PREFERRED[modality]:
            if name in names:
                return FORMATS[name]
        raise CameraUnsupported(
            f"{node.name} has no format for {modality}; it needs one of {', '.join(PREFERRED[modality])}. "
            f"{_offers(offered)}"
        )
    name = ALIASES.get(wanted.fourcc.upper(), wanted.fourcc.upper())
    if name not in FORMATS:
        raise CameraUnsupported(
            f"{node.name}: unsupported pixel format {wanted.fourcc}; use {', '.join(FORMATS)}. {_offers(offered)}"
        )
    if name not in PREFERRED[modality]:
        raise CameraUnsupported(
            f"{node.name}: {name} does not give {modality}; use {', '.join(PREFERRED[modality])}. {_offers(offered)}"
        )
    if name not in names:
        raise CameraUnsupported(f"{node.name} has no {name}. {_offers(offered)}")
    return FORMATS[name]


def _usual_size(sizes: tuple[OfferedSize, ...]) -> tuple[int, int]:
    """Return the smallest size of at least VGA, or the largest one if all are smaller."""
    by_area = sorted(sizes, key=lambda s: s.width * s.height)
    enough = [s for s in by_area if s.width >= DEFAULT_SIZE[0] and s.height >= DEFAULT_SIZE[1]]
    if enough:
        return enough[0].width, enough[0].height
    return (by_area[-1].width, by_area[-1].height) if by_area else DEFAULT_SIZE


def _plausible(node: Node, format: PixelFormat, pix: abi.PixFormat) -> None:
    if pix.width == 0 or pix.height == 0 or pix.width > 16384 or pix.height > 16384:
        raise CameraData(f"{node.name}: the driver reports an image size of {pix.width}×{pix.height}.")
    if format.kind == "planar" and (pix.width % 2 or pix.height % 2):
        raise CameraUnsupported(f"{node.name}: odd sizes of {format.name} are unsupported: {pix.width}×{pix.height}.")
    if format.kind != "jpeg" and pix.bytesperline and pix.bytesperline < pix.width * format.bytes:
        raise CameraData(
            f"{node.name}: the driver reports rows of {pix.bytesperline} bytes, too few for {pix.width} pixels of "
            f"{format.name}."
        )


def _rate(node: Node, wanted: float | None, sizes: tuple[OfferedSize, ...]) -> float | None:
    parm = abi.StreamParm(type=abi.BUF_VIDEO)
    try:
        node.kernel.ioctl(node.fd, abi.G_PARM, parm)
        if parm.parm.capture.capability & abi.CAP_TIMEPERFRAME:
            interval = parm.parm.capture.timeperframe
            interval.numerator, interval.denominator = 1000, round((wanted or DEFAULT_FPS) * 1000)
            node.kernel.ioctl(node.fd, abi.S_PARM, parm)
    except OSError as error:
        if error.errno in DEVICE_GONE_ERRNOS:
            raise CameraLost(f"{node.name}: the camera went away while its frame rate was set.") from error
        if error.errno == errno.EBUSY:
            raise node.busy() from error
        if wanted is not None:
            raise CameraUnsupported(
                f"{node.name}: the driver does not let programs choose the frame rate; leave fps out."
            ) from error
        return None
    interval = parm.parm.capture.timeperframe
    actual = interval.denominator / interval.numerator if interval.numerator and interval.denominator else None
    if wanted is not None and (actual is None or abs(actual - wanted) > FPS_TOLERANCE * wanted):
        rates = sorted({r for s in sizes for r in s.rates}, reverse=True)
        listed = f" It offers {', '.join(f'{r:g}' for r in rates)} frames/s." if rates else ""
        got = f"{actual:g}" if actual else "an unknown number of"
        raise CameraUnsupported(f"{node.name} delivers {got} frames/s instead of fps={wanted:g}.{listed}")
    return round(actual, 3) if actual else None


def _offers(offered: tuple[OfferedFormat, ...]) -> str:
    names = ", ".join(o.name for o in offered)
    return f"It offers {names}; adsn-rig list shows their sizes." if names else "It offers no formats."


def _sizes(format: PixelFormat, sizes: tuple[OfferedSize, ...]) -> str:
    listed = ", ".join(map(str, sizes))
    return f"It offers {format.name} as {listed} (frames/s)." if listed else "The driver does not list its sizes."
