"""Readings of a kiosk with two running cameras."""

from __future__ import annotations

from runtime.capture.status import CameraStatus
from runtime.core.values import Modality
from runtime.pairing.feed import FeedStatus
from service.outputs.home_assistant import KioskReadings


def camera(modality: Modality, fps: float) -> CameraStatus:
    """Return the status of a running camera."""
    return CameraStatus(modality, "running", None, 0, fps, 1, {}, 0, None)


def read(skew_ms: float | None = 1.23456) -> KioskReadings:
    """Return readings of an RGB and an IR camera that deliver 15 pairs a second."""
    cameras = (camera("rgb", 29.97), camera("ir", 30.0))
    return KioskReadings(FeedStatus(cameras, pairs=3, pairs_per_s=14.96, last_pair_ns=None, skew_ms=skew_ms), 2)
