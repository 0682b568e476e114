"""``adsn-doctor``'s checks of a rig after it has run for some seconds."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from pathlib import Path

from runtime.capture.status import CameraStatus
from runtime.capture.uri import parse_uri
from runtime.cli.doctor.cameras import UsbStream, bandwidth_diagnoses, bytes_per_second, usb_stream
from runtime.cli.doctor.report import Diagnosis
from runtime.config.rig import RigSettings
from runtime.core.errors import AdsnError
from runtime.core.reasons import ILLUMINATION_CODES, operator_advice
from runtime.core.values import MODALITY_NAMES, Frame, Modality
from runtime.geometry.calibration_file import open_box_mapper
from runtime.pairing.feed import CapturedPair, FeedStatus
from runtime.pairing.rig import Rig

START_S = 8.0
"""Longest time to wait for the first frames of the cameras. The requested seconds are counted from then on."""
CLASS = Path("/sys/class/video4linux")
LATE_MS, EARLY_MS = 250.0, -60.0
STORED = ("file", "mcap")
"""Schemes of sources that play files."""


class DelayRecorder:
    """Observer of a rig that collects the delay of each frame from capture to arrival, in ms."""

    recording = ""

    def __init__(self) -> None:
        self.delays: dict[Modality, list[float]] = {}

    def on_frame(self, frame: Frame) -> None:
        self.delays.setdefault(frame.modality, []).append((frame.t_arrival_ns - frame.t_capture_ns) / 1e6)

    def on_pair(self, captured: CapturedPair) -> None: ...


def rig_diagnoses(settings: RigSettings, seconds: float) -> list[Diagnosis]:
    """Run the rig and check its cameras and their clocks, the pairs, and the illuminator."""
    delays = DelayRecorder()
    try:
        rig = Rig(settings, observers=(delays,))
    except AdsnError as error:
        return [Diagnosis("fail", "rig", str(error))]
    try:
        rig.start()
        started = time.monotonic()
        while time.monotonic() - started < START_S and not all(c.state == "running" for c in rig.status().cameras):
            time.sleep(0.05)
        time.sleep(seconds)
        status = rig.status()
    finally:
        rig.close()
    diagnoses = [camera_diagnosis(camera) for camera in status.cameras]
    diagnoses += [timestamp_diagnosis(m, values) for m, values in delays.delays.items()]
    diagnoses += bandwidth_diagnoses([s for c in status.cameras if (s := _on_bus(c)) is not None])
    diagnoses.append(pair_diagnosis(status, settings))
    if settings.ir:
        diagnoses.append(illumination_diagnosis(status, settings))
    if settings.geometry is not None:
        diagnoses.append(geometry_diagnosis(settings.geometry, status.cameras))
    return diagnoses


def camera_diagnosis(camera: CameraStatus) -> Diagnosis:
    """Check a camera after it has run for a while."""
    name = f"{MODALITY_NAMES[camera.modality]} camera"
    if camera.state != "running" or camera.info is None:
        return Diagnosis("fail", name, f"{camera.state}: {camera.last_error or 'no frame has arrived.'}")
    info = camera.info
    detail = f"{info.width}×{info.height} {info.pixel_format}, {camera.fps:.1f} frames/s, {info.uri}"
    damaged = camera.drops.get("corrupt", 0)
    if damaged and info.backend in STORED:
        # These frames come from a file, so advice about a bus would be wrong.
        return Diagnosis("warn", name, f"{detail}; {damaged} frames damaged: {camera.last_error}")
    missing = camera.drops.get("sequence_gap", 0) + damaged
    if missing > 0.02 * camera.frames:
        return Diagnosis("warn", name, f"{detail}; {missing} frames missing or damaged: bus or machine overloaded.")
    if info.fps and camera.fps < 0.8 * info.fps:
        return Diagnosis(
            "warn", name, f"{detail}, not the stated {info.fps:g}: the exposure may exceed a frame (poor light)."
        )
    return Diagnosis("ok", name, detail)


def timestamp_diagnosis(modality: Modality, delays_ms: Sequence[float]) -> Diagnosis:
    """Check that capture times are on the host's clock, using the delay from capture to arrival."""
    name = f"{MODALITY_NAMES[modality]} times"
    middle = statistics.median(delays_ms)
    detail = f"frames arrive {middle:.1f} ms after mid-exposure, {min(delays_ms):.1f} to {max(delays_ms):.1f}"
    if not EARLY_MS < middle < LATE_MS:
        return Diagnosis("fail", name, f"{detail}: the capture times are not of CLOCK_MONOTONIC. See docs/rig.md.")
    return Diagnosis("ok", name, detail)


def pair_diagnosis(status: FeedStatus, settings: RigSettings) -> Diagnosis:
    """Check that pairs are formed, and how close in time their frames are."""
    if not status.pairs:
        return Diagnosis("fail", "pairs", f"none. {status.advice or 'Run longer with --seconds.'}")
    slowest = min((c.fps for c in status.cameras), default=0.0)
    skew = abs(status.skew_ms or 0.0)
    detail = f"{status.pairs_per_s:.1f} pairs/s, skew {skew:.2f} ms of {settings.max_skew_ms:g}"
    if skew > 0.8 * settings.max_skew_ms:
        return Diagnosis("warn", "pairs", f"{detail}: close to the limit. Trigger the cameras, or set an offset.")
    # In a strobed IR stream only a third to two thirds of the frames are lit.
    if status.pairs_per_s < 0.25 * slowest:
        return Diagnosis("warn", "pairs", f"{detail}: few. {status.advice or 'See the rejections in adsn-rig view.'}")
    return Diagnosis("ok", "pairs", detail)


def illumination_diagnosis(status: FeedStatus, settings: RigSettings) -> Diagnosis:
    """Check the illuminator."""
    if settings.strobe == "none":
        return Diagnosis("warn", "illuminator", "declared as none: infrared then depends on the light in the room.")
    if status.strobe in ILLUMINATION_CODES:
        return Diagnosis("fail", "illuminator", operator_advice(status.strobe))
    if status.strobe == "unknown":
        detail = "it is unknown which frames are lit. Declare rig.strobe, or check that the illuminator is on."
        return Diagnosis("warn", "illuminator", detail)
    return Diagnosis("ok", "illuminator", f"{status.strobe}, lit to dark" if ":" in status.strobe else status.strobe)


def geometry_diagnosis(path: Path, cameras: Sequence[CameraStatus]) -> Diagnosis:
    """Check that the calibration file in the settings exists and belongs to these cameras."""
    try:
        open_box_mapper(path, {c.modality: c.info for c in cameras if c.info is not None})
    except AdsnError as error:
        return Diagnosis("fail", "calibration", str(error))
    return Diagnosis("ok", "calibration", f"{path} matches these cameras")


def _on_bus(camera: CameraStatus) -> UsbStream | None:
    info = camera.info
    if info is None or info.backend != "v4l2":
        return None
    node = Path(parse_uri(info.uri).path).resolve().name
    size = bytes_per_second(info.width, info.height, info.pixel_format, info.fps)
    return usb_stream(MODALITY_NAMES[camera.modality], CLASS / node / "device", size)
