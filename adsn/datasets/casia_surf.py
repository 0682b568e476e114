"""CASIA-SURF (Zhang et al., CVPR 2019; IEEE T-BIOM 2020). Three forms are in circulation, and their lists disagree.

- ``challenge``: lists of RGB, depth, IR and label; **1 is bona fide**. The order of the columns differs from copy to
  copy, so the reader determines the modality from the path itself. The folders in ``Training`` name the attack. Those
  in ``Val`` and ``Testing`` do not; each of their images counts as one presentation, because nothing groups them.
- ``full``: no list; the folders give split, label and attack.
- ``release``: lists of an RGB path and a label; **0 is bona fide**. The other modalities are next to the RGB image.

A label that contradicts its folder ``real_part`` or ``fake_part`` is an error. Depth is 8-bit and has no unit
(`adsn.datasets.base.DepthWindow`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from adsn.datasets.base import (
    ATTACK,
    DatasetError,
    DepthWindow,
    EntryFields,
    ListedPairs,
    Split,
    complete,
    label_of,
    modality_of,
    read_list,
    require_folder,
)
from runtime.core.file_names import is_left_behind
from runtime.core.species import BONA_FIDE
from runtime.imaging.crop import CropRule

Form = Literal["challenge", "full", "release"]
CODE = re.compile(r"^(\d\d)_(e|en|enm)_([sb])(?:\.|$)")
CUT = {"e": "eyes", "en": "eyes_nose", "enm": "eyes_nose_mouth"}
BENT = {"s": "flat", "b": "bent"}
CHALLENGE_LISTS = {"train": "train_list.txt", "dev": "val_private_list.txt", "test": "test_private_list.txt"}
FULL_SPLITS = {"train": "train", "dev": "val", "test": "test"}
FOLDERS = {"rgb": "color", "depth": "depth", "ir": "ir"}


def open_casia_surf(
    root: Path,
    *,
    form: Form,
    split: Split,
    modalities: Sequence[str] = ("rgb", "ir"),
    rule: CropRule | None = None,
    window: DepthWindow | None = None,
    max_skipped: float = 0.05,
) -> ListedPairs:
    """Open one split of the data set.

    Raises:
        DatasetError: the root is wrong, a list is missing, labels contradict their folders, or too much is missing.
    """
    require_folder(root, f"the root of CASIA-SURF in its {form!r} form")
    readers = {"challenge": _challenge, "full": _full, "release": _release}
    if form not in readers:
        raise DatasetError(f"CASIA-SURF has no form {form!r}; the choices are {', '.join(readers)}.")
    entries, skipped = complete(readers[form](root, split), modalities)
    return ListedPairs(
        f"casia-surf-{form}-{split}",
        entries,
        sensor="SR300",
        modalities=modalities,
        skipped=skipped,
        max_skipped=max_skipped,
        rule=rule,
        window=window,
    )


def species_of(path: str, live: bool) -> str:
    """Return the species for the attack code in a path. The code says which parts were cut out, and whether the print
    was bent."""
    if live:
        return BONA_FIDE
    for part in path.split("/"):
        match = CODE.match(part)
        if match:
            return f"print_cut_{CUT[match[2]]}_{BENT[match[3]]}"
    return ATTACK


def _agree(path: str, live: bool, where: str) -> None:
    """Raise `DatasetError` if a label contradicts its folder.

    List and reader then disagree on the meaning of 0 and 1.
    """
    parts = path.split("/")
    told = next((known for part, known in (("real_part", True), ("fake_part", False)) if part in parts), live)
    if told != live:
        raise DatasetError(
            f"{where}: labelled {'bona fide' if live else 'an attack'}, but it is in "
            f"{'real_part' if told else 'fake_part'}. Is this list of another form of CASIA-SURF?"
        )


def _video_of(path: str) -> tuple[str, str]:
    """Return subject and presentation of an image. The subject is the folder CLKJ_…; the presentation is that folder
    and the folder of the video."""
    parts = path.split("/")
    at = next((i for i, part in enumerate(parts) if part.startswith("CLKJ_")), None)
    if at is not None and at + 1 < len(parts):
        return parts[at], "/".join(parts[at : at + 2])
    stem = re.sub(r"[-_](?:color|depth|ir)$", "", path.rsplit(".", 1)[0])
    return stem, stem


def _challenge(root: Path, split: Split) -> Iterator[EntryFields]:
    path = root / CHALLENGE_LISTS[split]
    for number, row in enumerate(read_list(path, (4,)), 1):
        where = f"{path}, row {number}"
        files: dict[str, Path] = {}
        for word in row[:3]:
            modality = modality_of(word)
            if modality is None or modality in files:
                raise DatasetError(f"{where}: {word!r} is not one each of colour, depth and infrared.")
            files[modality] = root / word
        live = label_of(row[3], "1", where)
        _agree(row[0], live, where)
        subject, presentation = _video_of(row[0])
        yield files, species_of(row[0], live), subject, presentation


def _full(root: Path, split: Split) -> Iterator[EntryFields]:
    name = FULL_SPLITS[split]
    for kind, live in (("real", True), ("fake", False)):
        folder = root / f"{kind}_part" / f"{kind}_{name}_part"
        require_folder(folder, f"the {'bona fide' if live else 'attack'} subjects of split {split!r}")
        for rgb_file in sorted(folder.glob("CLKJ_*/*.rssdk/color/*.jpg")):
            # Some originals have preprocessed copies from other people beside them.
            if rgb_file.stem.endswith("_resized") or is_left_behind(rgb_file):
                continue
            inside = rgb_file.relative_to(folder).as_posix()
            subject, presentation = _video_of(inside)
            yield _beside(rgb_file), species_of(inside, live), subject, presentation


def _release(root: Path, split: Split) -> Iterator[EntryFields]:
    path = root / "protocol" / f"CASIA_SURF@p1_image_{split}.txt"
    for number, (word, label) in enumerate(read_list(path, (2,)), 1):
        where = f"{path}, row {number}"
        if modality_of(word) != "rgb":
            raise DatasetError(f"{where}: {word!r} is not in a folder 'color'.")
        live = label_of(label, "0", where)
        _agree(word, live, where)
        subject, presentation = _video_of(word)
        yield _beside(_placed(root, word)), species_of(word, live), subject, presentation


def _placed(root: Path, word: str) -> Path:
    """Return the path of a listed file. Lists are relative to the root or to its folder Data."""
    return root / word if (root / word).exists() else root / "Data" / word


def _beside(rgb_file: Path) -> dict[str, Path]:
    """Return the paths of the same image in every modality, by folder name."""
    return {modality: rgb_file.parent.parent / folder / rgb_file.name for modality, folder in FOLDERS.items()}
