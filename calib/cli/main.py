"""Command line of ``adsn-calib``."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from rich.console import Console

from calib.cli.check import check
from calib.cli.offset import offset
from calib.cli.rig import board, rig
from calib.threshold import operating_point
from runtime.bundle.manifest import MANIFEST, Bundle, RateEntry, open_bundle
from runtime.bundle.signature import SIGNATURE, sign_manifest
from runtime.cli.command import group, run
from runtime.core.errors import ConfigError, InputError
from runtime.core.files import write_atomically
from runtime.core.user_text import without_mark

app = group("Calibrate camera geometry and clock offsets, and set a bundle's decision threshold.")
app.command()(board)
app.command()(rig)
app.command()(offset)
app.command()(check)


class Presentations(BaseModel):
    """Scores of the presentations of a set in an adsn-eval file."""

    model_config = ConfigDict(extra="ignore")
    species: list[str]
    score: list[float | None] = Field(min_length=1)


class ScoredSet(BaseModel):
    """One set of an adsn-eval file."""

    model_config = ConfigDict(extra="ignore")
    set: str
    presentations: Presentations


class EvaluationFile(BaseModel):
    """The parts of an adsn-eval --out file that are used here."""

    model_config = ConfigDict(extra="ignore")
    model: str
    sets: list[ScoredSet] = Field(min_length=1, max_length=1)


Scores = Annotated[
    Path, typer.Argument(help="Scores of one development set: adsn-eval BUNDLE --dev --out FILE.", show_default=False)
]
BundleFolder = Annotated[Path, typer.Argument(help="The bundle whose manifest gets the threshold.", show_default=False)]
MaxBpcer = Annotated[
    float | None,
    typer.Option(
        help="Share of bona fide presentations that may be rejected; 0.01 if no target is given.", min=1e-6, max=0.5
    ),
]
MaxApcer = Annotated[
    float | None,
    typer.Option(help="Alternative target: share of each species that may be accepted.", min=1e-6, max=0.5),
]
Sign = Annotated[Path | None, typer.Option(help="Ed25519 private key (PEM) to sign the changed manifest with.")]
BandBpcer = Annotated[
    float, typer.Option(help="Share of bona fide presentations below the uncertain band.", min=0, max=0.5)
]


@app.command()
def threshold(
    scores: Scores,
    bundle: BundleFolder,
    max_bpcer: MaxBpcer = None,
    max_apcer: MaxApcer = None,
    band_bpcer: BandBpcer = 0.002,
    sign: Sign = None,
) -> None:
    """Set BUNDLE's operating point from development scores: the strictest threshold within --max-bpcer, or the lowest
    within --max-apcer."""
    if max_bpcer is not None and max_apcer is not None:
        raise ConfigError("pass --max-bpcer or --max-apcer, not both: one target sets the threshold.")
    scored = read_scores(scores, opened := open_bundle(bundle))
    point = operating_point(
        scored.values,
        scored.species,
        measured_on=scored.source,
        max_bpcer=0.01 if max_bpcer is None else max_bpcer,
        max_apcer=max_apcer,
        band_bpcer=band_bpcer,
    )
    others = [entry for entry in opened.manifest.operating_points if entry.name != point.name]
    before = [entry.threshold for entry in opened.manifest.operating_points if entry.name == point.name]
    moved = before != [point.threshold]
    # The figures measured on test sets during the export are valid only at the threshold used then.
    parity = [] if moved else opened.manifest.parity
    manifest = opened.manifest.model_copy(update={"operating_points": [*others, point], "parity": parity})
    text = (json.dumps(manifest.model_dump(mode="json"), indent=1) + "\n").encode()
    was_signed = replace_manifest(bundle, text, sign)
    worst = max(
        point.apcer,
        key=lambda species_name: point.apcer[species_name].errors / max(point.apcer[species_name].trials, 1),
        default="",
    )
    got_through = f", worst species {worst} {brief(point.apcer[worst])}" if worst else ""
    Console().print(
        f"threshold {point.threshold:.6f}, uncertain from {point.band_low:.6f}: "
        f"BPCER {brief(point.bpcer)}{got_through} on the development set.\n"
        + ("The manifest has been signed again.\n" if sign is not None else "")
        + (
            "The manifest's signature was removed because it is no longer valid. Sign it again with --sign KEY.\n"
            if was_signed and sign is None
            else ""
        )
        + (
            "The manifest's test figures were measured at the old threshold and were removed; MODEL_CARD.md still has "
            "them.\n"
            if moved and opened.manifest.parity
            else ""
        )
        + "Now score the test sets with adsn-eval. Do not set the threshold again after seeing the results."
    )


@dataclass(frozen=True, slots=True)
class DevScores:
    """Scores of presentations (NaN for a non-response), their species, and the names of their sources."""

    values: list[float]
    species: list[str]
    source: str


def read_scores(path: Path, bundle: Bundle) -> DevScores:
    """Read the scores of one set that adsn-eval measured with ``bundle``.

    Raises:
        InputError: the file is missing or invalid. ConfigError: the scores are from a different bundle.
    """
    try:
        evaluation = EvaluationFile.model_validate_json(without_mark(path.read_bytes()))
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file. Create it with: adsn-eval BUNDLE --dev --out FILE") from error
    except ValidationError as error:
        raise InputError(
            f"{path}: not a file with the scores of one set: {_first(error)} Create it with: adsn-eval BUNDLE --dev "
            "--out FILE"
        ) from error
    scored = evaluation.sets[0]
    found = scored.presentations
    if len(found.species) != len(found.score):
        raise InputError(f"{path}: the numbers of species and scores differ.")
    expected = f"{bundle.manifest.name} {bundle.manifest.version} "
    if not evaluation.model.startswith(expected):
        raise ConfigError(f"{path} has scores of {evaluation.model!r}, but this bundle is {expected.strip()!r}.")
    values = [math.nan if score is None else score for score in found.score]
    return DevScores(values, found.species, f"{scored.set}, {evaluation.model}")


def replace_manifest(bundle: Path, text: bytes, sign: Path | None) -> bool:
    """Write the manifest of a bundle, sign it if ``sign`` names a key, and return whether the old one was signed.

    Raises:
        ConfigError: the key cannot be used. Nothing was changed.
    """
    signed = sign_manifest(text, sign) if sign is not None else None
    signature = bundle / SIGNATURE
    was_signed = signature.exists()
    # Remove the signature before the manifest changes, because a wrong signature looks like an attack to anyone who
    # loads the bundle.
    signature.unlink(missing_ok=True)
    write_atomically(bundle / MANIFEST, text)
    if signed is not None:
        signature.write_bytes(signed)
    return was_signed


def _first(error: ValidationError) -> str:
    """Return a sentence on the first error in a file of scores."""
    first = error.errors(include_input=False, include_url=False)[0]
    where = ".".join(map(str, first["loc"]))
    if not where:
        return "the JSON cannot be read."
    return f"{where} is missing." if first["type"] == "missing" else f"{where}: {first['msg']}."


def brief(rate: RateEntry) -> str:
    """Return errors and trials, with the 95 % interval, as text."""
    return f"{rate.errors}/{rate.trials} (95 %: {rate.interval[0]:.2%} to {rate.interval[1]:.2%})"


def main() -> None:
    """Run the console script."""
    run(app)
