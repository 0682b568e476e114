"""Video4Linux2 cameras."""

from typing import TYPE_CHECKING

from runtime.core.lazy import attach

if TYPE_CHECKING:
    from runtime.capture.v4l2.devices import VideoDevice, list_devices
    from runtime.capture.v4l2.source import V4l2Source, open_v4l2

__all__ = [
    "V4l2Source",
    "VideoDevice",
    "list_devices",
    "open_v4l2",
]

__getattr__ = attach(
    __name__,
    {
        "VideoDevice": "runtime.capture.v4l2.devices",
        "V4l2Source": "runtime.capture.v4l2.source",
        "list_devices": "runtime.capture.v4l2.devices",
        "open_v4l2": "runtime.capture.v4l2.source",
    },
)
