"""Derive the problems of a rig from its status: pure functions of a `FeedStatus` and the time."""

from __future__ import annotations

from collections.abc import Mapping

from runtime.capture.status import CameraStatus
from runtime.core.reasons import ILLUMINATION_CODES, operator_advice
from runtime.core.units import SECOND
from runtime.pairing.feed import FeedStatus

SILENT_NS = SECOND
"""Time without a frame after which a camera has a problem. It is half of the two seconds within which a condition must
appear."""
FIRST_PAIR_NS = 5 * SECOND
"""Time limit for the first pair of a rig. The pattern of a strobing illuminator must be detected first."""
ConditionDetails = Mapping[tuple[str, str], str]
"""(condition, subject) → detail."""


def camera_conditions(status: FeedStatus, now_ns: int) -> ConditionDetails:
    """Return the problems of the cameras and the illuminator. ``now_ns``: CLOCK_MONOTONIC."""
    found: dict[tuple[str, str], str] = {}
    for camera in status.cameras:
        name = _camera_trouble(camera, now_ns)
        if name:
            told = camera.last_error or camera.last_error_code
            found[name, camera.modality] = told or f"the {camera.modality} camera is {camera.state}."
    if status.strobe in ILLUMINATION_CODES:
        found[status.strobe, ""] = status.advice or operator_advice(status.strobe)
    return found


def pair_conditions(status: FeedStatus, now_ns: int, started_ns: int, silent_ns: int) -> ConditionDetails:
    """Return the condition ``no_pairs`` if there was no pair for ``silent_ns``. Before the first pair, the time counts
    from ``started_ns``."""
    last = started_ns if status.last_pair_ns is None else status.last_pair_ns
    if now_ns - last <= silent_ns:
        return {}
    return {("no_pairs", ""): status.advice or "the cameras run, but no two frames form a pair."}


def rig_conditions(status: FeedStatus, now_ns: int, started_ns: int) -> ConditionDetails:
    """Return `camera_conditions` or, if there are none, `pair_conditions`."""
    patience = FIRST_PAIR_NS if status.last_pair_ns is None else SILENT_NS
    return camera_conditions(status, now_ns) or pair_conditions(status, now_ns, started_ns, patience)


def _camera_trouble(camera: CameraStatus, now_ns: int) -> str:
    if camera.state == "opening":
        # A lost camera stays lost between two attempts to open it.
        return "camera_lost" if camera.frames or camera.last_error else "camera_opening"
    if camera.state != "running":
        return f"camera_{camera.state}"
    # A driver that blocks in a read cannot report a failure.
    if camera.last_frame_ns is not None and now_ns - camera.last_frame_ns > SILENT_NS:
        return "camera_stalled"
    return ""
