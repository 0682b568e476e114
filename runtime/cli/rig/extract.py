"""``adsn-rig extract``: write the pairs of a recording as image files and list them, for training and evaluation."""

from __future__ import annotations

import csv
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console

from runtime.cli.command import FAILURE
from runtime.core.errors import ConfigError, InputError, RecordingInvalid
from runtime.core.files import draft_folder
from runtime.core.species import SpeciesInvalid, require_distinct, require_species
from runtime.core.user_text import ENCODING, closest_name
from runtime.core.values import Modality, Pair
from runtime.face.detector import FaceDetector
from runtime.face.open import open_detector
from runtime.face.pair_detection import PairDetection, find_face, searchable_modalities
from runtime.geometry.box_mapping import BoxMapper, CalibratedMapper, ScaleMapper
from runtime.geometry.calibration_file import load_geometry
from runtime.recording.reader import Recording
from runtime.recording.set_list import COLUMNS, LIST
from runtime.recording.writer import create_private, private_folder


class Split(str, Enum):
    """Split of the data set to which a presentation belongs."""

    train = "train"
    dev = "dev"
    test = "test"


File = Annotated[Path, typer.Argument(help="A recording of one presentation, NAME.mcap.")]
Folder = Annotated[Path, typer.Argument(help="Folder of the set (mode 0700); created if missing.")]
Subject = Annotated[str, typer.Option(help="The recorded person: a number or a pseudonym.")]
Species = Annotated[str, typer.Option(help="bona_fide, or the attack instrument's species, e.g. print_matte.")]
NewSpecies = Annotated[
    bool, typer.Option("--new-species", help="Accept a species that neither the set nor the simulation knows yet.")
]
SplitOption = Annotated[Split, typer.Option(help="Purpose of the presentation; a person may be in one split only.")]
Sensor = Annotated[str, typer.Option(help="Name of the rig.")]
Presentation = Annotated[str | None, typer.Option(help="Name in the list; default: the recording's name.")]
EveryMs = Annotated[float, typer.Option("--every-ms", help="Minimum time between two pairs, in ms.", min=0)]
AtMost = Annotated[int, typer.Option(help="Maximum number of pairs.", min=1)]
Geometry = Annotated[Path | None, typer.Option(help="The rig's geometry; default: the recording's own, if any.")]


def extract(
    file: File,
    folder: Folder,
    subject: Subject,
    species: Species,
    split: SplitOption,
    sensor: Sensor = "rig",
    presentation: Presentation = None,
    every_ms: EveryMs = 500,
    at_most: AtMost = 20,
    geometry: Geometry = None,
    new_species: NewSpecies = False,
) -> None:
    """Add a recording to a set: some of its pairs as PNG with face boxes, and a line in recordings.csv."""
    name = presentation or file.stem
    entry = {"presentation": name, "subject": subject, "species": species, "sensor": sensor, "split": split.value}
    require_entry(entry)
    if not new_species:
        require_known_species(folder, species)
    recording = Recording(file)
    searched = searchable_modalities(recording.modalities)
    if len(recording.modalities) != 2:
        raise RecordingInvalid(f"{file}: contains only {' and '.join(recording.modalities)}, so there are no pairs.")
    private_folder(folder)
    require_new(folder, entry)
    box_mapper, detector = box_mapper_for(recording, geometry), open_detector()
    with draft_folder(folder / name) as draft:
        seen, kept = write_pairs(recording, box_mapper, detector, draft, every_ns=int(every_ms * 1e6), at_most=at_most)
        if not kept:
            print_line(f"{file}: no face found in {seen} pairs ({' and '.join(searched)}); nothing was written.")
            raise typer.Exit(FAILURE)
        os.rename(draft, folder / name)
        append(folder / LIST, entry)
    print_line(f"{folder / name}: {kept} pairs written, {seen - kept} skipped (no face).")


def write_pairs(
    recording: Recording, box_mapper: BoxMapper, detector: FaceDetector, folder: Path, *, every_ns: int, at_most: int
) -> tuple[int, int]:
    """Write the pairs of a recording that show a face, with the boxes. Return the numbers of pairs examined and
    written."""
    boxes: dict[str, dict[str, list[float]]] = {}
    seen = 0
    for pair in sample_pairs(recording, every_ns):
        seen += 1
        found = detect_boxes(pair, recording.modalities, detector, box_mapper)
        if found is None:
            continue
        number = f"{len(boxes):04d}"
        boxes[number] = {m: [round(v, 2) for v in (b.x, b.y, b.w, b.h)] for m, b in found.boxes.items()}
        for modality in recording.modalities:
            write_picture(folder / f"{number}-{modality}.png", pair.image(modality))
        if len(boxes) == at_most:
            break
    if boxes:
        with create_private(folder / "boxes.json") as out:
            out.write(json.dumps(boxes, indent=1).encode() + b"\n")
    return seen, len(boxes)


def print_line(text: str) -> None:
    """Print one line without markup or wrapping."""
    Console(soft_wrap=True, highlight=False, markup=False).print(text)


def require_entry(entry: Mapping[str, str]) -> None:
    """Check that the names can be used as folder names and in the list.

    Raises:
        ConfigError: a name is invalid. The message says which.
    """
    for key, value in entry.items():
        if not value.strip() or not value.isprintable() or len(value) > 100:
            raise ConfigError(f"{key}: {value!r} is not a valid name; use 1 to 100 printable characters.")
    try:
        require_species(entry["species"])
    except SpeciesInvalid as error:
        raise ConfigError(error.message) from None
    if Path(entry["presentation"]).name != entry["presentation"] or entry["presentation"].startswith("."):
        raise ConfigError(f"presentation: {entry['presentation']!r} is not a folder name; pass --presentation.")


def require_known_species(folder: Path, species: str) -> None:
    """Check that the species is known, in the set or in the simulation. A misspelt name would be counted as a separate
    species.

    Raises:
        ConfigError: the species is unknown. The message names the most similar known species.
    """
    from runtime.capture.simulated.rig import SPECIES

    path = folder / LIST
    listed = {row["species"] for row in read_list(path)} if path.exists() else set()
    known = sorted({*SPECIES, *listed})
    if species in known:
        return
    guess = closest_name(species, known) or f"known are {', '.join(known)}."
    raise ConfigError(f"species: {species!r} is new to this set; {guess} For another species, pass --new-species.")


def read_list(path: Path) -> list[dict[str, str]]:
    """Return the rows of the list of a set.

    Raises:
        InputError: the list has different columns.
    """
    with path.open(newline="", encoding=ENCODING) as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != COLUMNS:
            raise InputError(f"{path}: the columns are not {','.join(COLUMNS)}.")
        return list(reader)


def require_new(folder: Path, entry: Mapping[str, str]) -> None:
    """Check that the presentation is new and that its subject is not in a different split.

    Raises:
        ConfigError: it is not, or the subject is. InputError: the list has different columns.
    """
    if (folder / entry["presentation"]).exists():
        raise ConfigError(f"{folder / entry['presentation']} already exists; pass another --presentation.")
    path = folder / LIST
    if not path.exists():
        return
    rows = read_list(path)
    try:
        require_distinct([entry["species"], *(row["species"] for row in rows)])
    except SpeciesInvalid as error:
        raise ConfigError(f"{path}: {error.message}") from None
    for row in rows:
        if row["subject"] == entry["subject"] and row["split"] != entry["split"]:
            raise ConfigError(
                f"{path}: subject {entry['subject']} is already in {row['split']}. A person used for training must "
                "not be used for testing: use the same --split, or another person."
            )


def append(path: Path, entry: Mapping[str, str]) -> None:
    """Append a row to the list. If the list does not exist, create it with its header."""
    if not path.exists():
        create_private(path).close()
    with path.open("r+", newline="", encoding="utf-8") as file:
        text = file.read()
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        if not text:
            writer.writeheader()
        elif not text.endswith("\n"):
            file.write("\n")
        writer.writerow(entry)


def box_mapper_for(recording: Recording, geometry: Path | None) -> BoxMapper:
    """Return the box mapper for ``geometry`` or, by default, for the geometry in the recording. Without either it is a
    `ScaleMapper`.

    Raises:
        CalibrationInvalid: the geometry cannot be used.
    """
    if geometry is not None:
        return CalibratedMapper(load_geometry(geometry))
    if recording.calibration is None:
        return ScaleMapper()
    with tempfile.NamedTemporaryFile(suffix=".json") as copy:
        copy.write(recording.calibration)
        copy.flush()
        return CalibratedMapper(load_geometry(Path(copy.name)))


def sample_pairs(recording: Recording, every_ns: int) -> Iterator[Pair]:
    """Yield pairs of the recording that are at least ``every_ns`` apart within a stream generation."""
    last: tuple[int, int] | None = None
    for captured in recording.replay():
        moment = max(t for t in captured.pair.times_ns if t is not None)
        if last is None or captured.pair.generation != last[0] or moment - last[1] >= every_ns:
            last = captured.pair.generation, moment
            yield captured.pair


def detect_boxes(
    pair: Pair, modalities: tuple[Modality, ...], detector: FaceDetector, box_mapper: BoxMapper
) -> PairDetection | None:
    """Return the face with its box in each image, or None if no face is found or a box leaves its image."""
    try:
        found = find_face(pair, modalities, detector, box_mapper)
        for modality, box in found.boxes.items():
            box.require_inside(pair.image(modality).shape, modality)
    except InputError:
        return None
    return found


def write_picture(path: Path, image: NDArray[Any]) -> None:
    """Write a PNG file of mode 0600: RGB, grey, or 16-bit grey in millimetres for depth.

    Raises:
        OSError: the image could not be written.
    """
    if image.dtype == np.float32:
        pixels: NDArray[Any] = np.clip(np.rint(image), 0, 65535).astype(np.uint16)
    else:
        pixels = image[:, :, ::-1] if image.shape[2] == 3 else image
    good, data = cv2.imencode(".png", pixels)
    if not good:
        raise OSError(f"{path}: the image could not be encoded.")
    with create_private(path) as out:
        out.write(data.tobytes())
