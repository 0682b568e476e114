"""Report section on the robustness test."""

from __future__ import annotations

import math
from html import escape

from adsn.evaluation.charts import sweep_chart
from adsn.evaluation.robustness_curves import Curve, Point, Robustness, no_face
from adsn.evaluation.tables import percent, rate_cell
from adsn.evaluation.verdict import Limits
from runtime.core.species import BONA_FIDE

CAPTION = (
    "The worst step of each sweep, and the range of steps around the unchanged one in which the median score of bona "
    "fide is accepted and that of each attack species is rejected."
)
LEGEND = (
    "Green: bona fide, and BPCER. Red: attack species, and the worst species\u2019 APCER. Bars: 95 % Clopper-Pearson "
    "intervals. Dashed: the threshold. Dotted: the unchanged step."
)


def robustness_part(found: Robustness, limits: Limits) -> str:
    """Return the headline, a row for each sweep, and a chart with its numbers for each sweep."""
    rows = "".join(_row(curve, limits) for curve in found.curves)
    charts = "".join(_chart(curve, found.threshold, limits) for curve in found.curves)
    heads = ("sweep", "worst step", "BPCER there", "worst APCER there", "medians hold")
    head = "".join(f"<th scope=col>{text}</th>" for text in heads)
    return (
        f"<h3>Robustness</h3><p class=lead>{escape(worst_words(found))}</p>"
        f"<p class=note>{escape(sample_words(found))}</p>"
        f"<p class=caption>{CAPTION}</p><div class=wide><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody>"
        f"</table></div><p class=note>{LEGEND}</p><div class=sweeps>{charts}</div>"
    )


def worst_words(found: Robustness) -> str:
    """Return the headline: the worst step of all sweeps and its rates, compared with the unchanged images."""
    curve, point = found.worst
    return (
        f"Worst point: {curve.title}, {point.label}. {_rates(point)}, threshold {found.threshold:.3f}. "
        f"Unchanged: {_rates(found.unchanged)}."
    )


def _rates(point: Point) -> str:
    bpcer, apcer = point.report.bpcer, point.report.worst[1]
    species = f", {point.worst_species}" if point.worst_species else ""
    median = point.medians.get(BONA_FIDE, math.nan)
    return (
        f"BPCER {percent(bpcer)} ({bpcer.errors}/{bpcer.trials}), worst APCER {percent(apcer)} "
        f"({apcer.errors}/{apcer.trials}{species}), median score of bona fide "
        f"{'none' if math.isnan(median) else f'{median:.3f}'}"
    )


def sample_words(found: Robustness) -> str:
    """Return a note on the drawn pairs, and on whether images or crops were changed."""
    counts = ", ".join(f"{name} {count}" for name, count in found.presentations.items())
    inside = found.pairs - found.with_pictures
    words = f"Presentations drawn: {counts}; each is scored at every step. "
    if found.with_pictures:
        words += f"For {found.with_pictures} pairs the images were changed before the crop was cut. "
    if inside:
        words += f"For {inside} pairs only the crop exists; the crop itself was changed. "
    if found.left_out:
        words += f"Skipped, because they need full images: {'; '.join(found.left_out)}. "
    return words.strip()


def _row(curve: Curve, limits: Limits) -> str:
    worst = curve.worst
    mark = "" if curve.holds_everywhere else " class=over"
    return (
        f"<tr><th scope=row>{escape(curve.title)}</th><td class=step>{escape(worst.label)}</td>"
        f"{rate_cell(worst.report.bpcer, limit=limits.bpcer)}"
        f"{rate_cell(worst.report.worst[1], worst.worst_species, limits.apcer)}"
        f"<td{mark}>{escape(curve.holds_words)}</td></tr>"
    )


def _chart(curve: Curve, threshold: float, limits: Limits) -> str:
    rows = "".join(_step(point, limits) for point in curve.points)
    return (
        f"<figure><figcaption>{escape(curve.title)}</figcaption>{sweep_chart(curve, threshold)}"
        "<details><summary>Numbers</summary><div class=wide><table><thead><tr><th scope=col>step</th><th scope=col>"
        "median of bona fide</th><th scope=col>BPCER</th><th scope=col>worst APCER</th><th scope=col>no face found</th>"
        f"</tr></thead><tbody>{rows}</tbody></table></div></details></figure>"
    )


def _step(point: Point, limits: Limits) -> str:
    median = point.medians.get(BONA_FIDE, math.nan)
    missed = no_face(point)
    shown = "–" if math.isnan(median) else f"{median:.3f}"
    return (
        f"<tr><th scope=row>{escape(point.label)}</th><td>{shown}</td>"
        f"{rate_cell(point.report.bpcer, limit=limits.bpcer)}"
        f"{rate_cell(point.report.worst[1], point.worst_species, limits.apcer)}"
        f"<td>{missed.errors}/{missed.trials}</td></tr>"
    )
