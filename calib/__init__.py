"""Calibration: activation ranges, the decision threshold, and the geometry and clock offsets of a rig."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.core.lazy import attach

if TYPE_CHECKING:
    from calib.ranges import CalibrationError, Ranges, measure_ranges, read_ranges
    from calib.threshold import SampleTooSmall, operating_point

__all__ = [
    "CalibrationError",
    "Ranges",
    "SampleTooSmall",
    "measure_ranges",
    "operating_point",
    "read_ranges",
]

__getattr__ = attach(
    __name__,
    {
        "CalibrationError": "calib.ranges",
        "Ranges": "calib.ranges",
        "SampleTooSmall": "calib.threshold",
        "measure_ranges": "calib.ranges",
        "operating_point": "calib.threshold",
        "read_ranges": "calib.ranges",
    },
)
