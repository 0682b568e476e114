"""``adsn-rig sample``: write pairs of the simulated rig to files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import cv2
import typer
from rich.console import Console

from runtime.capture.simulated.rig import FAMILIES, SHAPES, SPECIES, SUBJECT, WORLD, SyntheticRig, contact_sheet
from runtime.core.errors import ConfigError
from runtime.core.values import Image

Folder = Annotated[Path, typer.Argument(help="Folder to write to; created if missing.", show_default=False)]
Count = Annotated[int, typer.Option(help="Number of pairs of each species.", min=1)]
Seed = Annotated[int, typer.Option(help="Random seed of the simulation.", min=0)]
Family = Annotated[str, typer.Option(help=f"Sensor family: {' or '.join(FAMILIES)}.")]
Shape = Annotated[
    str,
    typer.Option(
        help=f"Source of head shapes: {' or '.join(SHAPES)}; scan reads the ICT Face Model from ADSN_FACE_MODEL."
    ),
]
Kinds = Annotated[
    list[str] | None, typer.Option("--species", help="Species to render (may be repeated); all by default.")
]
Sheet = Annotated[bool, typer.Option("--sheet", help="Also write sheet.png: every species in every modality.")]


def write_image(path: Path, image: Image, *params: int) -> None:
    """Write uint8 [H, W, 3] RGB or [H, W, 1]; the file's suffix sets the format.

    Raises:
        OSError: the image could not be written.
    """
    pixels = image[:, :, ::-1] if image.shape[2] == 3 else image
    good, data = cv2.imencode(path.suffix, pixels, list(params))
    if not good:
        raise OSError(f"{path}: the image could not be encoded.")
    path.write_bytes(data.tobytes())


def sample(
    folder: Folder,
    count: Count = 1,
    seed: Seed = WORLD,
    family: Family = "A",
    species: Kinds = None,
    shape: Shape = "analytic",
    sheet: Sheet = False,
) -> None:
    """Write pairs of the synthetic sensor: NAME-rgb.jpg, NAME-ir.png and NAME.json (face boxes, conditions)."""
    kinds = species or list(SPECIES)
    unknown = sorted(set(kinds) - set(SPECIES))
    if unknown or family not in FAMILIES:
        raise ConfigError(f"unknown species or family {unknown or family!r}; use {list(SPECIES)} and {list(FAMILIES)}.")
    folder.mkdir(parents=True, exist_ok=True)
    for kind in kinds:
        for number in range(count):
            rig = SyntheticRig(
                seed=seed, subject=SUBJECT + number, species=kind, family=family, presentation=number, shape=shape
            )
            made = rig.next()
            stem = f"{kind}-{number}"
            write_image(folder / f"{stem}-rgb.jpg", made.pair.image("rgb"), cv2.IMWRITE_JPEG_QUALITY, 92)
            write_image(folder / f"{stem}-ir.png", made.pair.image("ir"))
            facts = {
                "species": kind,
                "face_box": [round(v, 1) for v in (made.face_box.x, made.face_box.y, made.face_box.w, made.face_box.h)],
                "ir_face_box": [
                    round(v, 1)
                    for v in (made.ir_face_box.x, made.ir_face_box.y, made.ir_face_box.w, made.ir_face_box.h)
                ],
                "conditions": {name: round(float(value), 3) for name, value in made.conditions.items()},
            }
            (folder / f"{stem}.json").write_text(json.dumps(facts, indent=1) + "\n")
    if sheet:
        write_image(folder / "sheet.png", contact_sheet(4, seed, family, shape))
    Console().print(f"wrote {len(kinds) * count} pairs to {folder}")
