"""Hub for the streams of one RealSense device. They share one pipeline and are read by different threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from runtime.capture.mailbox import Mailbox
from runtime.capture.reader_thread import ReaderThread, as_capture_error
from runtime.capture.realsense.device import DeviceDriver, StreamRequest
from runtime.capture.realsense.frames import FrameReader
from runtime.core.errors import CameraBusy, CameraData, CameraLost, CaptureError, ConfigError
from runtime.core.values import Frame, Modality


class _HubStream:
    def __init__(self, wanted: StreamRequest, reader: Callable[[float], FrameReader], name: str) -> None:
        self.wanted, self.make_reader = wanted, reader
        self.reader: FrameReader | None = None
        self.box: Mailbox[Frame] = Mailbox(name)


class DeviceHub:
    """The streams of one device. All methods are thread-safe."""

    def __init__(self, rs: Any, driver: DeviceDriver, name: str) -> None:
        self._rs, self._driver, self._name = rs, driver, name
        self._lock = threading.Lock()
        self._members: dict[Modality, _HubStream] = {}
        self._reader_thread: ReaderThread[None] | None = None
        self._align = rs.align(rs.stream.color)

    def add_stream(self, wanted: StreamRequest, reader: Callable[[float], FrameReader]) -> Mailbox[Frame]:
        """Add a stream and restart the device. If that fails, the device is restarted with the previous streams.

        Raises:
            CameraBusy: this stream is already open. ConfigError: two streams request different emitter settings.
            CaptureError: the device does not start with this stream.
        """
        with self._lock:
            if wanted.modality in self._members:
                raise CameraBusy(f"{self._name}: the {wanted.modality} stream of this camera is already open.")
            emitters = {m.wanted.emitter for m in self._members.values()} | {wanted.emitter}
            if len(emitters - {"leave"}) > 1:
                raise ConfigError(f"{self._name}: the camera has one emitter; set it the same for all its streams.")
            member = _HubStream(wanted, reader, self._name)
            try:
                self._restart(self._members | {wanted.modality: member})
            except BaseException:
                if self._members:
                    self._restore()
                raise
            return member.box

    def _restore(self) -> None:
        """Restart the device with the previous streams. If that fails too, their readers get the error."""
        try:
            self._restart(self._members)
        except CaptureError as error:
            for member in self._members.values():
                member.box.end(error)

    @property
    def empty(self) -> bool:
        return not self._members

    def remove_stream(self, modality: Modality) -> None:
        """Remove a stream. The device stops when its last stream is removed."""
        with self._lock:
            member = self._members.pop(modality, None)
            if member is not None:
                member.box.close()
            if not self._members and self._reader_thread is not None:
                self._reader_thread.close()
                self._reader_thread = None

    def _restart(self, members: dict[Modality, _HubStream]) -> None:
        if self._reader_thread is not None and not self._reader_thread.close():
            raise CameraLost(f"{self._name}: a call into the camera's library does not return.")
        self._reader_thread = None
        try:
            self._driver.start({modality: m.wanted for modality, m in members.items()})
        except CaptureError:
            raise
        except Exception as error:
            raise as_capture_error(error, self._name) from error
        for member in members.values():
            # After a restart the device counts its frames from the beginning, and its clock may start again too.
            member.reader = member.make_reader(self._driver.unit_mm)
        self._members = members
        self._reader_thread = ReaderThread(self._step, self._driver.stop, self._name)

    def _step(self) -> None:
        members = dict(self._members)
        try:
            frames = self._driver.poll()
            if frames is not None:
                self._dispatch(members, frames, time.monotonic_ns())
        except Exception as error:
            for member in members.values():
                member.box.end(as_capture_error(error, self._name))
            raise

    def _dispatch(self, members: dict[Modality, _HubStream], frames: Any, arrival_ns: int) -> None:
        depth, usable = members.get("depth"), True
        if depth is not None and depth.wanted.align and frames.get_depth_frame():
            usable = bool(frames.get_color_frame())
            if usable:
                frames = self._align.process(frames)
            else:
                # The library found no RGB frame of the same moment to align the depth frame with.
                depth.box.put(CameraData(f"{self._name}: a depth frame came without its RGB frame."))
        for frame in frames:
            self._deliver(members, frame, arrival_ns, usable)

    def _deliver(self, members: dict[Modality, _HubStream], frame: Any, arrival_ns: int, usable: bool) -> None:
        stream, profile = self._rs.stream, frame.get_profile()
        kinds: dict[Any, Modality] = {stream.color: "rgb", stream.infrared: "ir", stream.depth: "depth"}
        modality = kinds.get(profile.stream_type())
        member = members.get(modality) if modality else None
        if member is None or member.reader is None or (modality == "depth" and not usable):
            return
        if modality == "ir" and profile.stream_index() not in (0, member.wanted.index):
            return
        try:
            result = member.reader.read(frame, arrival_ns)
        except CameraData as error:
            member.box.put(error)
            return
        if result is not None:
            member.box.put(result)
