"""Read a RealSense frame: its pixels, time and exposure, and whether the emitter was on."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.capture.device_clock import DeviceClock
from runtime.capture.pixels import ImageConverter
from runtime.capture.v4l2.abi import CLOCK_MONOTONIC
from runtime.capture.v4l2.timestamps import TimestampMapper
from runtime.core.values import Frame, IlluminationState, Modality, TimestampSource

LONGEST_US = 200_000
"""Upper limit of the time from mid-exposure to the frame's own timestamp."""


@dataclass(frozen=True, slots=True)
class FrameTime:
    """Capture time of a frame (middle of the exposure), ns of CLOCK_MONOTONIC."""

    capture_ns: int
    source: TimestampSource


class FrameReader:
    """Reader of the frames of one stream. ``rs``: the module pyrealsense2. ``unit_mm``: millimetres per depth step."""

    def __init__(self, rs: Any, modality: Modality, generation: int, name: str, unit_mm: float) -> None:
        self._rs, self._modality, self._generation, self._name = rs, modality, generation, name
        self._converter = ImageConverter(modality, name, order="rgb", unit_mm=unit_mm)
        self._clock = DeviceClock(tick_ns=1000)
        self._timestamps = TimestampMapper("start", name)
        self._last: int | None = None

    def read(self, frame: Any, arrival_ns: int) -> Frame | None:
        """Convert a frame of the library, or return None if it was converted before.

        The library repeats a frame when another stream is late.

        Raises:
            CameraData: the pixels have an unexpected format.
        """
        number = int(frame.get_frame_number())
        if number == self._last:
            return None
        self._last = number
        timed = self._timed(frame, arrival_ns)
        pixels: NDArray[Any] = np.asanyarray(frame.get_data()).copy()
        exposure_us = self._metadata(frame, "actual_exposure")
        return Frame(
            modality=self._modality,
            image=self._converter.convert(pixels),
            t_capture_ns=timed.capture_ns,
            t_arrival_ns=arrival_ns,
            seq=number,
            timestamp_source=timed.source,
            lit=self._lit(frame),
            generation=self._generation,
            exposure_ns=exposure_us * 1000 if exposure_us and exposure_us > 0 else None,
        )

    def _timed(self, frame: Any, arrival_ns: int) -> FrameTime:
        domain, timestamp_us = frame.get_frame_timestamp_domain(), round(frame.get_timestamp() * 1000)
        sensor_us, frame_us = self._metadata(frame, "sensor_timestamp"), self._metadata(frame, "frame_timestamp")
        if sensor_us is not None and frame_us is not None and 0 <= frame_us - sensor_us <= LONGEST_US:
            # Both values are on the device's clock: the middle of the exposure and the timestamp of the frame.
            timestamp_us -= frame_us - sensor_us
        domains = self._rs.timestamp_domain
        if domain == domains.global_time:
            # Here the library has already mapped the device's clock to the host's wall clock.
            wall_ns = time.time_ns() - time.monotonic_ns()
            capture_ns, source = self._timestamps.capture(
                timestamp_us * 1000 - wall_ns, CLOCK_MONOTONIC, arrival_ns, None
            )
            return FrameTime(capture_ns, "arrival" if source == "arrival" else "device_mapped")
        if domain == domains.hardware_clock:
            # Ignore the generation of the clock map. It also increases if only the first frame was delayed, and then
            # the stream need not start over.
            return FrameTime(self._clock.update(timestamp_us, arrival_ns), "device_mapped")
        return FrameTime(arrival_ns, "arrival")

    def _lit(self, frame: Any) -> IlluminationState:
        mode = self._metadata(frame, "frame_emitter_mode") if self._modality == "ir" else None
        if mode is None:
            return "unknown"
        return "lit" if mode else "dark"

    def _metadata(self, frame: Any, name: str) -> int | None:
        value = getattr(self._rs.frame_metadata_value, name)
        return int(frame.get_frame_metadata(value)) if frame.supports_frame_metadata(value) else None
