"""Status of one camera."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from runtime.capture.source import SourceInfo
from runtime.core.values import Modality

CameraState = Literal["opening", "running", "stalled", "lost", "closed"]


@dataclass(frozen=True, slots=True)
class CameraStatus:
    """Status of one camera.

    ``drops``: cause → number of dropped frames. ``last_frame_ns``: CLOCK_MONOTONIC time of the newest frame; None
    before the first.
    """

    modality: Modality
    state: CameraState
    info: SourceInfo | None
    generation: int
    fps: float
    frames: int
    drops: Mapping[str, int]
    reconnects: int
    last_frame_ns: int | None
    last_error: str = ""
    last_error_code: str = ""
