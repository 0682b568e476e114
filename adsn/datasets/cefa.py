"""CASIA-SURF CeFA (Liu et al., WACV 2021): the tree of videos, and the form used in the 2020 challenge.

The folder of a video is named ``R_ID_DEV_SESSION_PAI``, where R is the ethnicity (1 Africa, 2 Central Asia, 3 East
Asia) and PAI is 1 bona fide, 2 cloth print, 3 photo or 4 screen. Its RGB images are in the folder ``profile`` in older
copies and in ``color`` in newer ones. Of each ethnicity, subjects 000-199 are for training, 200-299 for dev, and
300-499 for test. Every test set includes the 3-D masks.

Supported protocols: 1.k trains on one ethnicity and tests on the others. 2.1 trains on prints and tests on replays, and
2.2 the reverse. 4.k trains on one ethnicity with replays and tests on the others with prints. ``all`` splits by subject
only. Protocol 3 is refused because it trains on one modality and tests on another, which is impossible with a
dual-stream network. Protocol 5 is refused because its public description is not detailed enough.

The name of a folder may contain an identity number after the subject, which encodes birth year and sex. This module
removes that number from all names that it returns.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from adsn.datasets.base import (
    DatasetError,
    DepthWindow,
    EntryFields,
    ListedPairs,
    Split,
    complete,
    label_of,
    read_list,
    require_folder,
    without_identity,
)
from runtime.core.species import BONA_FIDE
from runtime.imaging.crop import CropRule

ETHNICITIES = ("AF", "CA", "EA")
SUBJECTS = {"train": range(200), "dev": range(200, 300), "test": range(300, 500)}
PAI = {"1": BONA_FIDE, "2": "print_cloth", "3": "print_photo", "4": "replay_screen"}
PRINTS, REPLAYS = {"print_cloth", "print_photo"}, {"replay_screen"}
MASKS = {"3D-Mask": "mask_3d", "Silicone-Mask": "mask_silicone"}
VIDEO = re.compile(r"^([123])_(\d{3})_(\d)_(\d)_([1-4])$")
SUBJECT = re.compile(r"^(AF|CA|EA)-(\d{3})(?:-.*)?$")
PICTURE = re.compile(r"^\d{4}\.jpg$")


def open_cefa(
    root: Path,
    *,
    protocol: str,
    split: Split,
    modalities: Sequence[str] = ("rgb", "ir"),
    frames: int | None = None,
    rule: CropRule | None = None,
    window: DepthWindow | None = None,
    max_skipped: float = 0.05,
) -> ListedPairs:
    """Open a split of a protocol.

    ``protocol``: ``all``, ``1.1`` to ``1.3``, ``2.1``, ``2.2`` or ``4.1`` to ``4.3`` for the tree; ``challenge.1`` to
    ``challenge.3`` for the lists ``4@k_*``.

    ``frames``: maximum number of images of each video, evenly spread; None for all.

    Raises:
        DatasetError: the protocol is unknown, the root is wrong, a list is missing, or too much is missing.
    """
    require_folder(root, "the root of CASIA-SURF CeFA")
    if protocol.startswith("challenge."):
        found = _challenge(root, protocol.removeprefix("challenge."), split, frames)
    else:
        found = _tree(root, protocol, split, frames)
    entries, skipped = complete(found, modalities)
    return ListedPairs(
        f"cefa-{protocol}-{split}",
        entries,
        sensor="RealSense",
        modalities=modalities,
        skipped=skipped,
        max_skipped=max_skipped,
        rule=rule,
        window=window,
    )


def chosen(protocol: str, split: Split) -> tuple[set[str], set[str]]:
    """Return the ethnicities and attack species in a split of a protocol.

    Raises:
        DatasetError: the protocol does not exist or is refused. The message gives the reason.
    """
    everyone, attacks = set(ETHNICITIES), PRINTS | REPLAYS
    if protocol == "all":
        return everyone, attacks
    number, _, part = protocol.partition(".")
    if number in ("1", "4") and part in ("1", "2", "3"):
        own = {ETHNICITIES[int(part) - 1]}
        people = everyone - own if split == "test" else own
        if number == "1":
            return people, attacks
        return people, PRINTS if split == "test" else REPLAYS
    if number == "2" and part in ("1", "2"):
        first, second = (PRINTS, REPLAYS) if part == "1" else (REPLAYS, PRINTS)
        return everyone, second if split == "test" else first
    if number in ("3", "5"):
        raise DatasetError(f"CeFA's protocol {number} is not supported: see the documentation of this reader.")
    raise DatasetError(f"CeFA has no protocol {protocol!r}; choose all, 1.1-1.3, 2.1, 2.2, 4.1-4.3 or challenge.1-3.")


def _tree(root: Path, protocol: str, split: Split, frames: int | None) -> Iterator[EntryFields]:
    ethnicities, attacks = chosen(protocol, split)
    for ethnicity in sorted(ethnicities):
        require_folder(root / ethnicity, f"the subjects of ethnicity {ethnicity}")
        for folder in sorted((root / ethnicity).iterdir()):
            match = SUBJECT.match(folder.name)
            if not match or int(match[2]) not in SUBJECTS[split]:
                continue
            for video in sorted(folder.iterdir()):
                species = species_of(video.name)
                if species == BONA_FIDE or species in attacks:
                    subject = f"{match[1]}-{match[2]}"
                    yield from _pictures(video, species, subject, f"{subject}/{video.name}", frames)
    if split == "test":
        yield from _masks(root, frames)


def species_of(video: str) -> str | None:
    """Return the species for the name of a video, or None for a folder that is not a video."""
    match = VIDEO.match(video)
    return PAI[match[5]] if match else None


def _masks(root: Path, frames: int | None) -> Iterator[EntryFields]:
    """Yield the entries of the subset with 3-D masks, if this copy has it."""
    for folder, species in MASKS.items():
        if not (root / folder).is_dir():
            continue
        for person in sorted((root / folder).iterdir()):
            # There is either one folder per subject that contains its videos, or there are only the videos.
            videos = [p for p in sorted(person.iterdir()) if p.is_dir()] if person.is_dir() else []
            if any(p.name in ("profile", "color") for p in videos):
                videos = [person]
            for video in videos:
                subject = f"{folder}-{video.name.split('_')[1] if '_' in video.name else video.name}"
                yield from _pictures(video, species, subject, f"{folder}/{video.name}", frames)


def _pictures(video: Path, species: str, subject: str, presentation: str, frames: int | None) -> Iterator[EntryFields]:
    rgb_folder = next((video / name for name in ("profile", "color") if (video / name).is_dir()), None)
    if rgb_folder is None:
        raise DatasetError(
            f"{without_identity(video)}: there is neither a folder 'profile' nor 'color' with colour images."
        )
    names = sorted(p.name for p in rgb_folder.iterdir() if PICTURE.match(p.name))
    if frames is not None and len(names) > frames:
        names = [names[i * len(names) // frames] for i in range(frames)]
    for name in names:
        files = {"rgb": rgb_folder / name, "depth": video / "depth" / name, "ir": video / "ir" / name}
        yield files, species, subject, presentation


def _challenge(root: Path, part: str, split: Split, frames: int | None) -> Iterator[EntryFields]:
    """Read the lists of the challenge, in which 1 is bona fide.

    The training lists contain images, the dev lists folders. The labels of the test set were never published.
    """
    if part not in ("1", "2", "3"):
        raise DatasetError(f"CeFA's challenge has no sub-protocol {part!r}; the choices are 1, 2 and 3.")
    if split == "test":
        raise DatasetError(
            "CeFA's challenge test lists contain no labels. Evaluate on 'dev', or on the tree's protocol 4."
        )
    path = root / (f"4@{part}_train.txt" if split == "train" else f"4@{part}_dev_ref.txt")
    for number, (word, label) in enumerate(read_list(path, (2,)), 1):
        where = f"{path}, row {number}"
        live = label_of(label, "1", where)
        listed = root / word
        video = listed.parent.parent if listed.suffix else listed
        # Dev folders are named by plain numbers; training folders name the species.
        species = species_of(video.name) or (BONA_FIDE if live else "attack")
        if (species == BONA_FIDE) != live:
            raise DatasetError(f"{where}: label {label}, but {video.name!r} means {species}.")
        match = VIDEO.match(video.name)
        subject = f"{ETHNICITIES[int(match[1]) - 1]}-{match[2]}" if match else video.name
        if listed.suffix:
            files = {"rgb": listed} | {m: video / m / listed.name for m in ("depth", "ir")}
            yield files, species, subject, video.name
        else:
            yield from _pictures(video, species, subject, video.name, frames)
