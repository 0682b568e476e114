"""Standard controls of a camera: exposure, gain and others that keep the frame rate and brightness steady.

Only controls documented by the kernel are written. Vendor extension units, which control some IR illuminators, are
never touched: wrong values have permanently disabled cameras (see docs/cameras.md).
"""

from __future__ import annotations

import errno
import logging
from dataclasses import dataclass
from typing import ClassVar

from runtime.capture.uri import CameraUri
from runtime.capture.v4l2 import abi
from runtime.capture.v4l2.kernel import Kernel
from runtime.core.errors import CameraBusy, CameraLost, CameraUnsupported

log = logging.getLogger(__name__)

POWER_LINE = {"off": 0, "50": 1, "60": 2, "auto": 3}
REFRESH_NS = 1_000_000_000
"""Interval at which an automatic exposure is read. Each read is a transfer on the camera's bus."""


@dataclass(frozen=True, slots=True)
class ControlSettings:
    """Controls given in an address. None leaves the camera's value unchanged.

    ``exposure_ms``: manual exposure, or ``"auto"``. ``dynamic_framerate``: whether automatic exposure may lower the
    frame rate in the dark. Off by default, because it breaks pairing.
    """

    exposure_ms: float | str | None = None
    gain: int | str | None = None
    backlight: int | None = None
    brightness: int | None = None
    power_line: str | None = None
    dynamic_framerate: bool = False

    OPTIONS: ClassVar[tuple[str, ...]] = (
        "exposure",
        "gain",
        "backlight",
        "brightness",
        "power_line",
        "dynamic_framerate",
    )

    @classmethod
    def of(cls, uri: CameraUri) -> ControlSettings:
        """Parse the controls in an address.

        Raises:
            ConfigError: a value is invalid.
        """

        def number(name: str) -> int | None:
            return uri.integer(name, 0) if name in uri.options else None

        exposure: float | str | None = None
        if "exposure" in uri.options:
            automatic = uri.options["exposure"] == "auto"
            exposure = "auto" if automatic else uri.number("exposure", 0, 0.1, 10_000)
        return cls(
            exposure_ms=exposure,
            gain="auto" if uri.options.get("gain") == "auto" else number("gain"),
            backlight=number("backlight"),
            brightness=number("brightness"),
            power_line=uri.choice("power_line", tuple(POWER_LINE), "off") if "power_line" in uri.options else None,
            dynamic_framerate=uri.flag("dynamic_framerate"),
        )


class Controls:
    """Access to the standard controls of one open node."""

    def __init__(self, kernel: Kernel, fd: int, name: str) -> None:
        self._kernel, self._fd, self._name = kernel, fd, name

    def query(self, control: int) -> abi.QueryCtrl | None:
        """Return a control's range and flags; None if the camera has no such control."""
        found = abi.QueryCtrl(id=control)
        try:
            self._kernel.ioctl(self._fd, abi.QUERYCTRL, found)
        except OSError as error:
            if error.errno in (errno.ENODEV, errno.ENXIO):
                raise CameraLost(f"{self._name}: the camera went away while its controls were read.") from error
            return None
        return None if found.flags & abi.CTRL_DISABLED else found

    def get(self, control: int) -> int | None:
        """Return a control's value; None if it cannot be read at the moment."""
        found = abi.Control(id=control)
        try:
            self._kernel.ioctl(self._fd, abi.G_CTRL, found)
        except OSError:
            return None
        return int(found.value)

    def set(self, control: int, value: int, option: str) -> None:
        """Write a control. ``option``: its name in the address, for messages.

        Raises:
            CameraUnsupported: the camera has no such control or does not accept this value.
            CameraBusy: another program holds the control. CameraLost: the camera is gone.
        """
        found = self.query(control)
        if found is None or found.flags & abi.CTRL_READ_ONLY:
            raise CameraUnsupported(
                f"{self._name}: this camera has no writable control for {option}. Leave the option out."
            )
        if not found.minimum <= value <= found.maximum:
            raise CameraUnsupported(
                f"{self._name}: {option} means the value {value}, but this camera takes {found.minimum} to "
                f"{found.maximum} (default {found.default_value})."
            )
        try:
            self._kernel.ioctl(self._fd, abi.S_CTRL, abi.Control(id=control, value=value))
        except OSError as error:
            if error.errno in (errno.ENODEV, errno.ENXIO):
                raise CameraLost(f"{self._name}: the camera went away while {option} was set.") from error
            if error.errno == errno.EBUSY:
                raise CameraBusy(
                    f"{self._name}: {option} cannot be set while another program uses the camera."
                ) from error
            raise CameraUnsupported(f"{self._name}: the camera refused {option} ({error.strerror}).") from error

    def menu(self, control: int) -> frozenset[int]:
        """Return the choices of a menu control."""
        found = self.query(control)
        if found is None:
            return frozenset()
        if found.type not in (abi.CTRL_MENU, abi.CTRL_INTEGER_MENU):
            return frozenset(range(found.minimum, found.maximum + 1))
        choices = set()
        for index in range(found.minimum, min(found.maximum, found.minimum + 64) + 1):
            try:
                self._kernel.ioctl(self._fd, abi.QUERYMENU, abi.QueryMenu(id=control, index=index))
            except OSError:
                continue
            choices.add(index)
        return frozenset(choices)

    def apply(self, wanted: ControlSettings) -> None:
        """Write the requested controls, and prevent the camera from lowering the frame rate unless that is requested.

        Raises:
            CameraUnsupported, CameraBusy, CameraLost: see `set`.
        """
        self._exposure(wanted)
        if wanted.gain == "auto":
            self.set(abi.CID_AUTOGAIN, 1, "gain=auto")
        elif isinstance(wanted.gain, int):
            if self.query(abi.CID_AUTOGAIN) is not None:
                self.set(abi.CID_AUTOGAIN, 0, f"gain={wanted.gain}")
            self.set(abi.CID_GAIN, wanted.gain, f"gain={wanted.gain}")
        if wanted.backlight is not None:
            self.set(abi.CID_BACKLIGHT, wanted.backlight, f"backlight={wanted.backlight}")
        if wanted.brightness is not None:
            self.set(abi.CID_BRIGHTNESS, wanted.brightness, f"brightness={wanted.brightness}")
        if wanted.power_line is not None:
            self.set(abi.CID_POWER_LINE, POWER_LINE[wanted.power_line], f"power_line={wanted.power_line}")
        self._steady_rate(wanted.dynamic_framerate)
        if self.query(abi.CID_PRIVACY) is not None and self.get(abi.CID_PRIVACY) == 1:
            log.warning("%s: the camera's privacy shutter is closed; its images are blank.", self._name)

    def _exposure(self, wanted: ControlSettings) -> None:
        if wanted.exposure_ms is None:
            return
        option = f"exposure={wanted.exposure_ms}"
        choices = self.menu(abi.CID_EXPOSURE_AUTO)
        if wanted.exposure_ms == "auto":
            # USB cameras have the mode "aperture priority", which adjusts only the exposure time. Others have "auto".
            mode = abi.EXPOSURE_AUTO
            if abi.EXPOSURE_APERTURE_PRIORITY in choices:
                mode = abi.EXPOSURE_APERTURE_PRIORITY
            self.set(abi.CID_EXPOSURE_AUTO, mode, option)
            return
        if abi.EXPOSURE_MANUAL in choices:
            self.set(abi.CID_EXPOSURE_AUTO, abi.EXPOSURE_MANUAL, option)
        self.set(abi.CID_EXPOSURE_ABSOLUTE, round(float(wanted.exposure_ms) * 10), option)

    def _steady_rate(self, dynamic: bool) -> None:
        found = self.query(abi.CID_EXPOSURE_PRIORITY)
        if found is None or found.flags & abi.CTRL_READ_ONLY:
            return
        try:
            self.set(abi.CID_EXPOSURE_PRIORITY, int(dynamic), f"dynamic_framerate={int(dynamic)}")
        except (CameraUnsupported, CameraBusy) as error:
            # The user did not request this setting, so its failure is only a warning.
            log.warning("%s Its frame rate may halve in the dark, and then few pairs are formed.", error.message)


class ExposureReading:
    """Exposure time reported by a camera, if the report can be trusted.

    A manual exposure is trusted. An automatic exposure is trusted only if the driver declares that the value changes by
    itself, or if it has changed before: many cameras keep reporting the last manual value. A value longer than the
    frame period is never trusted.
    """

    def __init__(self, controls: Controls, period_ns: int | None) -> None:
        self._controls, self._period = controls, period_ns
        found = controls.query(abi.CID_EXPOSURE_ABSOLUTE)
        self._readable = found is not None
        # Without this control the exposure is manual.
        automatic = controls.query(abi.CID_EXPOSURE_AUTO) is not None
        self._manual = not automatic or controls.get(abi.CID_EXPOSURE_AUTO) == abi.EXPOSURE_MANUAL
        self._alive = found is not None and bool(found.flags & abi.CTRL_VOLATILE)
        self._first: int | None = None
        self._value: int | None = None
        self._next_ns: int | None = None

    def at(self, now_ns: int) -> int | None:
        """Return the exposure in ns at a time of CLOCK_MONOTONIC; None if it is unknown."""
        if not self._readable:
            return None
        if self._next_ns is None or (now_ns >= self._next_ns and not self._manual):
            self._next_ns = now_ns + REFRESH_NS
            self._value = self._controls.get(abi.CID_EXPOSURE_ABSOLUTE)
            if self._first is None:
                self._first = self._value
            elif self._value is not None and self._value != self._first:
                self._alive = True
        if self._value is None or self._value <= 0 or not (self._manual or self._alive):
            return None
        exposure_ns = self._value * 100_000
        # The value has steps of 100 µs, so an exposure of a full period may be rounded up.
        return None if self._period is not None and exposure_ns > self._period + 100_000 else exposure_ns
