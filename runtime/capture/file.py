"""A video file or a folder of pictures, played like a camera: in real time, once or in a loop.

``file:rgb.mkv`` for one modality and ``file:ir.mkv`` for another, opened together, play on one clock: their first
frames are of one moment. Times are those of the file. For recordings with exact times and all bits use mcap:.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from runtime.capture.ffmpeg import require_ffmpeg
from runtime.capture.pixels import ImageConverter
from runtime.capture.source import SourceInfo
from runtime.capture.uri import CameraUri, parse_uri
from runtime.core.errors import (
    CameraData,
    CameraLost,
    CameraMissing,
    CameraUnsupported,
    ConfigError,
    InputError,
    RecordingInvalid,
    StreamEnded,
    WrongShape,
)
from runtime.core.file_names import is_left_behind, natural, number_of
from runtime.core.values import Frame, Modality
from runtime.imaging.decode import check_shape
from runtime.imaging.image_files import read_picture

OPTIONS = ("loop", "fps", "bits", "unit_mm")
PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".pgm")
DEFAULT_FPS = 30.0
TOGETHER_NS, LEAD_NS = 250_000_000, 500_000_000
"""Clips opened within the first of these times share their beginning, which lies the second one ahead."""
TimedImage = tuple[int, NDArray[Any] | str]
"""Media time in ns since the beginning, and the picture; what is wrong with it where it cannot be decoded."""


class Clip(Protocol):
    """What can be played: ``frames`` begins anew at each call."""

    name: str
    format: str
    fps: float

    def frames(self) -> Iterator[TimedImage]: ...


class VideoClip:
    """A video file, decoded by FFmpeg to 8-bit BGR. ``fps``: 0 for the file's own times."""

    def __init__(self, path: Path, fps: float, name: str) -> None:
        self.name, self._path, self._given = name, path, fps
        capture = self._open()
        code = int(capture.get(cv2.CAP_PROP_FOURCC))
        self.format = code.to_bytes(4, "little").decode("ascii", "replace").strip("\0 ") if code > 0 else "video"
        self.fps = fps or float(capture.get(cv2.CAP_PROP_FPS)) or DEFAULT_FPS
        capture.release()

    def _open(self) -> cv2.VideoCapture:
        require_ffmpeg(self.name)
        # Other backends count the first frame as one period after the beginning.
        capture = cv2.VideoCapture(str(self._path), cv2.CAP_FFMPEG)
        if not capture.isOpened():
            capture.release()
            raise RecordingInvalid(f"{self.name}: FFmpeg reads no video from it; it is of another kind, or damaged.")
        return capture

    def frames(self) -> Iterator[TimedImage]:
        capture = self._open()
        try:
            last, number = -1, 0
            while capture.grab():
                at = round(capture.get(cv2.CAP_PROP_POS_MSEC) * 1e6)
                if self._given or at <= last:
                    # Streams without times of their own, and those that stand still, go by the frame rate.
                    at = max(round(number * 1e9 / self.fps), last + 1)
                last, number = at, number + 1
                whole, pixels = capture.retrieve()
                yield at, pixels if whole else "it cannot be decoded; the file is damaged there."
        finally:
            capture.release()


class ImageSequenceClip:
    """A folder of pictures in the natural order of their names, or those of a pattern with ``*``."""

    def __init__(self, path: Path, fps: float, name: str) -> None:
        self.name, self.fps = name, fps or DEFAULT_FPS
        self._files = pictures_of(path)
        if not self._files:
            raise CameraMissing(f"{name}: there is no picture ({', '.join(PICTURES)}) there.")
        self.format = self._files[0].suffix[1:].upper()

    def frames(self) -> Iterator[TimedImage]:
        for number, file in enumerate(self._files):
            at = round(number * 1e9 / self.fps)
            try:
                yield at, read_picture(file)
            except InputError as error:
                yield at, error.message


def is_folder(path: Path) -> bool:
    """Whether a path means pictures, and not a video."""
    return path.is_dir() or "*" in path.name


def pictures_of(path: Path) -> list[Path]:
    """The pictures of a folder, or of a pattern with ``*``, in natural order."""
    found = path.iterdir() if path.is_dir() else path.parent.glob(path.name)
    wanted = [p for p in found if p.suffix.lower() in PICTURES and not is_left_behind(p)]
    return sorted(wanted, key=lambda p: natural(p.name))


def require_same_numbers(addresses: Mapping[Modality, str]) -> None:
    """Make sure that the folders of one rig hold pictures of the same moments.

    Pictures are played in the order of their names, so where one folder lacks a picture, every later pair is of two
    moments. Names without numbers are counted.

    Raises:
        ConfigError: two folders disagree; says where.
    """
    numbers: dict[Modality, list[int | None]] = {}
    for modality, address in addresses.items():
        uri = parse_uri(address)
        if uri.scheme == "file" and is_folder(uri.file):
            try:
                numbers[modality] = [number_of(p.name) for p in pictures_of(uri.file)]
            except OSError:
                # Opening it reports what is wrong.
                continue
    for (one, first), (other, second) in itertools.combinations(numbers.items(), 2):
        if not first or not second:
            continue
        if len(first) != len(second):
            raise ConfigError(
                f"the folder of {one} has {len(first)} pictures, that of {other} {len(second)}. Give both folders the "
                "same pictures, or play a recording (mcap:)."
            )
        for place, (a, b) in enumerate(zip(first, second, strict=True), 1):
            if a != b and a is not None and b is not None:
                raise ConfigError(
                    f"picture {place} has the number {a} in the folder of {one} and {b} in that of {other}, so the "
                    "two are not of one moment. Give both folders the same numbers, or play a recording (mcap:)."
                )


class Together:
    """The beginning that clips share which are opened within a moment of each other."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._opened_ns = self._origin_ns = -(10**18)

    def join(self) -> int:
        with self._lock:
            now = time.monotonic_ns()
            if now - self._opened_ns > TOGETHER_NS:
                self._opened_ns, self._origin_ns = now, now + LEAD_NS
            return self._origin_ns


TOGETHER = Together()


def open_file(options: CameraUri, modality: Modality, generation: int) -> FileSource:
    """Open ``file:PATH``; docs/cameras.md lists the options.

    Raises:
        ConfigError: an option is unknown or wrong.
        CameraMissing: there is no such file, or no picture in the folder.
        CameraUnsupported: the modality cannot come from it. RecordingInvalid: it is no video.
    """
    clip, converter, loop = _clip(options, modality)
    return FileSource(clip, converter, options, modality, generation, loop=loop)


def check_file(options: CameraUri, modality: Modality) -> None:
    """Make sure that an address can be played. Raises as `open_file`."""
    _clip(options, modality)


def _clip(options: CameraUri, modality: Modality) -> tuple[Clip, ImageConverter, bool]:
    """What an address plays, how its pictures are read, and whether in a loop."""
    options.allow(*OPTIONS)
    path, fps = options.file, options.number("fps", 0, 0.1, 1000) if "fps" in options.options else 0.0
    converter = ImageConverter(
        modality,
        options.text,
        bits=options.integer("bits", 0, 8, 16) or None,
        unit_mm=options.number("unit_mm", 1.0, 0.001, 1000),
    )
    loop = options.flag("loop")
    if is_folder(path):
        return ImageSequenceClip(path, fps, options.text), converter, loop
    if not path.is_file():
        raise CameraMissing(f"{options.text}: there is no such file.")
    if modality == "depth":
        raise CameraUnsupported(
            f"{options.text}: a video has 8 bits, too few for depth. Use a folder of 16-bit PNG pictures, or mcap:."
        )
    return VideoClip(path, fps, options.text), converter, loop


class FileSource:
    """A clip that plays; a `runtime.capture.source.Source`."""

    def __init__(
        self,
        clip: Clip,
        converter: ImageConverter,
        options: CameraUri,
        modality: Modality,
        generation: int,
        *,
        loop: bool,
    ) -> None:
        self._clip, self._converter, self._generation, self._loop = clip, converter, generation, loop
        self._closed = threading.Event()
        self._frames = clip.frames()
        first = next(self._frames, None)
        if first is None:
            raise RecordingInvalid(f"{clip.name}: its first picture cannot be read; it is damaged or no picture.")
        if isinstance(first[1], str):
            raise RecordingInvalid(f"{clip.name}: its first picture cannot be read: {first[1]}")
        self._shape = converter.convert(first[1]).shape
        try:
            check_shape(self._shape[1], self._shape[0], clip.name)
        except WrongShape as error:
            raise RecordingInvalid(error.message) from error
        self._next: TimedImage | None = first
        self._number, self._passed_ns, self._last_ns = 0, 0, 0
        self._info = SourceInfo(
            modality=modality,
            uri=options.text,
            identity=f"file-{options.file.name}-{modality}",
            backend="file",
            width=self._shape[1],
            height=self._shape[0],
            pixel_format=clip.format,
            fps=clip.fps,
            timestamp_source="media",
        )
        self._origin_ns = TOGETHER.join()

    @property
    def info(self) -> SourceInfo:
        return self._info

    def read(self, timeout_s: float) -> Frame | None:
        """See `Source.read`.

        Raises:
            StreamEnded: the clip has been played to its end, and not in a loop.
        """
        if self._closed.is_set():
            raise CameraLost(f"{self._clip.name} was closed.")
        if self._next is None:
            self._again()
        assert self._next is not None
        media_ns, pixels = self._next
        due_ns = self._origin_ns + self._passed_ns + media_ns
        wait_s = (due_ns - time.monotonic_ns()) / 1e9
        if wait_s > 0 and (self._closed.wait(min(wait_s, timeout_s)) or wait_s > timeout_s):
            return None
        number = self._number
        self._number, self._last_ns = number + 1, media_ns
        self._next = next(self._frames, None)
        image = self._picture(pixels, number)
        return Frame(
            modality=self._info.modality,
            image=image,
            t_capture_ns=due_ns,
            t_arrival_ns=max(due_ns, time.monotonic_ns()),
            seq=number,
            timestamp_source="media",
            generation=self._generation,
        )

    def _again(self) -> None:
        if not self._loop:
            raise StreamEnded(f"{self._clip.name}: played to its end, {self._number} frames.")
        self._passed_ns += self._last_ns + round(1e9 / self._clip.fps)
        self._frames = self._clip.frames()
        self._next = next(self._frames, None)
        if self._next is None:
            raise CameraLost(f"{self._clip.name}: the file is not what it was when it was opened.")

    def _picture(self, pixels: NDArray[Any] | str, number: int) -> NDArray[Any]:
        if isinstance(pixels, str):
            raise CameraData(f"{self._clip.name}: frame {number}: {pixels}")
        image = self._converter.convert(np.asarray(pixels))
        if image.shape != self._shape:
            raise CameraData(
                f"{self._clip.name}: frame {number} is {image.shape[1]}×{image.shape[0]} pixels, the first one "
                f"{self._shape[1]}×{self._shape[0]}."
            )
        return image

    def close(self) -> None:
        """See `Source.close`."""
        self._closed.set()
