"""What is wrong with a rig, from its status: a pure function of a `FeedStatus` and the time."""

from __future__ import annotations

from collections.abc import Mapping

from runtime.capture.status import CameraStatus
from runtime.core.reasons import ILLUMINATION_CODES, operator_advice
from runtime.pairing.feed import FeedStatus
from service.monitoring.health import Severity

SECOND = 1_000_000_000
SILENT_NS = SECOND
"""A camera or a rig that gave nothing for so long is in trouble: half of the two seconds in which it has to show."""
Finding = tuple[Severity, str]
NAMES = ("camera_lost", "camera_stalled", "camera_opening", "camera_closed", "no_pairs", *ILLUMINATION_CODES)


def rig_findings(status: FeedStatus, now_ns: int, started_ns: int) -> Mapping[tuple[str, str], Finding]:
    """(condition, subject) → severity and detail. ``started_ns``: when the rig was; all of CLOCK_MONOTONIC."""
    found: dict[tuple[str, str], Finding] = {}
    for camera in status.cameras:
        name = _camera_trouble(camera, now_ns)
        if name:
            detail = camera.last_error or camera.last_error_code or f"the {camera.modality} camera is {camera.state}."
            found[name, camera.modality] = ("critical", detail)
    if status.strobe in ILLUMINATION_CODES:
        found[status.strobe, ""] = ("critical", status.advice or operator_advice(status.strobe))
    last = started_ns if status.last_pair_ns is None else status.last_pair_ns
    if not found and now_ns - last > SILENT_NS:
        found["no_pairs", ""] = ("critical", status.advice or "the cameras run, and their frames make no pairs.")
    return found


def _camera_trouble(camera: CameraStatus, now_ns: int) -> str:
    if camera.state == "opening":
        # Between two tries to open a camera that is gone, it is still gone.
        return "camera_lost" if camera.frames or camera.last_error else "camera_opening"
    if camera.state != "running":
        return f"camera_{camera.state}"
    # A driver that hangs inside a read reports nothing itself.
    if camera.last_frame_ns is not None and now_ns - camera.last_frame_ns > SILENT_NS:
        return "camera_stalled"
    return ""
