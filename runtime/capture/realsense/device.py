"""Drive one RealSense device through its library: find it, start streams, poll framesets, stop."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from runtime.core.errors import (
    CameraBusy,
    CameraDenied,
    CameraLost,
    CameraMissing,
    CameraUnsupported,
    CaptureError,
    ConfigError,
)
from runtime.core.values import Modality

STEP_MS = 100
ABSENT_S = 1.0
"""Time in seconds without a frame after which the USB bus is checked for the camera, because the library does not
report unplugging."""
Emitter = Literal["leave", "on", "off", "alternate"]
EMITTERS: tuple[Emitter, ...] = ("leave", "on", "off", "alternate")


@dataclass(frozen=True, slots=True)
class StreamRequest:
    """Stream requested by one source.

    ``index``: IR imager: 1 left, 2 right; 0 for other streams. ``align``: whether to map depth into the image of the
    RGB camera.
    """

    modality: Modality
    size: tuple[int, int]
    fps: int
    index: int
    emitter: Emitter
    align: bool


class DeviceDriver(Protocol):
    """The part of the library that the hub uses. Tests implement it with one of the library's simulated devices."""

    serial: str
    unit_mm: float

    def start(self, streams: Mapping[Modality, StreamRequest]) -> None: ...

    def poll(self) -> Any | None:
        """Return the next frameset, or None if none came within `STEP_MS`."""
        ...

    def stop(self) -> None: ...


def import_realsense() -> Any:
    """Return the module pyrealsense2.

    Raises:
        CameraUnsupported: pyrealsense2 or a library that it needs is not installed.
    """
    try:
        import pyrealsense2
    except ImportError as error:
        raise CameraUnsupported(
            f"RealSense cameras need pyrealsense2 (pip install 'adsn[realsense]') and the system's libusb "
            f"(apt install libusb-1.0-0): {error}."
        ) from error
    return pyrealsense2


class PipelineDriver:
    """`DeviceDriver` of a real device, given by its serial number. An empty number means the only device attached.

    Raises:
        CameraMissing: there is no such device. ConfigError: several devices are attached and the address does not name
            one.
    """

    def __init__(self, rs: Any, serial: str, name: str) -> None:
        self._rs, self._name, self._context = rs, name, rs.context()
        serials = self._serials()
        if serial and serial not in serials:
            there = f"attached: {', '.join(serials)}" if serials else "no RealSense is attached"
            raise CameraMissing(f"{name}: no RealSense has this serial number; {there}.")
        if not serials:
            raise CameraMissing(f"{name}: no RealSense is attached, or this user may not open its USB device.")
        if not serial and len(serials) > 1:
            raise ConfigError(f"{name}: several RealSense are attached; name one of {', '.join(serials)}.")
        self.serial = serial or serials[0]
        self.unit_mm = 1.0
        self._pipeline: Any = None
        self._heard = 0.0

    def _serials(self) -> list[str]:
        info = self._rs.camera_info.serial_number
        return [d.get_info(info) for d in self._context.query_devices() if d.supports(info)]

    def start(self, streams: Mapping[Modality, StreamRequest]) -> None:
        rs = self._rs
        if self.serial not in self._serials():
            raise CameraMissing(f"{self._name}: the camera {self.serial} is no longer attached.")
        formats = {"rgb": (rs.stream.color, rs.format.rgb8), "ir": (rs.stream.infrared, rs.format.y8)}
        config = rs.config()
        config.enable_device(self.serial)
        for modality, wanted in streams.items():
            stream, format = formats.get(modality, (rs.stream.depth, rs.format.z16))
            config.enable_stream(stream, wanted.index, *wanted.size, format, wanted.fps)
        self._pipeline = rs.pipeline(self._context)
        try:
            profile = self._pipeline.start(config)
        except RuntimeError as error:
            raise refused(self._name, error, streams) from error
        self._heard = time.monotonic()
        emitter = next((w.emitter for w in streams.values() if w.emitter != "leave"), "leave")
        for sensor in profile.get_device().query_sensors():
            self._set(sensor, rs.option.global_time_enabled, 1)
            if sensor.is_depth_sensor():
                self.unit_mm = sensor.as_depth_sensor().get_depth_scale() * 1000
                if emitter != "leave":
                    self._set(sensor, rs.option.emitter_enabled, float(emitter != "off"))
                    self._set(sensor, rs.option.emitter_on_off, float(emitter == "alternate"))

    def _set(self, sensor: Any, option: Any, value: float) -> None:
        if sensor.supports(option) and not sensor.is_option_read_only(option):
            sensor.set_option(option, value)

    def poll(self) -> Any | None:
        came, frames = self._pipeline.try_wait_for_frames(STEP_MS)
        now = time.monotonic()
        if came:
            self._heard = now
            return frames
        if now - self._heard > ABSENT_S:
            self._heard = now
            if self.serial not in self._serials():
                raise CameraLost(f"{self._name}: the camera was unplugged.")
        return None

    def stop(self) -> None:
        if self._pipeline is not None:
            self._pipeline.stop()
            self._pipeline = None


def refused(name: str, error: RuntimeError, streams: Mapping[Modality, StreamRequest]) -> CaptureError:
    """Return the error to raise when the library has refused to start ``streams``."""
    said, asked = str(error), ", ".join(f"{m} {w.size[0]}x{w.size[1]}@{w.fps}" for m, w in streams.items())
    if "resolve" in said:
        return CameraUnsupported(f"{name}: the camera cannot stream {asked} together ({said}).")
    if "ermission" in said or "ACCESS" in said:
        return CameraDenied(f"{name}: no permission ({said}); install librealsense's udev rules.")
    if "busy" in said.lower():
        return CameraBusy(f"{name}: another program uses the camera ({said}).")
    return CameraLost(f"{name}: the camera did not start ({said}).")
