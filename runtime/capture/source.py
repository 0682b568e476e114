"""What a source of frames is, and what it owes whoever reads it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

from runtime.core.values import Frame, Modality, TimestampSource


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """What was really opened, which may differ from what was asked for.

    ``identity``: stays the same when the device is plugged in again; calibrations belong to it. ``uri`` carries no
    passwords. ``fps``: as the device states it, None where it does not.
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
        """Return this information with another source of timestamps; itself where it is the same."""
        return self if source == self.timestamp_source else replace(self, timestamp_source=source)


class Source(Protocol):
    """One open stream. One thread reads it; `close` may come from any thread, twice, and ends a read that waits."""

    @property
    def info(self) -> SourceInfo: ...

    def read(self, timeout_s: float) -> Frame | None:
        """The next frame, or None when none came within ``timeout_s``, which is not an error.

        Raises:
            CameraLost: the device went away, or a recording has ended.
            CameraData: what came cannot be the picture that it says it is; the next read may succeed.
        """
        ...

    def close(self) -> None: ...
