"""A video file or a folder of images as a camera: played in real time, once or in a loop.

Two files opened together for two modalities, such as ``file:rgb.mkv`` and ``file:ir.mkv``, play on one clock: their
first frames must show the same moment. Frame times are those of the file. For recordings with exact times and full bit
depth use ``mcap:``.
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
SHARED_START_NS, LEAD_NS = 250_000_000, 500_000_000
"""Clips opened within ``SHARED_START_NS`` of each other start together, ``LEAD_NS`` after the first was opened."""
TimedImage = tuple[int, NDArray[Any] | str]
"""Media time in ns since the start, and the image, or an error message if it cannot be decoded."""


class Clip(Protocol):
    """A clip that can be played. Each call of ``frames`` starts at the beginning."""

    name: str
    format: str
    fps: float

    def frames(self) -> Iterator[TimedImage]: ...


class VideoClip:
    """A video file, decoded by FFmpeg to 8-bit BGR. ``fps``: frame rate, or 0 to use the times in the file."""

    def __init__(self, path: Path, fps: float, name: str) -> None:
        self.name, self._path, self._given = name, path, fps
        capture = self._open()
        code = int(capture.get(cv2.CAP_PROP_FOURCC))
        self.format = code.to_bytes(4, "little").decode("ascii", "replace").strip("\0 ") if code > 0 else "video"
        self.fps = fps or float(capture.get(cv2.CAP_PROP_FPS)) or DEFAULT_FPS
        capture.release()

    def _open(self) -> cv2.VideoCapture:
        require_ffmpeg(self.name)
        # Only FFmpeg puts the first frame at time 0; other backends put it one period later.
        capture = cv2.VideoCapture(str(self._path), cv2.CAP_FFMPEG)
        if not capture.isOpened():
            capture.release()
            raise RecordingInvalid(f"{self.name}: FFmpeg finds no video in it; it is another kind of file, or damaged.")
        return capture

    def frames(self) -> Iterator[TimedImage]:
        capture = self._open()
        try:
            last, number = -1, 0
            while capture.grab():
                at = round(capture.get(cv2.CAP_PROP_POS_MSEC) * 1e6)
                if self._given or at <= last:
                    # Use the frame rate if the stream has no times or they do not advance.
                    at = max(round(number * 1e9 / self.fps), last + 1)
                last, number = at, number + 1
                whole, pixels = capture.retrieve()
                yield at, pixels if whole else "it cannot be decoded; the file is damaged at this point."
        finally:
            capture.release()


class ImageSequenceClip:
    """The images of a folder, or those that match a pattern with ``*``, in natural order of their names."""

    def __init__(self, path: Path, fps: float, name: str) -> None:
        self.name, self.fps = name, fps or DEFAULT_FPS
        self._files = pictures_of(path)
        if not self._files:
            raise CameraMissing(f"{name}: no image found ({', '.join(PICTURES)}).")
        self.format = self._files[0].suffix[1:].upper()

    def frames(self) -> Iterator[TimedImage]:
        for number, file in enumerate(self._files):
            at = round(number * 1e9 / self.fps)
            try:
                yield at, read_picture(file)
            except InputError as error:
                yield at, error.message


def is_folder(path: Path) -> bool:
    """Return whether ``path`` is a folder or a pattern of images rather than a video."""
    return path.is_dir() or "*" in path.name


def pictures_of(path: Path) -> list[Path]:
    """Return the images of a folder, or those that match a pattern with ``*``, in natural order."""
    found = path.iterdir() if path.is_dir() else path.parent.glob(path.name)
    wanted = [p for p in found if p.suffix.lower() in PICTURES and not is_left_behind(p)]
    return sorted(wanted, key=lambda p: natural(p.name))


def require_same_numbers(addresses: Mapping[Modality, str]) -> None:
    """Check that the image folders of one rig hold images of the same moments.

    Images are played in the order of their names, so one missing image would mismatch every later pair. The numbers in
    the names are compared. If the names have no numbers, only the number of images is compared.

    Raises:
        ConfigError: two folders do not match. The message says where.
    """
    numbers: dict[Modality, list[int | None]] = {}
    for modality, address in addresses.items():
        uri = parse_uri(address)
        if uri.scheme == "file" and is_folder(uri.file):
            try:
                numbers[modality] = [number_of(p.name) for p in pictures_of(uri.file)]
            except OSError:
                # The error is reported when the folder is opened.
                continue
    for (one, first), (other, second) in itertools.combinations(numbers.items(), 2):
        if not first or not second:
            continue
        if len(first) != len(second):
            raise ConfigError(
                f"the {one} folder has {len(first)} images, the {other} folder {len(second)}. Put the same images in "
                "both folders, or play a recording (mcap:)."
            )
        for place, (a, b) in enumerate(zip(first, second, strict=True), 1):
            if a != b and a is not None and b is not None:
                raise ConfigError(
                    f"image {place} has the number {a} in the {one} folder and {b} in the {other} folder, so the two "
                    "do not show the same moment. Use the same numbers in both folders, or play a recording (mcap:)."
                )


class SharedStart:
    """Common start time of clips that are opened shortly after each other."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._opened_ns = self._origin_ns = -(10**18)

    def join(self) -> int:
        with self._lock:
            now = time.monotonic_ns()
            if now - self._opened_ns > SHARED_START_NS:
                self._opened_ns, self._origin_ns = now, now + LEAD_NS
            return self._origin_ns


SHARED_START = SharedStart()


def open_file(options: CameraUri, modality: Modality, generation: int) -> FileSource:
    """Open ``file:PATH``; docs/cameras.md lists the options.

    Raises:
        ConfigError: an option is unknown or wrong.
        CameraMissing: the file does not exist, or the folder has no images.
        CameraUnsupported: the file cannot supply this modality. RecordingInvalid: the file is not a readable video.
    """
    clip, converter, loop = _clip(options, modality)
    return FileSource(clip, converter, options, modality, generation, loop=loop)


def check_file(options: CameraUri, modality: Modality) -> None:
    """Check that the clip at an address can be played. Raises the same errors as `open_file`."""
    _clip(options, modality)


def _clip(options: CameraUri, modality: Modality) -> tuple[Clip, ImageConverter, bool]:
    """Return the clip of an address, the converter for its images, and whether it loops."""
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
        raise CameraMissing(f"{options.text}: no such file.")
    if modality == "depth":
        raise CameraUnsupported(
            f"{options.text}: a video has 8 bits, too few for depth. Use a folder of 16-bit PNG images, or mcap:."
        )
    return VideoClip(path, fps, options.text), converter, loop


class FileSource:
    """`runtime.capture.source.Source` that plays a clip."""

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
            raise RecordingInvalid(f"{clip.name}: the first image cannot be read; it is damaged or not an image.")
        if isinstance(first[1], str):
            raise RecordingInvalid(f"{clip.name}: the first image cannot be read: {first[1]}")
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
        self._origin_ns = SHARED_START.join()

    @property
    def info(self) -> SourceInfo:
        return self._info

    def read(self, timeout_s: float) -> Frame | None:
        """See `Source.read`.

        Raises:
            StreamEnded: the clip has ended and does not loop.
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
            raise StreamEnded(f"{self._clip.name}: end of the clip after {self._number} frames.")
        self._passed_ns += self._last_ns + round(1e9 / self._clip.fps)
        self._frames = self._clip.frames()
        self._next = next(self._frames, None)
        if self._next is None:
            raise CameraLost(f"{self._clip.name}: the file has changed since it was opened.")

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
