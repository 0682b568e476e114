"""Intel RealSense cameras."""

from typing import TYPE_CHECKING

from runtime.core.lazy import attach

if TYPE_CHECKING:
    from runtime.capture.realsense.source import open_realsense

__all__ = [
    "open_realsense",
]

__getattr__ = attach(
    __name__,
    {
        "open_realsense": "runtime.capture.realsense.source",
    },
)
