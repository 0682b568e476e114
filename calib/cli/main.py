"""``adsn-calib``: what is measured once and then trusted."""

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

app = group("Measure once what is trusted afterwards: a rig's geometry and clocks, a bundle's decision threshold.")
app.command()(board)
app.command()(rig)
app.command()(offset)
app.command()(check)


class Presentations(BaseModel):
    """Scores of a set's presentations, as adsn-eval --out writes them."""

    model_config = ConfigDict(extra="ignore")
    species: list[str]
    score: list[float | None] = Field(min_length=1)


class ScoredSet(BaseModel):
    """One set of an adsn-eval file."""

    model_config = ConfigDict(extra="ignore")
    set: str
    presentations: Presentations


class EvaluationFile(BaseModel):
    """What adsn-eval --out writes, as far as it is needed here."""

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
        help="Share of bona fide presentations that may be refused; 0.01 when no target is given.", min=1e-6, max=0.5
    ),
]
MaxApcer = Annotated[
    float | None,
    typer.Option(help="Instead: share of each species' presentations that may get through.", min=1e-6, max=0.5),
]
Sign = Annotated[Path | None, typer.Option(help="Ed25519 private key (PEM) to sign the changed manifest with.")]
BandBpcer = Annotated[float, typer.Option(help="Share that may score below the uncertain band.", min=0, max=0.5)]


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
        raise ConfigError("give --max-bpcer or --max-apcer: one target sets the threshold, the other rate is measured.")
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
    # The test figures of the export hold at the threshold that they were measured at, and at no other.
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
        + ("The manifest is signed again.\n" if sign is not None else "")
        + (
            "The manifest's signature was removed, as it no longer fits; sign it again with --sign KEY.\n"
            if was_signed and sign is None
            else ""
        )
        + (
            "The manifest's test figures were measured at the old threshold and were removed; MODEL_CARD.md still has "
            "them.\n"
            if moved and opened.manifest.parity
            else ""
        )
        + "Measure the tests now with adsn-eval; do not set the threshold again after looking at them."
    )


@dataclass(frozen=True, slots=True)
class DevScores:
    """Scores of presentations, NaN for a non-response, their species, and what they were measured on."""

    values: list[float]
    species: list[str]
    source: str


def read_scores(path: Path, bundle: Bundle) -> DevScores:
    """Read the scores of one set that adsn-eval measured with ``bundle``.

    Raises:
        InputError: not such a file. ConfigError: the scores are another bundle's.
    """
    try:
        evaluation = EvaluationFile.model_validate_json(without_mark(path.read_bytes()))
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file. Make it with: adsn-eval BUNDLE --dev --out FILE") from error
    except ValidationError as error:
        raise InputError(
            f"{path}: not the scores of one set as adsn-eval --dev --out writes them: {_first(error)} Make them "
            "with: adsn-eval BUNDLE --dev --out FILE"
        ) from error
    scored = evaluation.sets[0]
    found = scored.presentations
    if len(found.species) != len(found.score):
        raise InputError(f"{path}: as many species as scores are needed.")
    expected = f"{bundle.manifest.name} {bundle.manifest.version} "
    if not evaluation.model.startswith(expected):
        raise ConfigError(f"{path} holds scores of {evaluation.model!r}; this bundle is {expected.strip()!r}.")
    values = [math.nan if score is None else score for score in found.score]
    return DevScores(values, found.species, f"{scored.set}, {evaluation.model}")


def replace_manifest(bundle: Path, text: bytes, sign: Path | None) -> bool:
    """Write a bundle's manifest, signed with the key at ``sign``; return whether the old one was signed.

    Raises:
        ConfigError: the key cannot be used; nothing has changed then.
    """
    signed = sign_manifest(text, sign) if sign is not None else None
    signature = bundle / SIGNATURE
    was_signed = signature.exists()
    # Gone before the manifest changes: a signature that does not fit looks like an attack to any reader.
    signature.unlink(missing_ok=True)
    write_atomically(bundle / MANIFEST, text)
    if signed is not None:
        signature.write_bytes(signed)
    return was_signed


def _first(error: ValidationError) -> str:
    """The first thing that is wrong with a file of scores, as a sentence."""
    first = error.errors(include_input=False, include_url=False)[0]
    where = ".".join(map(str, first["loc"]))
    if not where:
        return "the JSON cannot be read."
    return f"{where} is missing." if first["type"] == "missing" else f"{where}: {first['msg']}."


def brief(rate: RateEntry) -> str:
    """Errors of trials, with the 95 % interval."""
    return f"{rate.errors}/{rate.trials} (95 %: {rate.interval[0]:.2%} to {rate.interval[1]:.2%})"


def main() -> None:
    """Console script."""
    run(app)
