"""One video node of the kernel, open: what it is, what it offers, and what its errors mean."""

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
"""Sizes named of a camera that takes any in a range."""
MAX_LISTED = 256
"""No camera offers more of anything; a driver that does not end its lists is not followed further."""
NO_NODES = "There is no video node on this machine at all: no camera is attached, or its driver is missing."
DEVICE_GONE_ERRNOS = (errno.ENODEV, errno.ENXIO)


@dataclass(frozen=True, slots=True)
class OfferedSize:
    """A size of a pixel format, and the frame rates it comes at, fastest first; none where the driver does not say."""

    width: int
    height: int
    rates: tuple[float, ...] = ()

    def __str__(self) -> str:
        rates = "/".join(f"{r:g}" for r in self.rates)
        return f"{self.width}x{self.height}" + (f"@{rates}" if rates else "")


@dataclass(frozen=True, slots=True)
class OfferedFormat:
    """A pixel format of a camera. ``name``: its fourcc without filling blanks."""

    name: str
    description: str
    sizes: tuple[OfferedSize, ...] = ()

    def __str__(self) -> str:
        return f"{self.name} {' '.join(map(str, self.sizes))}".rstrip()


class Node:
    """An open node. ``name`` is what messages call it.

    Raises (when opened):
        CameraMissing, CameraDenied, CameraBusy: why it could not be opened.
        CameraUnsupported: it is no node of Video4Linux2.
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
                f"{path} is no camera of Video4Linux2 ({error.strerror}). {available_nodes(kernel)}"
            ) from error
        self.card = capability.card.decode("utf-8", "replace")
        self.driver = capability.driver.decode("utf-8", "replace")
        self.bus = capability.bus_info.decode("utf-8", "replace")
        # A device's union of capabilities is of no use: metadata nodes would claim to give pictures.
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
        """Pixel formats, with sizes and rates unless ``sizes`` is off."""
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
                    raise CameraLost(f"{self.name}: the camera went away while it was asked what it offers.") from error
                return
            yield entry

    def busy(self) -> CameraBusy:
        """The error for a camera that another program reads."""
        holders = self.kernel.holders(self.path)
        who = f" by {', '.join(holders)}" if holders else ""
        return CameraBusy(
            f"{self.name} is in use{who}. A camera streams to one program at a time: end the other one, a browser, "
            f"a login service or a second kiosk perhaps."
        )

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.kernel.close(self.fd)


def identity_of(kernel: Kernel, node: Node) -> tuple[str, str, str]:
    """What a camera is called however the nodes are numbered: (identity, by-id link, by-path link).

    The identity is the link by vendor, model and serial number. Where that may mean several nodes, it is the link by
    socket: cameras of one model often have the same serial number or none, and colour and infrared in one housing have
    one together.
    """
    real = kernel.realpath(node.path)
    links = {}
    for folder in ("by-id", "by-path"):
        names = [name for name, target in kernel.links(f"/dev/v4l/{folder}").items() if target == real]
        links[folder] = names[0] if names else ""
    twins = 0
    # Opening a camera's node wakes the camera, so it is done only where the answer matters.
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
    """A sentence on which video nodes exist."""
    nodes = kernel.nodes()
    return f"There are {', '.join(nodes)}; adsn-rig list tells what they are." if nodes else NO_NODES


def _not_opened(kernel: Kernel, path: str, error: OSError) -> CaptureError:
    if error.errno in (errno.ENOENT, *DEVICE_GONE_ERRNOS, errno.ENOTDIR):
        return CameraMissing(f"{path} does not exist or has no camera behind it. {available_nodes(kernel)}")
    if error.errno in (errno.EACCES, errno.EPERM):
        group = kernel.group_of(path)
        return CameraDenied(
            f"{path} may not be opened by this user. It belongs to the group {group}: add the user to it "
            f"(usermod -aG {group} USER, then log in again), name the group in the service's unit, or give the device "
            f"to the container (--device {path})."
        )
    if error.errno == errno.EBUSY:
        return CameraBusy(f"{path} is in use by another program, which has to end first.")
    return CameraMissing(f"{path} could not be opened ({error.strerror}). {available_nodes(kernel)}")
