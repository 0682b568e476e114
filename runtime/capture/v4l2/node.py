"""An open video node of the kernel: its kind and formats, and the errors that its system calls mean."""

from __future__ import annotations

import contextlib
import ctypes
import errno
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeVar

from runtime.capture.v4l2 import abi
from runtime.capture.v4l2.kernel import Kernel
from runtime.core.errors import CameraBusy, CameraDenied, CameraLost, CameraMissing, CameraUnsupported, CaptureError

Structure = TypeVar("Structure", bound=ctypes.Structure)
NodeKind = Literal["video", "metadata", "multiplanar", "other"]

COMMON_SIZES = ((320, 240), (640, 360), (640, 400), (640, 480), (800, 600), (1280, 720), (1280, 800), (1920, 1080))
"""Sizes listed for a camera that supports any size in a range."""
MAX_LISTED = 256
"""Maximum number of entries read from a list of the driver, in case the list never ends. No camera offers more."""
NO_NODES = "This machine has no video nodes: no camera is attached, or its driver is missing."
DEVICE_GONE_ERRNOS = (errno.ENODEV, errno.ENXIO)


@dataclass(frozen=True, slots=True)
class OfferedSize:
    """An image size of a pixel format, with its frame rates, fastest first. The rates are empty if the driver does not
    list them."""

    width: int
    height: int
    rates: tuple[float, ...] = ()

    def __str__(self) -> str:
        rates = "/".join(f"{r:g}" for r in self.rates)
        return f"{self.width}x{self.height}" + (f"@{rates}" if rates else "")


@dataclass(frozen=True, slots=True)
class OfferedFormat:
    """A pixel format of a camera. ``name``: its fourcc without padding."""

    name: str
    description: str
    sizes: tuple[OfferedSize, ...] = ()

    def __str__(self) -> str:
        return f"{self.name} {' '.join(map(str, self.sizes))}".rstrip()


class Node:
    """An open node. ``name``: its name in messages.

    Raises (when opened):
        CameraMissing, CameraDenied, CameraBusy: the node cannot be opened.
        CameraUnsupported: the node is not a Video4Linux2 node.
    """

    def __init__(self, kernel: Kernel, path: str) -> None:
        self.kernel, self.path = kernel, path
        try:
            self.fd = kernel.open(path)
        except OSError as error:
            raise _not_opened(kernel, path, error) from error
        capability = abi.Capability()
        try:
            kernel.ioctl(self.fd, abi.QUERYCAP, capability)
        except OSError as error:
            kernel.close(self.fd)
            if error.errno in DEVICE_GONE_ERRNOS:
                raise _not_opened(kernel, path, error) from error
            raise CameraUnsupported(
                f"{path} is not a Video4Linux2 camera ({error.strerror}). {available_nodes(kernel)}"
            ) from error
        self.card = capability.card.decode("utf-8", "replace")
        self.driver = capability.driver.decode("utf-8", "replace")
        self.bus = capability.bus_info.decode("utf-8", "replace")
        # Use the capabilities of this node. According to those of the whole device, metadata nodes would deliver
        # images.
        has_own = capability.capabilities & abi.CAP_DEVICE_CAPS
        self.capabilities: int = capability.device_caps if has_own else capability.capabilities
        self.name = f"{path} ({self.card})" if self.card else path

    @property
    def kind(self) -> NodeKind:
        if self.capabilities & (abi.CAP_VIDEO_M2M | abi.CAP_VIDEO_M2M_MPLANE):
            return "other"
        if self.capabilities & abi.CAP_VIDEO_CAPTURE:
            return "video"
        if self.capabilities & abi.CAP_META_CAPTURE:
            return "metadata"
        return "multiplanar" if self.capabilities & abi.CAP_VIDEO_CAPTURE_MPLANE else "other"

    @property
    def streams(self) -> bool:
        return bool(self.capabilities & abi.CAP_STREAMING)

    def formats(self, type: int = abi.BUF_VIDEO, *, sizes: bool = True) -> tuple[OfferedFormat, ...]:
        """Return the pixel formats, with their sizes and rates unless ``sizes`` is off."""
        listed = []
        for entry in self._list(abi.ENUM_FMT, lambda index: abi.FmtDesc(index=index, type=type)):
            offered = tuple(self._sizes(entry.pixelformat)) if sizes else ()
            description = entry.description.decode("utf-8", "replace")
            listed.append(OfferedFormat(abi.fourcc_name(entry.pixelformat), description, offered))
        return tuple(listed)

    def _sizes(self, pixelformat: int) -> Iterator[OfferedSize]:
        for entry in self._list(abi.ENUM_FRAMESIZES, lambda i: abi.FrmSize(index=i, pixel_format=pixelformat)):
            low_w, high_w, _, low_h, high_h, _ = entry.size
            if entry.type == abi.SIZE_DISCRETE:
                low_h = entry.size[1]
                yield OfferedSize(low_w, low_h, self._rates(pixelformat, low_w, low_h))
                continue
            within = [(w, h) for w, h in COMMON_SIZES if low_w <= w <= high_w and low_h <= h <= high_h]
            for width, height in dict.fromkeys([*within, (high_w, high_h)]):
                yield OfferedSize(width, height, self._rates(pixelformat, width, height))
            return

    def _rates(self, pixelformat: int, width: int, height: int) -> tuple[float, ...]:
        rates = set()

        def query(index: int) -> abi.FrmIval:
            return abi.FrmIval(index=index, pixel_format=pixelformat, width=width, height=height)

        for entry in self._list(abi.ENUM_FRAMEINTERVALS, query):
            discrete = entry.type == abi.SIZE_DISCRETE
            for interval in entry.ival[:1] if discrete else entry.ival[:2]:
                if interval.numerator and interval.denominator:
                    rates.add(round(interval.denominator / interval.numerator, 3))
            if not discrete:
                break
        return tuple(sorted(rates, reverse=True))

    def _list(self, request: int, query: Callable[[int], Structure]) -> Iterator[Structure]:
        for index in range(MAX_LISTED):
            entry = query(index)
            try:
                self.kernel.ioctl(self.fd, request, entry)
            except OSError as error:
                if error.errno in DEVICE_GONE_ERRNOS:
                    raise CameraLost(f"{self.name}: the camera went away while its formats were read.") from error
                return
            yield entry

    def busy(self) -> CameraBusy:
        """Return the error for a camera that another program is reading."""
        holders = self.kernel.holders(self.path)
        who = f" by {', '.join(holders)}" if holders else ""
        return CameraBusy(
            f"{self.name} is in use{who}. A camera streams to one program at a time: end the other one, perhaps a "
            f"browser, a login service or a second kiosk."
        )

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.kernel.close(self.fd)


def identity_of(kernel: Kernel, node: Node) -> tuple[str, str, str]:
    """Return the names of a camera that survive renumbering: (identity, by-id link, by-path link).

    The identity is the by-id link, which consists of vendor, model and serial number. If several nodes may share that
    link, the identity is the by-path link (USB port). They may share it because cameras of one model often have the
    same serial number or none, and the RGB and IR cameras in one housing share a serial number.
    """
    real = kernel.realpath(node.path)
    links = {}
    for folder in ("by-id", "by-path"):
        names = [name for name, target in kernel.links(f"/dev/v4l/{folder}").items() if target == real]
        links[folder] = names[0] if names else ""
    twins = 0
    # Opening a node wakes up its camera, so open nodes only if the result matters.
    for path in kernel.nodes() if links["by-id"] else ():
        if path == real:
            continue
        with contextlib.suppress(CaptureError):
            other = Node(kernel, path)
            twins += other.kind == node.kind and (other.card == node.card or other.bus == node.bus)
            other.close()
    chosen = links["by-path"] or links["by-id"] if twins else links["by-id"] or links["by-path"]
    return chosen or f"{node.driver}:{node.card}:{node.bus}", links["by-id"], links["by-path"]


def available_nodes(kernel: Kernel) -> str:
    """Return a sentence that lists the existing video nodes."""
    nodes = kernel.nodes()
    return f"Existing nodes: {', '.join(nodes)}; adsn-rig list describes them." if nodes else NO_NODES


def _not_opened(kernel: Kernel, path: str, error: OSError) -> CaptureError:
    if error.errno in (errno.ENOENT, *DEVICE_GONE_ERRNOS, errno.ENOTDIR):
        return CameraMissing(f"{path} does not exist or has no camera behind it. {available_nodes(kernel)}")
    if error.errno in (errno.EACCES, errno.EPERM):
        group = kernel.group_of(path)
        return CameraDenied(
            f"{path} may not be opened by this user. It belongs to the group {group}: add the user to it "
            f"(usermod -aG {group} USER, then log in again), name the group in the service's unit, or pass the device "
            f"to the container (--device {path})."
        )
    if error.errno == errno.EBUSY:
        return CameraBusy(f"{path} is in use by another program; end that program first.")
    return CameraMissing(f"{path} could not be opened ({error.strerror}). {available_nodes(kernel)}")
