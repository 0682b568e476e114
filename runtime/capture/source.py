"""The interface of a frame source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from runtime.core.values import Frame, Modality, TimestampSource

PIXEL_FORMATS: Mapping[Modality, str] = {"rgb": "RGB24", "ir": "GREY", "depth": "Z32F"}
"""Pixel formats of sources that deliver frames in the layout of `runtime.core.values.Frame` themselves."""


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """Description of the stream that was actually opened, which may differ from the request.

    ``identity``: name of the device that stays the same when it is plugged in again; calibrations refer to it. ``uri``:
    address without passwords. ``fps``: frame rate stated by the device, None if it states none.
    """

    modality: Modality
    uri: str
    identity: str
    backend: str
    width: int
    height: int
    pixel_format: str
    fps: float | None
    timestamp_source: TimestampSource

    def timed_by(self, source: TimestampSource) -> SourceInfo:
        """Return a copy with the given timestamp source, or this object if it already has that source."""
        return self if source == self.timestamp_source else replace(self, timestamp_source=source)


class Source(Protocol):
    """An open stream, read by one thread. `close` may be called from any thread and more than once; it ends a waiting
    read."""

    @property
    def info(self) -> SourceInfo: ...

    def read(self, timeout_s: float) -> Frame | None:
        """Return the next frame, or None if none arrived within ``timeout_s``. That is not an error.

        Raises:
            CameraLost: the device is gone, or a recording has ended.
            CameraData: the data is not a valid image; the next read may succeed.
        """
        ...

    def close(self) -> None: ...
