"""What a model's decisions owe to glasses, hats and faces' expressions: the same presentation with one thing changed.

An attribute that changes the answer is a cue. Rendered presentations allow the question that recordings do not: the
same person or instrument, light, camera and noise, once with the attribute and once without.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adsn.evaluation.evaluate import Scorer
from adsn.metrics import Rate
from runtime.core.values import Box
from runtime.imaging.crop import CropRule, crop
from synthetic import SPECIES, Attributes, Presentation, attributes_of, draw_glasses, draw_hat, render_patch

BONA_FIDE = SPECIES[0]
BATCH = 32
AttributeChange = Callable[[Attributes, np.random.Generator], Attributes]


def _bare_eyes(worn: Attributes, rng: np.random.Generator) -> Attributes:
    return replace(worn, glasses=None)


def _glasses(worn: Attributes, rng: np.random.Generator) -> Attributes:
    # Before a print, not in it: an attacker can always put them on.
    return replace(worn, glasses=draw_glasses(rng), glasses_on_picture=True)


def _bare_head(worn: Attributes, rng: np.random.Generator) -> Attributes:
    return replace(worn, hat=None)


def _hat(worn: Attributes, rng: np.random.Generator) -> Attributes:
    return replace(worn, hat=draw_hat(rng))


def _shut(worn: Attributes, rng: np.random.Generator) -> Attributes:
    return replace(worn, face=replace(worn.face, open_mouth=0.0, smile=0.0))


def _open(worn: Attributes, rng: np.random.Generator) -> Attributes:
    return replace(worn, face=replace(worn.face, open_mouth=0.9, smile=0.0))


def _frontal_gaze(worn: Attributes, rng: np.random.Generator) -> Attributes:
    return replace(worn, face=replace(worn.face, gaze=(0.0, 0.0)))


def _averted_gaze(worn: Attributes, rng: np.random.Generator) -> Attributes:
    return replace(worn, face=replace(worn.face, gaze=(float(rng.choice((-3.5, 3.5))), 0.0)))


CHANGES: Mapping[str, tuple[AttributeChange, AttributeChange]] = {
    "glasses": (_bare_eyes, _glasses),
    "hat": (_bare_head, _hat),
    "open mouth": (_shut, _open),
    "gaze": (_frontal_gaze, _averted_gaze),
}
"""Attribute → how a presentation is changed to be without it and to have it."""


@dataclass(frozen=True, slots=True)
class Effect:
    """Error rates of one species without and with an attribute: APCER, or BPCER for ``bona_fide``.

    ``flips``: presentations whose decision the attribute alone changed.
    """

    attribute: str
    species: str
    without: Rate
    with_it: Rate
    flips: int

    @property
    def change(self) -> float:
        """By how much the rate rises with the attribute, -1 to 1."""
        return self.with_it.value - self.without.value


@dataclass(frozen=True, slots=True)
class Counterfactual:
    """A question to a model: which of its decisions change when one attribute of a presentation does.

    ``scorer``: crops [N, S, S, C] by modality → float32 [N, 3]. ``presentations`` of each species, by people from
    ``first_subject`` on, who are in no shipped training, calibration or test set.
    """

    scorer: Scorer
    rule: CropRule
    modalities: tuple[str, ...]
    threshold: float
    presentations: int = 200
    family: str = "B"
    first_subject: int = 3000
    shapes: tuple[str, ...] = ("analytic",)
    seed: int = 25

    def effects(
        self, attributes: tuple[str, ...] = tuple(CHANGES), species: tuple[str, ...] = SPECIES
    ) -> Iterator[Effect]:
        """Yield the effect of each attribute on each species, as each is measured."""
        for attribute in attributes:
            for species_name in species:
                yield self.effect(attribute, species_name)

    def effect(self, attribute: str, species: str) -> Effect:
        """Measure the effect of one attribute on one species."""
        without, with_it = (self.accepted(species, change) for change in CHANGES[attribute])
        wrong = [~a if species == BONA_FIDE else a for a in (without, with_it)]
        rates = [Rate(int(w.sum()), self.presentations) for w in wrong]
        return Effect(attribute, species, rates[0], rates[1], int((without != with_it).sum()))

    def accepted(self, species: str, change: AttributeChange) -> NDArray[np.bool_]:
        """Which changed presentations the model takes for bona fide, bool [presentations]."""
        found = []
        for start in range(0, self.presentations, BATCH):
            part = [
                self.crops(species, number, change) for number in range(start, min(start + BATCH, self.presentations))
            ]
            batch = {m: np.stack([crops[m] for crops in part]) for m in self.modalities}
            found.append(self.scorer(batch)[:, 0] >= self.threshold)
        return np.concatenate(found)

    def crops(self, species: str, number: int, change: AttributeChange) -> dict[str, NDArray[Any]]:
        """Render a changed presentation; return its crops by modality, [S, S, C]."""
        subject = self.first_subject + number
        drawn = Presentation(seed=self.seed, subject=subject, species=species, family=self.family, number=number)
        worn = change(attributes_of(drawn), np.random.default_rng([self.seed, number]))
        rendered = render_patch(replace(drawn, attributes=worn), shape=self.shapes[subject % len(self.shapes)])
        boxes = {"rgb": rendered.box, "ir": rendered.ir_box, "depth": rendered.ir_box}
        pictures: dict[str, NDArray[Any]] = {"rgb": rendered.rgb, "ir": rendered.ir, "depth": rendered.depth}
        return {m: crop(pictures[m], Box(*boxes[m]), self.rule) for m in self.modalities}


def effects_json(effects: Iterable[Effect]) -> list[dict[str, Any]]:
    """Return effects as JSON values."""
    return [
        {
            "attribute": e.attribute,
            "species": e.species,
            "presentations": e.without.trials,
            "errors_without": e.without.errors,
            "errors_with": e.with_it.errors,
            "flips": e.flips,
        }
        for e in effects
    ]
