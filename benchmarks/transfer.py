"""Transfer: measure error rates, on path-traced images, of a model that was trained only with the fast renderer.

``python -m benchmarks.transfer BUNDLE`` writes transfer.md. It needs Mitsuba and MakeHuman's assets
(docs/rendering.md). A model that was trained on path-traced pairs, like the shipped one, is refused: figures on a
renderer used in training show how well the model has learnt that renderer, not what it has learnt about faces.
"""

from __future__ import annotations

import argparse
import datetime
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from adsn.evaluation.evaluate import engine_scorer
from adsn.metrics import Rate, auc
from runtime.bundle.manifest import Bundle, open_bundle
from runtime.core.species import BONA_FIDE
from runtime.core.values import Box
from runtime.imaging.crop import CropRule, crop
from runtime.liveness.open import open_engine
from synthetic import SPECIES, Presentation
from synthetic.pathtraced import render_patch

PAGE = Path(__file__).resolve().parent / "transfer.md"
FIRST_SUBJECT = 5000
"""First subject. From subject 1000 on, skin, hair and clothes are different from those of all training subjects."""
SIZE = 144
BONA_FIDE_SHARE = 3
"""Ratio of bona fide presentations to those of each species."""
Crops = Mapping[str, NDArray[Any]]


def presentations(each: int, rule: CropRule) -> Iterator[tuple[str, Crops]]:
    """Render ``each`` presentations of every attack species, and `BONA_FIDE_SHARE` times as many bona fide ones."""
    for species in SPECIES:
        for number in range(each * (BONA_FIDE_SHARE if species == BONA_FIDE else 1)):
            presentation = Presentation(
                seed=91, subject=FIRST_SUBJECT + number, species=species, family="AB"[number % 2], number=number
            )
            made = render_patch(presentation, size=SIZE)
            yield (
                species,
                {"rgb": crop(made.rgb, Box(*made.box), rule), "ir": crop(made.ir, Box(*made.ir_box), rule)},
            )


def measure(bundle: Bundle, each: int) -> tuple[list[str], NDArray[np.float32]]:
    """Return the species of every presentation and its scores [N, 3]: fused, RGB, IR."""
    scorer = engine_scorer(open_engine(bundle))
    species, scores = [], []
    for number, (name, crops) in enumerate(presentations(each, bundle.manifest.rule()), 1):
        species.append(name)
        scores.append(scorer({m: crops[m][None] for m in bundle.manifest.modalities})[0])
        if number % 10 == 0:
            print(f"{number} pairs", flush=True)
    return species, np.stack(scores)


def page(bundle: Bundle, species: list[str], scores: NDArray[np.float32]) -> str:
    """Return transfer.md."""
    threshold = bundle.manifest.operating_point().threshold
    names = np.array(species)
    people = scores[names == BONA_FIDE]
    refused = Rate(int((people[:, 0] < threshold).sum()), len(people))
    fused, rgb, ir = np.median(people, 0)
    lines = [
        "# On the other renderer",
        "",
        "This page tests a model of one renderer on people of the other. It was measured on",
        f"{datetime.date.today().isoformat()} with `python -m benchmarks.transfer`, on {len(species)}",
        "path-traced pairs",
        f"of {SIZE}×{SIZE} pixels with given boxes. Their skins, hair and clothes are in no training data.",
        "",
        f"The model is {bundle.manifest.name} {bundle.manifest.version} in INT8, trained on the fast renderer alone.",
        f"Its threshold, {threshold:.3f}, was set on that renderer. The samples are small: read the intervals.",
        "",
        f"**BPCER {refused}.** Median score of bona fide: fused {fused:.3f}, RGB {rgb:.3f}, IR {ir:.3f}.",
        "",
        "| species | AUC, fused | RGB stream | IR stream | APCER |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name in SPECIES:
        if name == BONA_FIDE:
            continue
        own = scores[names == name]
        label = np.r_[np.ones(len(people)), np.zeros(len(own))]
        areas = [auc(np.r_[people[:, k], own[:, k]], label) for k in range(3)]
        accepted = Rate(int((own[:, 0] >= threshold).sum()), len(own))
        lines.append(f"| {name} | {' | '.join(f'{a:.2f}' for a in areas)} | {accepted} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Render, score and write the page."""
    parser = argparse.ArgumentParser(description="Score a model of the fast renderer on path-traced people.")
    parser.add_argument("bundle", type=Path, help="bundle of a model that was not trained on path-traced pairs")
    parser.add_argument("--each", type=int, default=20, help="presentations of each species")
    given = parser.parse_args()
    cv2.setNumThreads(1)
    bundle = open_bundle(given.bundle)
    if "pathtraced" in json.dumps(bundle.manifest.training["recipe"]["data"]):
        parser.error(f"{given.bundle}: trained on path-traced pairs, so its figures on them are not transfer.")
    PAGE.write_text(page(bundle, *measure(bundle, given.each)))
    print(PAGE.read_text())


if __name__ == "__main__":
    main()
