"""Intel RealSense cameras by pyrealsense2: colour, infrared and depth of one device, each a source of its own.

The streams of a device run in one pipeline, so sources of the same serial number share a hub. A stream that joins later
makes the pipeline start anew with it, which the others notice as a short gap.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from runtime.cameras.base import SourceInfo
from runtime.cameras.mailbox import Mailbox
from runtime.cameras.pump import CLOSE_S, Pump, lost
from runtime.cameras.realsense_frames import FrameReader
from runtime.cameras.uri import CameraUri
from runtime.errors import (
    CameraBusy,
    CameraData,
    CameraDenied,
    CameraLost,
    CameraMissing,
    CameraUnsupported,
    CaptureError,
    ConfigError,
)
from runtime.values import Frame, Modality

log = logging.getLogger(__name__)

OPTIONS = ("size", "fps", "ir", "emitter", "align")
STEP_MS = 100
ABSENT_S = 1.0
"""After this long without a frame the bus is asked whether the camera is still there: the library does not say."""
Emitter = Literal["leave", "on", "off", "alternate"]
EMITTERS: tuple[Emitter, ...] = ("leave", "on", "off", "alternate")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What one source asks of its stream. ``index``: which infrared imager, 1 left or 2 right, 0 for other streams.
    ``align``: move depth into the colour camera's picture."""

    modality: Modality
    size: tuple[int, int]
    fps: int
    index: int
    emitter: Emitter
    align: bool


class Driver(Protocol):
    """What the hub asks of the library; the tests put a simulated device of the library's own behind it."""

    unit_mm: float

    def start(self, streams: Mapping[Modality, Wanted]) -> None: ...

    def poll(self) -> Any | None:
        """The next frameset, None when none came within `STEP_MS`."""
        ...

    def stop(self) -> None: ...


def import_realsense() -> Any:
    """The module pyrealsense2.

    Raises:
        CameraUnsupported: it is not installed, or a library that it needs is not.
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
    """A real device, by its serial number; empty for the only one there is.

    Raises:
        CameraMissing: no such device. ConfigError: there are several and none is named.
    """

    def __init__(self, rs: Any, serial: str, name: str) -> None:
        self._rs, self._name, self._context = rs, name, rs.context()
        serials = self._serials()
        if serial and serial not in serials:
            there = f"there are {', '.join(serials)}" if serials else "there is none"
            raise CameraMissing(f"{name}: no RealSense of this serial number is attached; {there}.")
        if not serials:
            raise CameraMissing(f"{name}: no RealSense is attached, or its USB device may not be opened.")
        if not serial and len(serials) > 1:
            raise ConfigError(f"{name}: several RealSense are attached; name one of {', '.join(serials)}.")
        self.serial = serial or serials[0]
        self.unit_mm = 1.0
        self._pipeline: Any = None
        self._heard = 0.0

    def _serials(self) -> list[str]:
        info = self._rs.camera_info.serial_number
        return [d.get_info(info) for d in self._context.query_devices() if d.supports(info)]

    def start(self, streams: Mapping[Modality, Wanted]) -> None:
        rs = self._rs
        if self.serial not in self._serials():
            raise CameraMissing(f"{self._name}: the camera {self.serial} is not attached any more.")
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
            raise self._refused(error, streams) from error
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

    def _refused(self, error: RuntimeError, streams: Mapping[Modality, Wanted]) -> CaptureError:
        said, asked = str(error), ", ".join(f"{m} {w.size[0]}x{w.size[1]}@{w.fps}" for m, w in streams.items())
        if "resolve" in said:
            return CameraUnsupported(f"{self._name}: the camera has no {asked} together ({said}).")
        if "ermission" in said or "ACCESS" in said:
            return CameraDenied(f"{self._name}: no permission ({said}); install librealsense's udev rules.")
        if "busy" in said.lower():
            return CameraBusy(f"{self._name}: another program uses the camera ({said}).")
        return CameraLost(f"{self._name}: the camera did not start ({said}).")

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


class _Member:
    def __init__(self, wanted: Wanted, reader: Callable[[float], FrameReader], name: str) -> None:
        self.wanted, self.make_reader = wanted, reader
        self.reader: FrameReader | None = None
        self.box: Mailbox[Frame] = Mailbox(name)


class Hub:
    """One device's streams. All of it may be called from any thread."""

    def __init__(self, rs: Any, driver: Driver, name: str) -> None:
        self._rs, self._driver, self._name = rs, driver, name
        self._lock = threading.Lock()
        self._members: dict[Modality, _Member] = {}
        self._pump: Pump[None] | None = None
        self._align = rs.align(rs.stream.color)

    def join(self, wanted: Wanted, reader: Callable[[float], FrameReader]) -> Mailbox[Frame]:
        """Add a stream, and start the device with it. What fails leaves the others as they were.

        Raises:
            CameraBusy: this stream is open already. ConfigError: the emitter is asked for twice, and differently.
            CaptureError: the device does not start so.
        """
        with self._lock:
            if wanted.modality in self._members:
                raise CameraBusy(f"{self._name}: the {wanted.modality} stream of this camera is open already.")
            emitters = {m.wanted.emitter for m in self._members.values()} | {wanted.emitter}
            if len(emitters - {"leave"}) > 1:
                raise ConfigError(f"{self._name}: the camera has one emitter, and two settings of it are asked for.")
            member = _Member(wanted, reader, self._name)
            try:
                self._restart(self._members | {wanted.modality: member})
            except BaseException:
                if self._members:
                    self._restore()
                raise
            return member.box

    def _restore(self) -> None:
        """Start again with the streams there were; if not even that works, say so to those who read them."""
        try:
            self._restart(self._members)
        except CaptureError as error:
            for member in self._members.values():
                member.box.end(error)

    @property
    def empty(self) -> bool:
        return not self._members

    def leave(self, modality: Modality) -> None:
        """Take a stream away; with the last one the device stops."""
        with self._lock:
            member = self._members.pop(modality, None)
            if member is not None:
                member.box.close()
            if not self._members and self._pump is not None:
                self._pump.close()
                self._pump = None

    def _restart(self, members: dict[Modality, _Member]) -> None:
        if self._pump is not None and not self._pump.close():
            raise CameraLost(f"{self._name}: the library does not return from the camera.")
        self._pump = None
        try:
            self._driver.start({modality: m.wanted for modality, m in members.items()})
        except CaptureError:
            raise
        except Exception as error:
            raise lost(error, self._name) from error
        for member in members.values():
            # A started device counts its frames, and its clock perhaps, from the beginning.
            member.reader = member.make_reader(self._driver.unit_mm)
        self._members = members
        self._pump = Pump(self._step, self._driver.stop, self._name)

    def _step(self) -> None:
        members = dict(self._members)
        try:
            frames = self._driver.poll()
            if frames is not None:
                self._share(members, frames, time.monotonic_ns())
        except Exception as error:
            for member in members.values():
                member.box.end(lost(error, self._name))
            raise

    def _share(self, members: dict[Modality, _Member], frames: Any, arrival_ns: int) -> None:
        depth, usable = members.get("depth"), True
        if depth is not None and depth.wanted.align and frames.get_depth_frame():
            usable = bool(frames.get_color_frame())
            if usable:
                frames = self._align.process(frames)
            else:
                # Where the library found no colour of the same moment, there is nothing to align with.
                depth.box.put(CameraData(f"{self._name}: a depth frame came without its colour frame."))
        for frame in frames:
            self._deliver(members, frame, arrival_ns, usable)

    def _deliver(self, members: dict[Modality, _Member], frame: Any, arrival_ns: int, usable: bool) -> None:
        stream, profile = self._rs.stream, frame.get_profile()
        kinds: dict[Any, Modality] = {stream.color: "rgb", stream.infrared: "ir", stream.depth: "depth"}
        modality = kinds.get(profile.stream_type())
        member = members.get(modality) if modality else None
        if member is None or member.reader is None or (modality == "depth" and not usable):
            return
        if modality == "ir" and profile.stream_index() not in (0, member.wanted.index):
            return
        try:
            found = member.reader.read(frame, arrival_ns)
        except CameraData as error:
            member.box.put(error)
            return
        if found is not None:
            member.box.put(found)


_hubs: dict[str, Hub] = {}
_hubs_lock = threading.Lock()


def open_realsense(
    options: CameraUri, modality: Modality, epoch: int, *, driver: Driver | None = None
) -> RealSenseSource:
    """Open ``realsense:SERIAL``; docs/cameras.md lists the options.

    Raises:
        ConfigError: an option is unknown or wrong, or it does not say which of several cameras.
        CameraUnsupported, CameraMissing, CameraBusy, CameraDenied, CameraLost: it cannot be used.
    """
    options.allow(*OPTIONS)
    wanted = Wanted(
        modality=modality,
        size=options.size() or (640, 480),
        fps=options.integer("fps", 30, 1, 300),
        index=options.integer("ir", 1, 1, 2) if modality == "ir" else 0,
        emitter=options.choice("emitter", EMITTERS, "leave"),
        align=options.flag("align") and modality == "depth",
    )
    rs = import_realsense()
    key = options.path
    with _hubs_lock:
        hub = _hubs.get(key)
        if hub is None:
            hub = Hub(rs, driver or PipelineDriver(rs, options.path, options.text), options.text)
            _hubs[key] = hub
    try:
        # Starting takes seconds, during which other devices must be opened and closed.
        box = hub.join(wanted, lambda unit: FrameReader(rs, modality, epoch, options.text, unit))
    except BaseException:
        _forget(key, hub)
        raise
    with _hubs_lock:
        _hubs.setdefault(key, hub)
    return RealSenseSource(hub, key, box, wanted, options)


def _forget(key: str, hub: Hub) -> None:
    with _hubs_lock:
        if hub.empty and _hubs.get(key) is hub:
            del _hubs[key]


class RealSenseSource:
    """One stream of a device; a `runtime.cameras.base.Source`."""

    def __init__(self, hub: Hub, key: str, box: Mailbox[Frame], wanted: Wanted, options: CameraUri) -> None:
        self._hub, self._key, self._box, self._modality = hub, key, box, wanted.modality
        self._closing, self._closed = threading.Lock(), False
        self._info = SourceInfo(
            modality=wanted.modality,
            uri=options.text,
            identity=f"realsense-{key or 'only'}-{wanted.modality}{wanted.index or ''}",
            backend="realsense",
            width=wanted.size[0],
            height=wanted.size[1],
            pixel_format={"rgb": "RGB8", "ir": "Y8", "depth": "Z16"}[wanted.modality],
            fps=float(wanted.fps),
            timestamp_source="device_mapped",
        )

    @property
    def info(self) -> SourceInfo:
        return self._info

    def read(self, timeout_s: float) -> Frame | None:
        """See `Source.read`."""
        return self._box.take(timeout_s)

    def close(self) -> None:
        """See `Source.close`."""
        with self._closing:
            if self._closed:
                return
            self._closed = True
        self._box.close()
        # Another stream of the device may be starting just now, which takes longer than closing may.
        leaving = threading.Thread(target=self._leave, name=f"leave {self._info.uri}", daemon=True)
        leaving.start()
        leaving.join(CLOSE_S)

    def _leave(self) -> None:
        self._hub.leave(self._modality)
        _forget(self._key, self._hub)
