"""What ``adsn-eval`` asks of a model beside its error rates: what an attribute changes, and what a rig or room does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from adsn.cli.evaluated_model import EvaluatedModel
from adsn.cli.evaluation_data import TestSet
from adsn.cli.train import bars

if TYPE_CHECKING:
    from adsn.evaluation.counterfactual import Effect
    from adsn.evaluation.evaluate import Scored, Scorer
    from adsn.evaluation.robustness_curves import Robustness
    from runtime.face.detector import FaceDetector

LARGEST_EFFECT = 0.01
"""By how much an attribute may change a species' error rate before the table shows it in red."""


def counterfactuals(subject: EvaluatedModel, presentations: int, console: Console) -> list[Effect]:
    """Measure and print what glasses, hats and expressions change, with the first precision."""
    from adsn.evaluation.counterfactual import CHANGES, Counterfactual
    from synthetic import SPECIES

    scorer = next(iter(subject.scorers.values()))
    asked = Counterfactual(scorer, subject.rule, subject.modalities, subject.threshold, presentations)
    effects = []
    with bars(console) as progress:
        task = progress.add_task("counterfactuals", total=len(CHANGES) * len(SPECIES), note="")
        for effect in asked.effects():
            effects.append(effect)
            progress.advance(task)
    title = f"one attribute changed, all else the same, {presentations} rendered presentations each"
    table = Table("attribute", "species", "errors without", "errors with", "flips", title=title, title_justify="left")
    for e in effects:
        style = "bold red" if abs(e.change) > LARGEST_EFFECT else ""
        row = (e.attribute, e.species, str(e.without.errors), str(e.with_it.errors), str(e.flips))
        table.add_row(*row, style=style)
    console.print(table)
    worst = max(effects, key=lambda e: abs(e.change))
    console.print(f"largest change: {worst.attribute} on {worst.species}, {100 * worst.change:+.1f} points")
    return effects


def mismatched(scorer: Scorer, test: TestSet, scored: Scored, subject: EvaluatedModel, progress: Progress) -> Scored:
    """Score pairs of pictures that do not belong together, and return them with the rest of the set."""
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
    """Open every face detector that needs no file of the user's; one that cannot run here is left out."""
    from runtime.core.errors import EngineUnavailable
    from runtime.face.open import FaceSettings, open_detector

    found: dict[str, FaceDetector] = {}
    for settings in (FaceSettings(kind="yunet"), FaceSettings(kind="haar")):
        try:
            found[settings.kind] = open_detector(settings)
        except EngineUnavailable:
            continue
    return found
