"""Your own recordings: a folder of images and one list that describes them.

::

    recordings.csv        presentation,subject,species,sensor,split
    <presentation>/0000-rgb.jpg  0000-ir.png  [0000-depth.png]
    <presentation>/boxes.json    optional: {"0000": {"rgb": [x, y, w, h], "ir": [x, y, w, h]}}

``presentation`` is the name of a folder, which contains one presentation in the sense of ISO/IEC 30107-3, and has one
row. ``species`` is ``bona_fide`` or the PAI species. ``split`` is train, dev or test; a subject may be in only one
split. Depth images are 16-bit PNG in millimetres. An image without a box is assumed to be a face crop.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from adsn.datasets.base import (
    DatasetError,
    DepthWindow,
    EntryFields,
    FrameFile,
    ListedPairs,
    Split,
    complete,
    read_frame,
    require_folder,
)
from adsn.datasets.pairs import Patch
from runtime.core.errors import InvalidFaceBox
from runtime.core.file_names import files_in
from runtime.core.species import SpeciesInvalid, require_distinct, require_species
from runtime.core.user_text import ENCODING
from runtime.core.values import Box
from runtime.imaging.crop import CropRule, crop
from runtime.recording.set_list import COLUMNS, LIST

SUFFIXES = (".png", ".jpg", ".jpeg")


class Recordings(ListedPairs):
    """`PairDataset` of recordings, with face boxes if the folder has them."""

    def __init__(self, *arguments: Any, boxes: Mapping[Path, Box], rule: CropRule | None = None, **named: Any) -> None:
        super().__init__(*arguments, rule=rule, **named)
        self._boxes, self._face_rule = dict(boxes), rule or CropRule()

    def patch(self, index: int) -> Patch | None:
        """Return the images and boxes of a sample, or None if one of its images has no box."""
        frames = self.entries[index].frames
        if any(frame.path not in self._boxes for frame in frames.values()):
            return None
        pictures = {m: read_frame(frame, m, self._window) for m, frame in frames.items()}
        return Patch(pictures, {m: self._boxes[frame.path] for m, frame in frames.items()})

    def _crop(self, picture: NDArray[Any], frame: FrameFile) -> NDArray[Any]:
        box = self._boxes.get(frame.path)
        if box is None:
            return super()._crop(picture, frame)
        try:
            return crop(picture, box, self._face_rule)
        except InvalidFaceBox as error:
            raise DatasetError(f"{frame.path}: its box in boxes.json is wrong: {error}") from None


def open_recordings(
    root: Path,
    *,
    split: Split,
    modalities: Sequence[str] = ("rgb", "ir"),
    rule: CropRule | None = None,
    window: DepthWindow | None = None,
    max_skipped: float = 0.05,
) -> Recordings:
    """Open one split.

    Raises:
        DatasetError: the list is missing or malformed, a subject is in two splits, a box is invalid, or too much is
            missing.
    """
    require_folder(root, "a folder with recordings.csv")
    rows = read_rows(root / LIST)
    own = [row for row in rows if row["split"] == split]
    if not own:
        raise DatasetError(f"{root / LIST}: no presentation in split {split!r}.")
    boxes: dict[Path, Box] = {}
    entries, skipped = complete(_pictures(root, own, modalities, boxes), modalities)
    sensors = sorted({row["sensor"] for row in own})
    return Recordings(
        f"{root.name}-{split}",
        entries,
        sensor=", ".join(sensors),
        modalities=modalities,
        skipped=skipped,
        max_skipped=max_skipped,
        rule=rule,
        window=window,
        boxes=boxes,
    )


def read_rows(path: Path) -> list[dict[str, str]]:
    """Return all rows of the list.

    Raises:
        DatasetError: the file is not a UTF-8 list with these columns, a species looks mistyped, a presentation is
            listed twice, or a subject is in two splits. The message names the lines.
    """
    rows = _read_list(path)
    for number, row in enumerate(rows, 2):
        if row["split"] not in ("train", "dev", "test") or not row["species"] or None in row.values():
            raise DatasetError(f"{path}:{number}: needs {', '.join(COLUMNS)}, with split train, dev or test.")
        if Path(row["presentation"]).name != row["presentation"] or row["presentation"] in ("", ".", ".."):
            raise DatasetError(f"{path}:{number}: presentation {row['presentation']!r} is not the name of a folder.")
        try:
            require_species(row["species"])
        except SpeciesInvalid as error:
            raise DatasetError(f"{path}:{number}: {error.message}") from None
        if row["subject"] != row["subject"].strip():
            raise DatasetError(f"{path}:{number}: subject {row['subject']!r} has spaces around it. Take them out.")
    _require_consistent(path, rows)
    return rows


def _read_list(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding=ENCODING) as file:
            reader = csv.DictReader(file)
            if tuple(reader.fieldnames or ()) != COLUMNS:
                raise DatasetError(f"{path}: columns {reader.fieldnames}; expected {','.join(COLUMNS)}.")
            return list(reader)
    except OSError as error:
        raise DatasetError(f"{path}: the list cannot be read: {error.strerror}.") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(
            f"{path}: not a CSV file in UTF-8 ({error}). Save it as CSV with the encoding UTF-8."
        ) from None


def _require_consistent(path: Path, rows: Sequence[Mapping[str, str]]) -> None:
    """Check that no rows contradict each other. The error names both lines."""
    listed: dict[str, int] = {}
    split: dict[str, int] = {}
    for number, row in enumerate(rows, 2):
        first = listed.setdefault(row["presentation"], number)
        if first != number:
            species, other = rows[first - 2]["species"], row["species"]
            how = "twice" if species == other else f"as {species!r} and as {other!r}"
            raise DatasetError(
                f"{path}:{first} and {path}:{number}: presentation {row['presentation']!r} is listed {how}. A "
                "presentation has one line."
            )
        first = split.setdefault(row["subject"], number)
        if rows[first - 2]["split"] != row["split"]:
            raise DatasetError(
                f"{path}:{first} and {path}:{number}: subject {row['subject']!r} is in {rows[first - 2]['split']} and "
                f"in {row['split']}; a test set must contain new people only."
            )
    try:
        require_distinct(row["species"] for row in rows)
    except SpeciesInvalid as error:
        raise DatasetError(f"{path}: {error.message}") from None


def _pictures(
    root: Path, rows: Sequence[Mapping[str, str]], modalities: Sequence[str], boxes: dict[Path, Box]
) -> Iterator[EntryFields]:
    for row in rows:
        folder = root / row["presentation"]
        require_folder(folder, "the pictures of a listed presentation")
        given = _boxes(folder / "boxes.json")
        files: dict[str, dict[str, Path]] = {}
        for path in files_in(folder):
            number, _, modality = path.stem.rpartition("-")
            if path.suffix.lower() in SUFFIXES and number and modality in ("rgb", "ir", "depth"):
                files.setdefault(number, {})[modality] = path
        for number, found in files.items():
            for modality in modalities:
                if modality in found and modality in given.get(number, {}):
                    boxes[found[modality]] = given[number][modality]
            yield found, row["species"], row["subject"], row["presentation"]


def _boxes(path: Path) -> dict[str, dict[str, Box]]:
    if not path.exists():
        return {}
    try:
        data = json.loads(path.read_text(encoding=ENCODING))
        return {
            str(number): {str(m): Box(*(float(v) for v in box)) for m, box in of.items()} for number, of in data.items()
        }
    except (ValueError, TypeError, AttributeError) as error:
        raise DatasetError(f"{path}: expected {{frame: {{modality: [x, y, width, height]}}}}: {error}") from None
