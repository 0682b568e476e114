"""Measurement of the offset between the capture times of two cameras."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.core.lazy import attach

if TYPE_CHECKING:
    from calib.timing.offset import LevelSeries, OffsetUnknown, TimeOffset, by_blink
    from calib.timing.offset_other import by_motion, by_strobe

__all__ = [
    "LevelSeries",
    "OffsetUnknown",
    "TimeOffset",
    "by_blink",
    "by_motion",
    "by_strobe",
]

__getattr__ = attach(
    __name__,
    {
        "LevelSeries": "calib.timing.offset",
        "OffsetUnknown": "calib.timing.offset",
        "TimeOffset": "calib.timing.offset",
        "by_blink": "calib.timing.offset",
        "by_motion": "calib.timing.offset_other",
        "by_strobe": "calib.timing.offset_other",
    },
)
