"""Recordings of a rig as MCAP files."""

from typing import TYPE_CHECKING

from runtime.core.lazy import lazy_names

if TYPE_CHECKING:
    from runtime.recording.reader import Recording
    from runtime.recording.source import open_mcap
    from runtime.recording.writer import Recorder

__all__ = [
    "Recorder",
    "Recording",
    "open_mcap",
]

__getattr__ = lazy_names(
    __name__,
    {
        "reader": ("Recording",),
        "source": ("open_mcap",),
        "writer": ("Recorder",),
    },
)
