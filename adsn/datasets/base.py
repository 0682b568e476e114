"""Code shared by all readers: listed entries, and a data set that opens their images on demand.

The published sets contain faces that are already cropped, in a different size for each modality. Each image is
therefore resized as a whole to the network's input, by the same `runtime.imaging.crop.crop` as in serving.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from adsn.datasets.pairs import Sample
from runtime.core.errors import InputError, WrongChannels
from runtime.core.species import BONA_FIDE, require_distinct
from runtime.core.user_text import ENCODING
from runtime.core.values import Box
from runtime.imaging.crop import CropRule, crop
from runtime.imaging.decode import require_grey
from runtime.imaging.image_info import inspect
from runtime.imaging.jpeg import ends_early

Split = Literal["train", "dev", "test"]
EntryFields = tuple[Mapping[str, Path], str, str, str]
"""Files by modality, species, subject and presentation."""
PERSONAL = re.compile(r"\b((?:AF|CA|EA)-\d{3})-[^/\\\s]+")
"""A CeFA subject folder with an identity number at the end, which encodes birth year and sex."""
MOST_PIXELS = 1 << 26
TOKENS = {
    "rgb": {"color", "colour", "profile", "rgb"},
    "ir": {"ir", "infrared"},
    "depth": {"depth"},
}
ATTACK = "attack"
"""Species of an attack that the list does not specify."""


class DatasetError(InputError):
    """A data set does not have the layout that its reader expects. The message names the file and the expectation."""

    code = "dataset"


@dataclass(frozen=True, slots=True)
class FrameFile:
    """Location of one image: a file or, with ``key``, the plane ``channel`` of an array in an HDF5 file."""

    path: Path
    key: str = ""
    channel: int | None = None


@dataclass(frozen=True, slots=True)
class PairEntry:
    """A listed pair or triplet, whose images are not opened yet. ``frames``: modality → location. For the other fields
    see `adsn.datasets.pairs.Sample`."""

    frames: Mapping[str, FrameFile]
    species: str
    subject: str
    presentation: str


@dataclass(frozen=True, slots=True)
class DepthWindow:
    """Conversion of 8-bit depth to millimetres: 1 is ``first_mm``, 255 is ``last_mm``, 0 stays missing.

    The 8-bit depth of the published sets has no unit. The window is a convention that gives surface normals a plausible
    relief; it is not a measurement. Swap the two ends for a set in which near is bright.
    """

    first_mm: float = 400.0
    last_mm: float = 600.0

    def apply(self, grey: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Convert uint8 [H, W, 1] to float32 [H, W, 1] in millimetres."""
        scale = (self.last_mm - self.first_mm) / 254
        depth = self.first_mm + (grey.astype(np.float32) - 1) * np.float32(scale)
        return np.where(grey == 0, np.float32(0), depth).astype(np.float32)


def without_identity(text: object) -> str:
    """Return ``text`` without identity numbers, safe for a message or a log."""
    return PERSONAL.sub(r"\1", str(text))


def modality_of(path: str) -> str | None:
    """Return the modality that is named in a path, or None.

    It can be the name of a folder, such as ``depth``, or the end of a file name, such as ``-depth`` or ``_depth``. The
    position in a list is not used, because the lists in circulation disagree on the order of their columns.
    """
    parts = path.replace("\\", "/").lower().split("/")
    stem = parts[-1].rsplit(".", 1)[0]
    # The file name takes precedence over the folder.
    for word in (re.split(r"[-_]", stem)[-1], *reversed(parts[:-1])):
        for modality, tokens in TOKENS.items():
            if word in tokens:
                return modality
    return None


def read_frame(frame: FrameFile, modality: str, window: DepthWindow) -> NDArray[Any]:
    """Read one image: uint8 RGB [H, W, 3], uint8 IR [H, W, 1] or float32 depth in mm [H, W, 1].

    Raises:
        DatasetError: the image is missing, damaged or of the wrong type. The message names the file.
    """
    shown = without_identity(frame.path)
    if frame.key:
        pixels = _read_array(frame)
    else:
        try:
            data = np.frombuffer(frame.path.read_bytes(), np.uint8)
        except OSError as error:
            raise DatasetError(f"{shown}: the {modality} image cannot be read: {error.strerror}.") from None
        decoded = _decoded(data)
        if decoded is None:
            raise DatasetError(f"{shown}: not a complete single image; expected a JPEG or PNG of {modality}.")
        pixels = decoded[:, :, ::-1] if decoded.ndim == 3 else decoded[:, :, None]
    if modality == "rgb":
        if pixels.shape[2] == 1:
            raise DatasetError(f"{shown}: a grey image instead of RGB. Check that rgb and ir are not swapped.")
        if pixels.shape[2] != 3 or pixels.dtype != np.uint8:
            raise DatasetError(f"{shown}: {pixels.dtype} {pixels.shape}; expected 8-bit colour.")
        return np.ascontiguousarray(pixels)
    if pixels.shape[2] == 3 and pixels.dtype == np.uint8:
        try:
            require_grey(pixels, "ir" if modality == "ir" else "depth")
        except WrongChannels as error:
            raise DatasetError(f"{shown}: {error.message}") from None
    grey = np.ascontiguousarray(pixels[:, :, :1])
    if modality == "depth" and grey.dtype == np.uint16:
        return grey.astype(np.float32)
    if grey.dtype != np.uint8:
        raise DatasetError(f"{shown}: {grey.dtype}; expected 8-bit {modality}, or 16-bit depth in millimetres.")
    return window.apply(grey) if modality == "depth" else grey


def _decoded(data: NDArray[np.uint8]) -> NDArray[Any] | None:
    """Return the pixels of a file in OpenCV's channel order, or None if it is not exactly one complete image.

    OpenCV would silently fill missing rows with grey.
    """
    body = data.tobytes()
    try:
        info = inspect(body)
    except InputError:
        return None
    if info.width * info.height > MOST_PIXELS:
        return None
    pixels: NDArray[Any] | None = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    if pixels is None or (info.jpeg is not None and ends_early(body, info.jpeg, np.asarray(pixels, np.uint8))):
        return None
    return pixels


def _read_array(frame: FrameFile) -> NDArray[Any]:
    try:
        import h5py
    except ImportError as error:
        raise DatasetError("reading HDF5 needs h5py: pip install h5py (it is part of the extra 'train').") from error
    try:
        with h5py.File(frame.path, "r") as file:
            array: NDArray[Any] = np.asarray(file[frame.key])
    except (OSError, KeyError) as error:
        raise DatasetError(f"{without_identity(frame.path)}: no array {frame.key!r} can be read: {error}.") from None
    if frame.channel is not None:
        if array.ndim != 3 or frame.channel >= array.shape[0]:
            raise DatasetError(
                f"{without_identity(frame.path)}: {frame.key} has shape {array.shape}; expected planes first, with "
                f"plane {frame.channel}."
            )
        plane: NDArray[Any] = array[frame.channel][:, :, None]
        return plane
    if array.ndim != 3 or array.shape[0] != 3:
        raise DatasetError(f"{without_identity(frame.path)}: {frame.key} has shape {array.shape}; expected [3, H, W].")
    return np.moveaxis(array, 0, 2)


class Described(Protocol):
    """A data set with a name and a species for every sample."""

    @property
    def name(self) -> str: ...

    def species(self) -> list[str]: ...


class ListedPairs:
    """`adsn.datasets.pairs.PairDataset` of listed entries, whose images are opened on demand.

    ``skipped``: cause → number of listed entries left out. ``max_skipped``: largest fraction that may be left out. More
    is an error, because a model trained on a third of a set is not trained on that set.

    Raises:
        DatasetError: there are no entries, or too many were left out.
    """

    def __init__(
        self,
        name: str,
        entries: Sequence[PairEntry],
        *,
        sensor: str,
        modalities: Sequence[str],
        skipped: Mapping[str, int],
        max_skipped: float = 0.05,
        rule: CropRule | None = None,
        window: DepthWindow | None = None,
    ) -> None:
        self._name, self._entries, self._sensor = name, list(entries), sensor
        self.modalities, self.skipped = tuple(modalities), dict(skipped)
        self._rule = CropRule(size=(rule or CropRule()).size, margin=0.0)
        self._window = window or DepthWindow()
        lost = sum(self.skipped.values())
        listed = len(self._entries) + lost
        if not self._entries:
            raise DatasetError(f"{name}: no usable entry of {listed} listed; skipped: {self.skipped or 'none'}.")
        if lost > max_skipped * listed:
            raise DatasetError(
                f"{name}: {lost} of {listed} listed entries are unusable ({self.skipped}), more than the "
                f"{max_skipped:.0%} accepted. Complete the data, or accept it with max_skipped."
            )

    @property
    def name(self) -> str:
        return self._name

    @property
    def entries(self) -> Sequence[PairEntry]:
        """Return the listed entries in order."""
        return self._entries

    def __len__(self) -> int:
        return len(self._entries)

    def labels(self) -> NDArray[np.int64]:
        """Return the labels, int64 [len]: 1 bona fide, 0 attack. No image is opened."""
        return np.array([int(entry.species == BONA_FIDE) for entry in self._entries], np.int64)

    def species(self) -> list[str]:
        """Return the species of every entry."""
        return [entry.species for entry in self._entries]

    def __getitem__(self, index: int) -> Sample:
        entry = self._entries[index]
        return Sample(
            crops={m: self._crop(read_frame(f, m, self._window), f) for m, f in entry.frames.items()},
            label=int(entry.species == BONA_FIDE),
            species=entry.species,
            subject=entry.subject,
            presentation=entry.presentation,
            sensor=self._sensor,
            conditions={},
        )

    def _crop(self, picture: NDArray[Any], frame: FrameFile) -> NDArray[Any]:
        """Return the network's input for an image: the whole image, resized."""
        height, width = picture.shape[:2]
        return crop(picture, Box(0, 0, width, height), self._rule)

    def digest(self) -> str:
        """Return a SHA-256 over the list, the crop rule and the bytes of all files."""
        h = hashlib.sha256(f"{self._name} {self._rule} {self._window}".encode())
        known: dict[Path, bytes] = {}
        for entry in self._entries:
            h.update(f"{entry.species}\0{entry.subject}\0{entry.presentation}\0".encode())
            for modality, frame in sorted(entry.frames.items()):
                if frame.path not in known:
                    known[frame.path] = hashlib.sha256(frame.path.read_bytes()).digest()
                h.update(f"{modality}\0{frame.key}\0{frame.channel}\0".encode() + known[frame.path])
        return h.hexdigest()


def complete(found: Iterable[EntryFields], modalities: Sequence[str]) -> tuple[list[PairEntry], dict[str, int]]:
    """Return the entries that have images of all ``modalities``, and the number of missing images by modality.

    ``found``: files by modality, species, subject and presentation.
    """
    entries, skipped = [], Counter[str]()
    for files, species, subject, presentation in found:
        missing = [m for m in modalities if m not in files or not files[m].is_file()]
        if missing:
            skipped[f"no {' and '.join(missing)}"] += 1
            continue
        frames = {m: FrameFile(files[m]) for m in modalities}
        entries.append(PairEntry(frames, species, without_identity(subject), without_identity(presentation)))
    return entries, dict(skipped)


def require_both_classes(pairs: Described) -> None:
    """Refuse a set without bona fide or without attack presentations, which is no basis for training or error rates.

    Raises:
        DatasetError: a class is missing. The message names it.
    """
    species = set(pairs.species())
    require_distinct(species)
    if BONA_FIDE not in species:
        found = ", ".join(sorted(species))
        raise DatasetError(f"{pairs.name}: no bona fide presentation among {found}. People are {BONA_FIDE!r}.")
    if species == {BONA_FIDE}:
        raise DatasetError(f"{pairs.name}: no attack presentation. Use a set with both classes.")


def require_folder(root: Path, expected: str) -> None:
    """Check that ``root`` is a folder; otherwise raise `DatasetError`. ``expected``: description of the expected
    contents."""
    if not root.is_dir():
        raise DatasetError(f"{without_identity(root)}: no such folder; expected {expected}.")


def read_list(path: Path, columns: Sequence[int]) -> list[list[str]]:
    """Return the rows of a space-separated list. ``columns``: allowed numbers of columns in a row.

    Raises:
        DatasetError: the file is missing or empty, or a row has a different number of columns. The message names file
            and line.
    """
    try:
        lines = path.read_text(encoding=ENCODING).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{without_identity(path)}: the list cannot be read: {error}.") from None
    rows = []
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not words:
            continue
        if len(words) not in columns:
            wanted = " or ".join(map(str, columns))
            raise DatasetError(f"{without_identity(path)}:{number}: {len(words)} columns; expected {wanted}.")
        rows.append(words)
    if not rows:
        raise DatasetError(f"{without_identity(path)}: the list is empty.")
    return rows


def label_of(word: str, live: str, where: str) -> bool:
    """Return whether a label in a list means bona fide. ``live``: the label for bona fide, 0 or 1; the other one means
    attack.

    Raises:
        DatasetError: the label is neither 0 nor 1.
    """
    if word not in ("0", "1"):
        raise DatasetError(f"{without_identity(where)}: label {word!r}; expected 0 or 1 ({live} is bona fide).")
    return word == live
