"""Output of ``adsn-eval`` in the terminal and as JSON."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.table import Table

from adsn.cli.evaluated_model import EvaluatedModel

if TYPE_CHECKING:
    from adsn.evaluation.counterfactual import Effect
    from adsn.evaluation.evaluate import Scored
    from adsn.evaluation.report import ReportSection
    from adsn.evaluation.robustness_curves import Robustness


def show(console: Console, title: str, scored: Scored, threshold: float) -> None:
    """Print a table of error rates, with the worst species as the headline."""
    from adsn.evaluation.mismatch import WORDS, rates_by_kind

    report = scored.report(threshold)
    table = Table("", "rate (errors/presentations, interval)", title=title, title_justify="left")
    worst = report.worst[0] if report.apcer else ""
    for species, rate in report.apcer.items():
        table.add_row(f"APCER {species}" + (" (worst)" if species == worst else ""), str(rate))
    for kind, rate in rates_by_kind(scored, threshold).items():
        table.add_row(f"  second image: {WORDS[kind]}", str(rate))
    table.add_row("BPCER", str(report.bpcer))
    console.print(table)


def show_robustness(console: Console, found: Robustness) -> None:
    """Print the worst step of each sweep and of all sweeps."""
    from adsn.evaluation.robustness_page import sample_words, worst_words

    title = f"robustness on {found.name}: the worst step of each sweep"
    table = Table("sweep", "step", "BPCER", "worst APCER", "medians hold", title=title, title_justify="left")
    for curve in found.curves:
        point = curve.worst
        apcer = f"{point.worst_species or 'any species'}: {point.report.worst[1]}"
        table.add_row(curve.title, point.label, str(point.report.bpcer), apcer, curve.holds_words)
    console.print(table)
    console.print(worst_words(found))
    console.print(sample_words(found))


def evaluation_json(subject: EvaluatedModel, results: list[ReportSection], effects: list[Effect]) -> dict[str, Any]:
    """Return the content of the file ``--out``. For each set, figures and scores of the first precision come first."""
    from adsn.evaluation.counterfactual import effects_json
    from adsn.evaluation.evaluate import PAIR_MISMATCH, rate_json
    from adsn.evaluation.mismatch import rates_by_kind
    from adsn.evaluation.robustness_curves import robustness_json

    sets = []
    for result in results:
        kinds = list(result.scored)
        row = dict(result.figures[kinds[0]])
        values, species = result.scored[kinds[0]].presentations_of()
        # JSON has no NaN, so a non-response is None here.
        scores = [None if math.isnan(v) else round(v, 7) for v in values.tolist()]
        row["presentations"] = {"species": species, "score": scores}
        row["precisions"] = {kind: dict(result.figures[kind]) for kind in kinds[1:]}
        kinds_apart = rates_by_kind(result.scored[kinds[0]], result.threshold)
        if kinds_apart:
            row[PAIR_MISMATCH] = {name: rate_json(rate) for name, rate in kinds_apart.items()}
        row["comparison"] = comparison_notes(result)
        if result.robustness is not None:
            row["robustness"] = robustness_json(result.robustness)
        sets.append(row)
    found: dict[str, Any] = {"schema_version": 1, "model": subject.what, "sets": sets}
    if effects:
        found["counterfactual"] = effects_json(effects)
    return found


def comparison_notes(result: ReportSection) -> list[str]:
    """Return texts on the differences between two precisions on one set; empty for a single precision."""
    if len(result.scored) < 2:
        return []
    (a, first), (b, second) = list(result.scored.items())[:2]
    x, y = first.scores[:, 0], second.scores[:, 0]
    flips = int(((x >= result.threshold) != (y >= result.threshold)).sum())
    return [
        f"{result.title}: {flips} of {len(x)} decisions differ between {a} and {b}; scores by at most "
        f"{float(np.abs(x - y).max()):.4f}, {float(np.abs(x - y).mean()):.5f} on average."
    ]
