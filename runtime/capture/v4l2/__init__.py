"""Cameras of Video4Linux2."""

from typing import TYPE_CHECKING

from runtime.core.lazy import lazy_names

if TYPE_CHECKING:
    from runtime.capture.v4l2.devices import Device, list_devices
    from runtime.capture.v4l2.source import V4l2Source, open_v4l2

__all__ = [
    "Device",
    "V4l2Source",
    "list_devices",
    "open_v4l2",
]

__getattr__ = lazy_names(
    __name__,
    {
        "devices": ("Device", "list_devices"),
        "source": ("V4l2Source", "open_v4l2"),
    },
)
