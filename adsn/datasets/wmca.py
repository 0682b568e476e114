"""WMCA (George et al., IEEE TIFS 2019): bona fide and seven categories of attack, in four channels.

The path of a presentation is ``DATE/CLIENT_SESSION_PRESENTER_TYPE_PAI``. Its category follows from TYPE and PAI
according to the data set's own map: photographs shown on screens are replays, and some disguises are masks. Protocols
are CSV files ``PROTOCOL-grandtest.csv`` and ``PROTOCOL-LOO_<category>.csv`` with columns client_id, filepath, group
(train, dev, eval) and label (bonafide, attack).

The reader supports two forms. ``hdf5``: the two preprocessed packages, in two folders: one with grey, depth, IR and
thermal planes (``Frame_i/array``, uint8 [4, 128, 128]) and one with RGB (``Frame_i/array``, uint8 [3, H, W]). ``jpeg``:
image files, ``<presentation>/{color,depth,ir,thermal}/NNNN.jpg``.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from adsn.datasets.base import DatasetError, FrameFile, ListedPairs, PairEntry, Split, complete, require_folder
from runtime.core.file_names import is_left_behind, natural
from runtime.core.species import BONA_FIDE
from runtime.core.user_text import ENCODING
from runtime.imaging.crop import CropRule

GROUPS = {"train": "train", "dev": "dev", "test": "eval"}
CATEGORIES = ("fakehead", "flexiblemask", "glasses", "papermask", "prints", "replay", "rigidmask")
PROTOCOLS = ("grandtest", *(f"LOO_{category}" for category in CATEGORIES))
PLANES = {"depth": 1, "ir": 2}
COLUMNS = {"client_id", "filepath", "group", "label"}
FRAMES = 50
"""Number of images of each presentation in the preprocessed packages."""
INDICES_DIFFER = {"100_03_015_2_10", "101_06_067_1_02"}
"""Presentations whose RGB and IR images with the same number were taken at different times."""


@dataclass(frozen=True, slots=True)
class Row:
    """One presentation of a protocol."""

    client: str
    path: str
    species: str


def category(name: str) -> str:
    """Return the category for the name of a presentation. Types are 0 bona fide, 1 disguise, 2 mask or head, 3 photo, 4
    video.

    Raises:
        DatasetError: the name does not have this form, or its type is unknown.
    """
    parts = name.split("_")
    if len(parts) != 5 or not all(part.isdigit() for part in parts):
        raise DatasetError(f"{name!r} is not a WMCA presentation; expected CLIENT_SESSION_PRESENTER_TYPE_PAI.")
    kind, pai = int(parts[3]), int(parts[4])
    if kind == 0:
        return BONA_FIDE
    if kind == 1:
        return "rigidmask" if pai in (2, 13, 14) else "glasses"
    if kind == 2:
        if pai <= 7:
            return "fakehead"
        if pai <= 11:
            return "papermask"
        return "rigidmask" if pai <= 17 else "flexiblemask"
    if kind == 3:
        # Photographs 5, 10 and 15 were shown on screens.
        return "replay" if pai in (5, 10, 15) else "prints"
    if kind == 4:
        return "replay"
    raise DatasetError(f"{name!r}: WMCA has no presentation type {kind}.")


def read_protocol(path: Path, split: Split) -> list[Row]:
    """Return the rows of one group of a protocol.

    Raises:
        DatasetError: the file is missing, or has different columns, an unknown group or label, or a label that
            contradicts the name of its presentation.
    """
    try:
        with path.open(newline="", encoding=ENCODING) as file:
            reader = csv.DictReader(file)
            lacking = COLUMNS - set(reader.fieldnames or ())
            if lacking:
                raise DatasetError(f"{path}: no columns {sorted(lacking)}; expected {sorted(COLUMNS)}.")
            lines = list(reader)
    except OSError as error:
        raise DatasetError(f"{path}: the protocol cannot be read: {error.strerror}.") from None
    rows = []
    for number, line in enumerate(lines, 2):
        if line["group"] not in GROUPS.values() or line["label"] not in ("bonafide", "attack"):
            raise DatasetError(f"{path}:{number}: group {line['group']!r}, label {line['label']!r} are none of WMCA's.")
        species = category(Path(line["filepath"]).stem if "." in line["filepath"] else Path(line["filepath"]).name)
        if (species == BONA_FIDE) != (line["label"] == "bonafide"):
            raise DatasetError(f"{path}:{number}: label {line['label']!r}, yet the name says {species}.")
        if line["group"] == GROUPS[split]:
            rows.append(Row(line["client_id"], line["filepath"].removesuffix(".hdf5"), species))
    if not rows:
        raise DatasetError(f"{path}: no presentation in group {GROUPS[split]!r}.")
    return rows


def open_wmca(
    root: Path,
    *,
    protocol: str,
    split: Split,
    form: Literal["hdf5", "jpeg"] = "hdf5",
    modalities: Sequence[str] = ("rgb", "ir"),
    frames: int = 10,
    rule: CropRule | None = None,
    max_skipped: float = 0.05,
) -> ListedPairs:
    """Open a group of a protocol.

    ``root``: folder with the CSV file of the protocol. It also contains the two HDF5 packages
    ``preprocessed-face-station_CDIT`` and ``preprocessed-face-station_RGB`` or, for ``jpeg``, the folder ``R_CDIT``.
    ``frames``: number of images per presentation, evenly spread over `FRAMES`. The default `DepthWindow` converts 8-bit
    depth to millimetres.

    Raises:
        DatasetError: the root is wrong, the protocol is unknown, a list is missing, or too much is missing.
    """
    if protocol not in PROTOCOLS:
        raise DatasetError(f"WMCA has no protocol {protocol!r}; the choices are {', '.join(PROTOCOLS)}.")
    if not 1 <= frames <= FRAMES:
        raise DatasetError(f"frames must be 1 to {FRAMES}, not {frames}.")
    require_folder(root, f"the folder of PROTOCOL-{protocol}.csv")
    rows = read_protocol(root / f"PROTOCOL-{protocol}.csv", split)
    if form == "hdf5":
        entries, skipped = _hdf5(
            rows,
            root / "preprocessed-face-station_CDIT",
            root / "preprocessed-face-station_RGB",
            modalities,
            frames,
        )
    else:
        entries, skipped = _jpeg(rows, root / "R_CDIT", modalities, frames)
    return ListedPairs(
        f"wmca-{protocol}-{split}",
        entries,
        sensor="SR300",
        modalities=modalities,
        skipped=skipped,
        max_skipped=max_skipped,
        rule=rule,
    )


def _spread(count: int, wanted: int) -> list[int]:
    return [i * count // wanted for i in range(wanted)] if count > wanted else list(range(count))


def _hdf5(
    rows: Sequence[Row], planes: Path, rgb_folder: Path, modalities: Sequence[str], frames: int
) -> tuple[list[PairEntry], dict[str, int]]:
    require_folder(planes, "the preprocessed package of grey, depth, infrared and thermal planes")
    if "rgb" in modalities:
        require_folder(rgb_folder, "the preprocessed package of colour pictures")
    entries: list[PairEntry] = []
    skipped = Counter[str]()
    for row in rows:
        name = row.path.rsplit("/", 1)[-1]
        if name in INDICES_DIFFER and "rgb" in modalities:
            skipped["colour and infrared of different moments"] += frames
            continue
        sources = {m: (rgb_folder if m == "rgb" else planes) / f"{row.path}.hdf5" for m in modalities}
        missing = [m for m, path in sources.items() if not path.is_file()]
        if missing:
            skipped[f"no {' and '.join(missing)}"] += frames
            continue
        for index in _spread(FRAMES, frames):
            key = f"Frame_{index}/array"
            found = {m: FrameFile(path, key, None if m == "rgb" else PLANES[m]) for m, path in sources.items()}
            entries.append(PairEntry(found, row.species, row.client, name))
    return entries, dict(skipped)


def _jpeg(
    rows: Sequence[Row], dump: Path, modalities: Sequence[str], frames: int
) -> tuple[list[PairEntry], dict[str, int]]:
    require_folder(dump, "the dump of pictures, a folder for each presentation")
    found = []
    gone = Counter[str]()
    for row in rows:
        name = row.path.rsplit("/", 1)[-1]
        folder = next((f for f in (dump / name, dump / row.path) if f.is_dir()), None)
        if name in INDICES_DIFFER and "rgb" in modalities:
            gone["colour and infrared of different moments"] += frames
            continue
        if folder is None:
            gone["no folder"] += frames
            continue
        first = folder / ("color" if modalities[0] == "rgb" else modalities[0])
        names = sorted((p.name for p in first.glob("*.jpg") if not is_left_behind(p)), key=natural)
        for picture in (names[i] for i in _spread(len(names), frames)):
            files = {m: folder / ("color" if m == "rgb" else m) / picture for m in modalities}
            found.append((files, row.species, row.client, name))
    entries, skipped = complete(found, modalities)
    return entries, {**skipped, **gone}
