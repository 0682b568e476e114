"""Measurements of ``adsn-eval`` in addition to error rates: the effects of attributes, and those of rigs and rooms."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from adsn.cli.evaluated_model import EvaluatedModel
from adsn.cli.evaluation_data import TestSet
from adsn.cli.train import bars
from runtime.core.errors import ConfigError

if TYPE_CHECKING:
    from adsn.evaluation.counterfactual import Comparison, Effect
    from adsn.evaluation.evaluate import Scored, Scorer
    from adsn.evaluation.renderers import Render
    from adsn.evaluation.robustness_curves import Robustness
    from runtime.face.detector import FaceDetector


@dataclass(frozen=True, slots=True)
class CounterfactualChoice:
    """What ``--counterfactual`` measures. ``render``: used in place of the renderer's own function."""

    compared: Comparison
    attributes: tuple[str, ...]
    species: tuple[str, ...]
    render: Render | None


def choose_counterfactuals(
    presentations: int, renderer: str, attributes: list[str], species: list[str], cache: Path
) -> CounterfactualChoice | None:
    """Return what to measure, or None for 0 presentations. An empty list stands for all that the renderer can do.

    ``cache``: folder in which path-traced images are kept.

    Raises:
        ConfigError: the renderer, an attribute or a species is unknown, or the people's assets are not available.
    """
    if not presentations:
        if species:
            raise ConfigError("--species chooses the species of --counterfactual: give --counterfactual N as well.")
        return None
    from adsn.evaluation.counterfactual import Comparison
    from adsn.evaluation.renderers import RENDERERS
    from adsn.evaluation.variant_store import VariantStore

    name = next((known for known in RENDERERS if known == renderer), None)
    if name is None:
        raise ConfigError(f"--renderer is {' or '.join(RENDERERS)}, not {renderer!r}.")
    compared = Comparison(presentations=presentations, renderer=name)
    try:
        changed, shown = compared.chosen(attributes or None, species or None)
        render = VariantStore(cache).patch if name == "pathtraced" else None
    except ValueError as error:
        raise ConfigError(f"--counterfactual: {error}") from error
    return CounterfactualChoice(compared, changed, shown, render)


def counterfactuals(subject: EvaluatedModel, choice: CounterfactualChoice, console: Console) -> list[Effect]:
    """Measure and print the effects of glasses, hats, expressions and backgrounds, with the first precision.

    Raises:
        ConfigError: path tracing is not available.
    """
    from adsn.evaluation.counterfactual import Counterfactual
    from adsn.evaluation.counterfactual_page import largest_words, too_large
    from synthetic.pathtraced import RenderError

    compared = choice.compared
    asked = Counterfactual(
        next(iter(subject.scorers.values())),
        subject.rule,
        subject.modalities,
        subject.threshold,
        presentations=compared.presentations,
        renderer=compared.renderer,
        render=choice.render,
    )
    try:
        with bars(console) as progress:
            task = progress.add_task(
                f"counterfactuals, {compared.renderer}", total=compared.presentations, note="presentations"
            )
            effects = list(asked.effects(choice.attributes, choice.species, lambda _: progress.advance(task)))
    except (RenderError, ValueError) as error:
        raise ConfigError(f"--counterfactual: {error}") from error
    title = (
        f"one attribute changed, all else the same, {compared.presentations} presentations each, "
        f"renderer {compared.renderer}"
    )
    table = Table("attribute", "species", "errors without", "errors with", "flips", title=title, title_justify="left")
    for e in effects:
        style = "bold red" if too_large(e) else ""
        row = (e.attribute, e.species, str(e.without.errors), str(e.with_it.errors), str(e.flips))
        table.add_row(*row, style=style)
    console.print(table)
    console.print(largest_words(effects))
    return effects


def mismatched(scorer: Scorer, test: TestSet, scored: Scored, subject: EvaluatedModel, progress: Progress) -> Scored:
    """Score pairs of images that do not belong together, and return the whole set including them."""
    from adsn.evaluation.mismatch import mismatches, with_mismatches

    task = progress.add_task(f"mismatch {test.name}", total=len(mismatches(scored)), note="")
    return with_mismatches(scorer, test.pairs, scored, subject.modalities, tick=lambda n: progress.advance(task, n))


def robustness_of(subject: EvaluatedModel, test: TestSet, scored: Scored, count: int, progress: Progress) -> Robustness:
    """Score ``count`` pairs of each class at every step of every sweep, with the first precision."""
    from adsn.evaluation.robustness import RobustnessTest, drawn

    asked = RobustnessTest(
        scorer=next(iter(subject.scorers.values())),
        rule=subject.rule,
        modalities=subject.modalities,
        threshold=subject.threshold,
        detectors=available_detectors(),
    )
    chosen = drawn(scored.species, scored.presentations, count)
    task = progress.add_task(f"robustness {test.name}", total=len(chosen), note="")
    return asked.run(test.pictures, scored, chosen, tick=lambda n: progress.advance(task, n))


def available_detectors() -> dict[str, FaceDetector]:
    """Open all face detectors that need no file from the user. Those that cannot run on this machine are left out."""
    from runtime.core.errors import EngineUnavailable
    from runtime.face.open import FaceSettings, open_detector

    found: dict[str, FaceDetector] = {}
    for settings in (FaceSettings(kind="yunet"), FaceSettings(kind="haar")):
        try:
            found[settings.kind] = open_detector(settings)
        except EngineUnavailable:
            continue
    return found
