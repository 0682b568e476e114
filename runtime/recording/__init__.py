"""Recordings of a rig as MCAP files."""

from typing import TYPE_CHECKING

from runtime.core.lazy import attach

if TYPE_CHECKING:
    from runtime.recording.reader import Recording
    from runtime.recording.source import open_mcap
    from runtime.recording.writer import Recorder

__all__ = [
    "Recorder",
    "Recording",
    "open_mcap",
]

__getattr__ = attach(
    __name__,
    {
        "Recorder": "runtime.recording.writer",
        "Recording": "runtime.recording.reader",
        "open_mcap": "runtime.recording.source",
    },
)
