"""``adsn-rig sample``: write pairs of the simulated rig to files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import cv2
import typer
from rich.console import Console

from runtime.capture.simulated.rig import (
    FAMILIES,
    SHAPES,
    SPECIES,
    SUBJECT,
    WORLD,
    SyntheticPair,
    SyntheticRig,
    contact_sheet,
)
from runtime.capture.simulated.stills import read_still, still_count
from runtime.core.errors import ConfigError
from runtime.core.values import Box, Image

Folder = Annotated[Path, typer.Argument(help="Folder to write to; created if missing.", show_default=False)]
Count = Annotated[int, typer.Option(help="Number of pairs of each species.", min=1)]
STILLS = "stills"
Seed = Annotated[int | None, typer.Option(help="Random seed of the simulation.", min=0)]
Family = Annotated[str | None, typer.Option(help=f"Sensor family of the simulation: {' or '.join(FAMILIES)}.")]
Shape = Annotated[
    str,
    typer.Option(
        help=f"Source of the people: {STILLS}, path-traced beforehand, or those of the simulated cameras, "
        f"{' or '.join(SHAPES)}; scan reads the ICT Face Model from ADSN_FACE_MODEL."
    ),
]
Kinds = Annotated[
    list[str] | None, typer.Option("--species", help="Species to render (may be repeated); all by default.")
]
Sheet = Annotated[bool, typer.Option("--sheet", help="Also write sheet.png: every species in every modality.")]


def write_image(path: Path, image: Image, *params: int) -> None:
    """Write an image, uint8 [H, W, 3] RGB or [H, W, 1]. The suffix of the file selects the format.

    Raises:
        OSError: the image could not be written.
    """
    pixels = image[:, :, ::-1] if image.shape[2] == 3 else image
    good, data = cv2.imencode(path.suffix, pixels, list(params))
    if not good:
        raise OSError(f"{path}: the image could not be encoded.")
    path.write_bytes(data.tobytes())


def _pair(species: str, number: int, seed: int, family: str, shape: str) -> SyntheticPair:
    if shape == STILLS:
        return read_still(species, number)
    subject = SUBJECT + number
    rig = SyntheticRig(seed=seed, subject=subject, species=species, family=family, presentation=number, shape=shape)
    return rig.next()


def _box(box: Box) -> list[float]:
    return [round(v, 1) for v in (box.x, box.y, box.w, box.h)]


def _check(kinds: list[str], count: int, seed: int | None, family: str | None, shape: str) -> None:
    unknown = sorted(set(kinds) - set(SPECIES))
    if unknown or family not in (None, *FAMILIES):
        raise ConfigError(f"unknown species or family {unknown or family!r}; use {list(SPECIES)} and {list(FAMILIES)}.")
    if shape not in (STILLS, *SHAPES):
        raise ConfigError(f"unknown shape {shape!r}; use one of {', '.join((STILLS, *SHAPES))}.")
    if shape != STILLS:
        return
    if seed is not None or family is not None:
        raise ConfigError(f"--seed and --family belong to the simulated cameras; add --shape {SHAPES[0]}.")
    short = [kind for kind in kinds if still_count(kind) < count]
    if short:
        raise ConfigError(
            f"there are {still_count(short[0])} stills of {short[0]}, fewer than {count}; for more, add "
            f"--shape {SHAPES[0]}."
        )


def sample(
    folder: Folder,
    count: Count = 1,
    seed: Seed = None,
    family: Family = None,
    species: Kinds = None,
    shape: Shape = STILLS,
    sheet: Sheet = False,
) -> None:
    """Write sample pairs: NAME-rgb.jpg, NAME-ir.png and NAME.json (face boxes, conditions)."""
    kinds = species or list(SPECIES)
    _check(kinds, count, seed, family, shape)
    world, cameras = WORLD if seed is None else seed, family or FAMILIES[0]
    folder.mkdir(parents=True, exist_ok=True)
    for kind in kinds:
        for number in range(count):
            made = _pair(kind, number, world, cameras, shape)
            stem = f"{kind}-{number}"
            write_image(folder / f"{stem}-rgb.jpg", made.pair.image("rgb"), cv2.IMWRITE_JPEG_QUALITY, 92)
            write_image(folder / f"{stem}-ir.png", made.pair.image("ir"))
            facts = {
                "species": kind,
                "face_box": _box(made.face_box),
                "ir_face_box": _box(made.ir_face_box),
                "conditions": {name: round(float(value), 3) for name, value in made.conditions.items()},
            }
            (folder / f"{stem}.json").write_text(json.dumps(facts, indent=1) + "\n")
    if sheet:
        source = SHAPES[0] if shape == STILLS else shape
        write_image(folder / "sheet.png", contact_sheet(4, world, cameras, source))
    Console().print(f"wrote {len(kinds) * count} pairs to {folder}")
