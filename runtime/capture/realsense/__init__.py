"""Intel RealSense cameras."""

from typing import TYPE_CHECKING

from runtime.core.lazy import lazy_names

if TYPE_CHECKING:
    from runtime.capture.realsense.source import open_realsense

__all__ = [
    "open_realsense",
]

__getattr__ = lazy_names(
    __name__,
    {
        "source": ("open_realsense",),
    },
)
