"""Measure how much a model's decisions depend on glasses, hats, expressions and backgrounds.

One attribute is changed at a time. If it changes decisions, the model uses it as a cue. Recordings cannot show this,
but rendered presentations can: the same person or instrument, light, camera and noise, once with the attribute and once
without. `RENDERERS` lists the attributes that each renderer can change in isolation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adsn.evaluation.evaluate import Scorer
from adsn.evaluation.renderers import RENDERERS, Render, RendererName, Variant
from adsn.metrics import Rate
from runtime.imaging.crop import CropRule
from synthetic import SPECIES, Attributes, Presentation, attributes_of, draw_glasses, draw_hat, draw_medical_mask

BONA_FIDE = SPECIES[0]
BATCH = 32
AttributeChange = Callable[[Variant, np.random.Generator], Variant]
VariantKey = tuple[str, int, Variant]
"""Species, number and content of a rendered presentation."""


def _worn(change: Callable[[Attributes, np.random.Generator], Attributes]) -> AttributeChange:
    return lambda variant, rng: replace(variant, attributes=change(variant.attributes, rng))


def _bare_eyes(worn: Attributes, rng: np.random.Generator) -> Attributes:
    return replace(worn, glasses=None)


def _glasses(worn: Attributes, rng: np.random.Generator) -> Attributes:
    # The glasses are in front of a print and not part of it, because an attacker can always add them.
    return replace(worn, glasses=draw_glasses(rng), glasses_on_picture=True)


def _bare_head(worn: Attributes, rng: np.random.Generator) -> Attributes:
    return replace(worn, hat=None)


def _hat(worn: Attributes, rng: np.random.Generator) -> Attributes:
    return replace(worn, hat=draw_hat(rng))


def _bare_mouth(worn: Attributes, rng: np.random.Generator) -> Attributes:
    return replace(worn, medical_mask=None)


def _medical_mask(worn: Attributes, rng: np.random.Generator) -> Attributes:
    return replace(worn, medical_mask=draw_medical_mask(rng))


def _shut(worn: Attributes, rng: np.random.Generator) -> Attributes:
    return replace(worn, face=replace(worn.face, open_mouth=0.0, smile=0.0))


def _open(worn: Attributes, rng: np.random.Generator) -> Attributes:
    return replace(worn, face=replace(worn.face, open_mouth=0.9, smile=0.0))


def _frontal_gaze(worn: Attributes, rng: np.random.Generator) -> Attributes:
    return replace(worn, face=replace(worn.face, gaze=(0.0, 0.0)))


def _averted_gaze(worn: Attributes, rng: np.random.Generator) -> Attributes:
    return replace(worn, face=replace(worn.face, gaze=(float(rng.choice((-3.5, 3.5))), 0.0)))


def _same_background(variant: Variant, rng: np.random.Generator) -> Variant:
    return replace(variant, elsewhere=False)


def _other_background(variant: Variant, rng: np.random.Generator) -> Variant:
    return replace(variant, elsewhere=True)


CHANGES: Mapping[str, tuple[AttributeChange, AttributeChange]] = {
    "glasses": (_worn(_bare_eyes), _worn(_glasses)),
    "hat": (_worn(_bare_head), _worn(_hat)),
    "medical mask": (_worn(_bare_mouth), _worn(_medical_mask)),
    "open mouth": (_worn(_shut), _worn(_open)),
    "gaze": (_worn(_frontal_gaze), _worn(_averted_gaze)),
    "background": (_same_background, _other_background),
}
"""Attribute → the change that removes it from a presentation, and the change that adds it. A changed background means a
different room, different clothes and a different hand."""


@dataclass(frozen=True, slots=True)
class Effect:
    """Error rates of one species without and with an attribute: APCER, or BPCER for ``bona_fide``.

    ``flips``: number of presentations whose decision the attribute changes.
    """

    renderer: RendererName
    attribute: str
    species: str
    without: Rate
    with_it: Rate
    flips: int

    @property
    def change(self) -> float:
        """Change of the rate caused by the attribute, -1 to 1."""
        return self.with_it.value - self.without.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Presentations that are compared with and without attributes.

    ``presentations``: number of presentations per species; more of them add to the first ones. ``first_subject``:
    number of the first person; people from this number on are in no shipped training, calibration or test set.
    """

    presentations: int = 200
    renderer: RendererName = "fast"
    family: str = "B"
    first_subject: int = 3000
    seed: int = 25

    @property
    def attributes(self) -> tuple[str, ...]:
        """Attributes that the renderer can change."""
        return tuple(name for name in CHANGES if name in RENDERERS[self.renderer].attributes)

    @property
    def species(self) -> tuple[str, ...]:
        """Species that the renderer can render."""
        return RENDERERS[self.renderer].species

    def chosen(
        self, attributes: Iterable[str] | None = None, species: Iterable[str] | None = None
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return attributes and species, each once. By default these are all of the renderer's.

        Raises:
            ValueError: the renderer cannot change an attribute in isolation, or cannot render a species.
        """
        changed = tuple(dict.fromkeys(self.attributes if attributes is None else attributes))
        shown = tuple(dict.fromkeys(self.species if species is None else species))
        for name in changed:
            if name not in self.attributes:
                raise ValueError(
                    f"the renderer {self.renderer} cannot change {name!r} alone; it can: {', '.join(self.attributes)}."
                )
        for name in shown:
            if name not in self.species:
                raise ValueError(
                    f"the renderer {self.renderer} cannot render {name!r}; it can: {', '.join(self.species)}."
                )
        return changed, shown

    def presentation(self, species: str, number: int) -> Presentation:
        """Return an unchanged presentation."""
        subject = self.first_subject + number
        return Presentation(seed=self.seed, subject=subject, species=species, family=self.family, number=number)

    def variant(self, species: str, number: int, change: AttributeChange) -> Variant:
        """Return the content of a presentation after the change."""
        drawn = attributes_of(self.presentation(species, number))
        return change(Variant(drawn), np.random.default_rng([self.seed, number]))

    def variants(self, number: int, attributes: Iterable[str], species: Iterable[str]) -> list[VariantKey]:
        """Return all variants of the presentations with this number."""
        kinds = tuple(species)
        changes = [change for name in attributes for change in CHANGES[name]]
        keys = [(kind, number, self.variant(kind, number, change)) for kind in kinds for change in changes]
        # Many presentations have neither hat nor glasses, so they are the same for two attributes.
        return list(dict.fromkeys(keys))


@dataclass(frozen=True, slots=True)
class Counterfactual(Comparison):
    """Measurement of how a model's decisions change when one attribute of a presentation changes.

    ``scorer``: function from crops [N, S, S, C] by modality to scores, float32 [N, 3]. ``render``: used in place of the
    renderer's own function, for example to read what was rendered before.
    """

    scorer: Scorer
    rule: CropRule
    modalities: tuple[str, ...]
    threshold: float
    render: Render | None = field(default=None, kw_only=True)
    _decided: dict[VariantKey, bool] = field(default_factory=dict, init=False, repr=False)

    def effects(
        self,
        attributes: tuple[str, ...] | None = None,
        species: tuple[str, ...] | None = None,
        tick: Callable[[int], None] = lambda number: None,
    ) -> Iterator[Effect]:
        """Yield the effect of each attribute on each species. By default all attributes and all species of the renderer
        are measured.

        ``tick``: called with each number of a presentation when all its variants have been scored.

        Raises:
            ValueError, MakeHumanError, RenderError: as for `effect`.
        """
        changed, shown = self.chosen(attributes, species)
        # In this order, a measurement that is stopped has complete presentations in its store.
        for number in range(self.presentations):
            self._decide(self.variants(number, changed, shown))
            tick(number)
        for attribute in changed:
            for species_name in shown:
                yield self.effect(attribute, species_name)

    def effect(self, attribute: str, species: str) -> Effect:
        """Measure the effect of one attribute on one species.

        Raises:
            ValueError: the renderer cannot change the attribute in isolation, or cannot render the species.
            MakeHumanError, RenderError: path tracing is not available.
        """
        self.chosen((attribute,), (species,))
        without, with_it = (self.accepted(species, change) for change in CHANGES[attribute])
        wrong = [~a if species == BONA_FIDE else a for a in (without, with_it)]
        rates = [Rate(int(w.sum()), self.presentations) for w in wrong]
        return Effect(self.renderer, attribute, species, rates[0], rates[1], int((without != with_it).sum()))

    def accepted(self, species: str, change: AttributeChange) -> NDArray[np.bool_]:
        """Return which presentations the model accepts as bona fide after ``change``, bool [presentations]."""
        keys = [(species, number, self.variant(species, number, change)) for number in range(self.presentations)]
        self._decide(keys)
        return np.array([self._decided[key] for key in keys])

    def _decide(self, keys: list[VariantKey]) -> None:
        """Score the variants that have not been scored yet."""
        left = [key for key in keys if key not in self._decided]
        for start in range(0, len(left), BATCH):
            part = left[start : start + BATCH]
            cut = [self.crops(*key) for key in part]
            batch = {m: np.stack([crops[m] for crops in cut]) for m in self.modalities}
            decided = (self.scorer(batch)[:, 0] >= self.threshold).tolist()
            self._decided.update(zip(part, decided, strict=True))

    def crops(self, species: str, number: int, variant: Variant) -> dict[str, NDArray[Any]]:
        """Render a presentation and return its crops [S, S, C] by modality."""
        render = self.render or RENDERERS[self.renderer].render
        return render(self.presentation(species, number), variant).crops(self.rule)


def effects_json(effects: Iterable[Effect]) -> list[dict[str, Any]]:
    """Return effects as JSON values."""
    return [
        {
            "renderer": e.renderer,
            "attribute": e.attribute,
            "species": e.species,
            "presentations": e.without.trials,
            "errors_without": e.without.errors,
            "errors_with": e.with_it.errors,
            "flips": e.flips,
        }
        for e in effects
    ]
