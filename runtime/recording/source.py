"""A recording played as cameras, at the recorded speed and with the same pairs as in the recording.

Use ``mcap:recording.mcap`` as the address for each modality in the recording. Cameras of the same file that are opened
together share one clock. All capture times are shifted to the present by the same constant, so their differences stay
the same.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from runtime.capture.source import PIXEL_FORMATS, SourceInfo
from runtime.capture.uri import CameraUri
from runtime.core.errors import CameraLost, CameraUnsupported, RecordingInvalid, StreamEnded
from runtime.core.values import Frame, Modality
from runtime.recording.reader import ReadTally, Recording

LEAD_NS = 500_000_000
"""Delay of the first frame after opening, so that cameras opened a moment later miss no frame."""

_playing: dict[Path, tuple[int, int]] = {}
_lock = threading.Lock()


def _join(path: Path, first_ns: int) -> int:
    """Return the shift of the times of a recording. It is the same for all of its cameras that are playing."""
    with _lock:
        shift, players = _playing.get(path, (time.monotonic_ns() + LEAD_NS - first_ns, 0))
        _playing[path] = shift, players + 1
        return shift


def _leave(path: Path) -> None:
    with _lock:
        shift, players = _playing.pop(path)
        if players > 1:
            _playing[path] = shift, players - 1


class RecordedSource:
    """`runtime.capture.source.Source` of one modality of a recording."""

    def __init__(self, uri: CameraUri, modality: Modality, generation: int) -> None:
        recording = _recording(uri, modality)
        self._tally = ReadTally()
        self._frames: Iterator[Frame] = recording.frames(modality, self._tally)
        self._generation, self._text = generation, uri.text
        self._closed, self._closing = threading.Event(), threading.Lock()
        first = next(self._frames, None)
        if first is None:
            raise RecordingInvalid(f"{uri.text}: none of its {modality} frames can be read.")
        self._next: Frame | None = first
        height, width = first.image.shape[:2]
        self._info = SourceInfo(
            modality=modality,
            uri=uri.text,
            identity=f"recording-{recording.path.name}-{modality}",
            backend="mcap",
            width=width,
            height=height,
            pixel_format=PIXEL_FORMATS[modality],
            fps=None,
            timestamp_source="recorded",
        )
        self._path = recording.path.resolve()
        self._shift = _join(self._path, recording.first_ns)

    @property
    def info(self) -> SourceInfo:
        return self._info

    def read(self, timeout_s: float) -> Frame | None:
        frame = self._next
        if self._closed.is_set():
            raise CameraLost(f"{self._text}: closed.")
        if frame is None:
            damaged = f" {self._tally.damaged} parts of it are damaged." if self._tally.damaged else ""
            cut = f" It ends early: {self._tally.end}." if self._tally.end else ""
            raise StreamEnded(f"{self._text}: end of the recording.{damaged}{cut}")
        wait_s = (frame.t_arrival_ns + self._shift - time.monotonic_ns()) / 1e9
        if wait_s > 0 and self._closed.wait(min(wait_s, timeout_s)):
            raise CameraLost(f"{self._text}: closed.")
        if wait_s > timeout_s:
            return None
        self._next = next(self._frames, None)
        return replace(
            frame,
            t_capture_ns=frame.t_capture_ns + self._shift,
            t_arrival_ns=frame.t_arrival_ns + self._shift,
            timestamp_source="recorded",
            generation=frame.generation + self._generation,
        )

    def close(self) -> None:
        with self._closing:
            if self._closed.is_set():
                return
            self._closed.set()
        _leave(self._path)


def open_mcap(uri: CameraUri, modality: Modality, generation: int) -> RecordedSource:
    """Open one camera of a recording.

    Raises:
        ConfigError: the address has options (there are none), or the package mcap is missing.
        CameraMissing: the file does not exist.
        CameraUnsupported: the recording lacks this modality.
        RecordingInvalid: the file is not a recording, or none of it can be read.
    """
    return RecordedSource(uri, modality, generation)


def check_mcap(uri: CameraUri, modality: Modality) -> None:
    """Check that the recording at an address has this modality. Raises the same errors as `open_mcap`."""
    _recording(uri, modality)


def _recording(uri: CameraUri, modality: Modality) -> Recording:
    uri.allow()
    recording = Recording(uri.file)
    if modality not in recording.modalities:
        have = " and ".join(recording.modalities)
        raise CameraUnsupported(f"{uri.text}: the recording has no {modality}, only {have}.")
    return recording
