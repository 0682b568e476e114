"""What ``adsn-doctor`` says of a rig after it has run for some seconds."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from pathlib import Path

from runtime.capture.status import CameraStatus
from runtime.capture.uri import parse_uri
from runtime.cli.doctor.cameras import Stream, bandwidth_findings, bytes_per_second, usb_stream
from runtime.cli.doctor.report import Finding
from runtime.config.rig import RigSettings
from runtime.core.errors import AdsnError
from runtime.core.reasons import ILLUMINATION_CODES, operator_advice
from runtime.core.values import Frame, Modality
from runtime.geometry.calibration_file import open_registrar
from runtime.pairing.feed import CapturedPair, FeedStatus
from runtime.pairing.rig import NAMES, Rig

START_S = 8.0
"""How long cameras may take to deliver; the time that is asked for counts from then on."""
CLASS = Path("/sys/class/video4linux")
LATE_MS, EARLY_MS = 250.0, -60.0
STORED = ("file", "mcap")
"""Cameras that are files."""


class Delays:
    """An observer of a rig that keeps how long after its capture each frame arrived, ms."""

    recording = ""

    def __init__(self) -> None:
        self.delays: dict[Modality, list[float]] = {}

    def on_frame(self, frame: Frame) -> None:
        self.delays.setdefault(frame.modality, []).append((frame.t_arrival_ns - frame.t_capture_ns) / 1e6)

    def on_pair(self, captured: CapturedPair) -> None: ...


def rig_findings(settings: RigSettings, seconds: float) -> list[Finding]:
    """Run the rig and say how its cameras, their clocks, the pairs and the illuminator are."""
    delays = Delays()
    try:
        rig = Rig(settings, observers=(delays,))
    except AdsnError as error:
        return [Finding("fail", "rig", str(error))]
    try:
        rig.start()
        started = time.monotonic()
        while time.monotonic() - started < START_S and not all(c.state == "running" for c in rig.status().cameras):
            time.sleep(0.05)
        time.sleep(seconds)
        status = rig.status()
    finally:
        rig.close()
    found = [camera_finding(camera) for camera in status.cameras]
    found += [stamp_finding(m, values) for m, values in delays.delays.items()]
    found += bandwidth_findings([s for c in status.cameras if (s := _on_bus(c)) is not None])
    found.append(pair_finding(status, settings))
    if settings.ir:
        found.append(illumination_finding(status, settings))
    if settings.geometry is not None:
        found.append(geometry_finding(settings.geometry, status.cameras))
    return found


def camera_finding(camera: CameraStatus) -> Finding:
    """How a camera is after it ran for a while."""
    name = f"{NAMES[camera.modality]} camera"
    if camera.state != "running" or camera.info is None:
        return Finding("fail", name, f"{camera.state}: {camera.last_error or 'no frame has come.'}")
    info = camera.info
    detail = f"{info.width}×{info.height} {info.pixel_format}, {camera.fps:.1f} frames a second, {info.uri}"
    damaged = camera.drops.get("corrupt", 0)
    if damaged and info.backend in STORED:
        # No bus has touched these.
        return Finding("warn", name, f"{detail}; {damaged} frames damaged: {camera.last_error}")
    missing = camera.drops.get("sequence_gap", 0) + damaged
    if missing > 0.02 * camera.frames:
        return Finding("warn", name, f"{detail}; {missing} frames missing or damaged: bus or machine are overloaded.")
    if info.fps and camera.fps < 0.8 * info.fps:
        return Finding(
            "warn", name, f"{detail}, not the {info.fps:g} it states: exposure may be longer than a frame (poor light)."
        )
    return Finding("ok", name, detail)


def stamp_finding(modality: Modality, delays_ms: Sequence[float]) -> Finding:
    """Whether capture times are on the host's clock, by how long after them frames arrive."""
    name = f"{NAMES[modality]} times"
    middle = statistics.median(delays_ms)
    detail = f"frames arrive {middle:.1f} ms after mid-exposure, {min(delays_ms):.1f} to {max(delays_ms):.1f}"
    if not EARLY_MS < middle < LATE_MS:
        return Finding("fail", name, f"{detail}: the capture times are not CLOCK_MONOTONIC's. See docs/rig.md.")
    return Finding("ok", name, detail)


def pair_finding(status: FeedStatus, settings: RigSettings) -> Finding:
    """Whether pairs are formed, and how close their frames are."""
    if not status.pairs:
        return Finding("fail", "pairs", f"none. {status.advice or 'Run longer with --seconds.'}")
    slowest = min((c.fps for c in status.cameras), default=0.0)
    skew = abs(status.skew_ms or 0.0)
    detail = f"{status.pairs_per_s:.1f} a second, skew {skew:.2f} ms of {settings.max_skew_ms:g}"
    if skew > 0.8 * settings.max_skew_ms:
        return Finding("warn", "pairs", f"{detail}: close to the limit. Trigger the cameras, or set an offset.")
    # Of a strobed stream a third to two thirds of the frames are lit.
    if status.pairs_per_s < 0.25 * slowest:
        return Finding("warn", "pairs", f"{detail}: few. {status.advice or 'See the rejections in adsn-rig view.'}")
    return Finding("ok", "pairs", detail)


def illumination_finding(status: FeedStatus, settings: RigSettings) -> Finding:
    """How the illuminator is."""
    if settings.strobe == "none":
        return Finding("warn", "illuminator", "declared to be none: infrared then shows what the room's light shows.")
    if status.strobe in ILLUMINATION_CODES:
        return Finding("fail", "illuminator", operator_advice(status.strobe))
    if status.strobe == "unknown":
        detail = "it is not known which frames are lit. Declare rig.strobe, or look whether the illuminator is on."
        return Finding("warn", "illuminator", detail)
    return Finding("ok", "illuminator", f"{status.strobe}, lit to dark" if ":" in status.strobe else status.strobe)


def geometry_finding(path: Path, cameras: Sequence[CameraStatus]) -> Finding:
    """Whether the calibration that the settings name is there, and of these cameras."""
    try:
        open_registrar(path, {c.modality: c.info for c in cameras if c.info is not None})
    except AdsnError as error:
        return Finding("fail", "calibration", str(error))
    return Finding("ok", "calibration", f"{path}, of these cameras")


def _on_bus(camera: CameraStatus) -> Stream | None:
    info = camera.info
    if info is None or info.backend != "v4l2":
        return None
    node = Path(parse_uri(info.uri).path).resolve().name
    size = bytes_per_second(info.width, info.height, info.pixel_format, info.fps)
    return usb_stream(NAMES[camera.modality], CLASS / node / "device", size)
