"""The offset between two cameras' clocks, measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.core.lazy import lazy_names

if TYPE_CHECKING:
    from calib.timing.offset import Offset, OffsetUnknown, Series, by_blink
    from calib.timing.offset_other import by_motion, by_strobe

__all__ = [
    "Offset",
    "OffsetUnknown",
    "Series",
    "by_blink",
    "by_motion",
    "by_strobe",
]

__getattr__ = lazy_names(
    __name__,
    {
        "offset": (
            "Offset",
            "OffsetUnknown",
            "Series",
            "by_blink",
        ),
        "offset_other": (
            "by_motion",
            "by_strobe",
        ),
    },
)
