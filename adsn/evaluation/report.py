"""The evaluation as one HTML file that needs nothing else: no script, no font, no address."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from importlib import resources
from string import Template
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from adsn.evaluation.charts import det_chart, histogram_chart
from adsn.evaluation.evaluate import Scored
from adsn.evaluation.robustness_curves import Robustness
from adsn.evaluation.robustness_page import robustness_part
from adsn.evaluation.tables import percent, rate_cell
from adsn.metrics import Rate, Report
from runtime.core.species import BONA_FIDE


@dataclass(frozen=True, slots=True)
class ReportImage:
    """One sample shown in the report: its crops as uint8 [S, S, 3] or [S, S, 1], and a line of text."""

    caption: str
    crops: Mapping[str, NDArray[np.uint8]]


@dataclass(frozen=True, slots=True)
class ReportSection:
    """One data set: scored by every precision in ``scored`` (name → scores), at one threshold."""

    title: str
    threshold: float
    scored: Mapping[str, Scored]
    figures: Mapping[str, Mapping[str, Any]]
    pictures: Sequence[ReportImage] = field(default=())
    robustness: Robustness | None = None


def data_uri(image: NDArray[np.uint8]) -> str:
    """A ``data:`` URI of uint8 RGB [H, W, 3] or grey [H, W, 1] as PNG."""
    pixels = image[:, :, ::-1] if image.shape[2] == 3 else image
    good, data = cv2.imencode(".png", np.ascontiguousarray(pixels))
    if not good:
        raise ValueError("the image could not be encoded.")
    return "data:image/png;base64," + base64.b64encode(data.tobytes()).decode()


def html_report(model: str, sections: Sequence[ReportSection], notes: Sequence[str]) -> str:
    """The whole page. Every text that comes from data is escaped."""
    template = resources.files("adsn.evaluation").joinpath("report.html").read_text(encoding="utf-8")
    return Template(template).substitute(
        model=escape(model),
        notes="".join(f"<p class=note>{escape(note)}</p>" for note in notes),
        headline=_headline(sections),
        sections="".join(_section(section, number) for number, section in enumerate(sections)),
    )


def _headline(sections: Sequence[ReportSection]) -> str:
    cards = []
    for section in sections:
        name, scored = next(iter(section.scored.items()))
        report = scored.report(section.threshold)
        worst, rate = report.worst
        cards.append(
            f"<div class=card><h3>{escape(section.title)}</h3>"
            f"<p class=big>{percent(rate)}</p><p>worst species APCER, {escape(worst or 'no attacks')}</p>"
            f"<p class=big>{percent(report.bpcer)}</p><p>BPCER at threshold {section.threshold:.4f}</p>"
            f"<p class=fine>{escape(name)}, {len(scored.scores)} pairs</p></div>"
        )
    return "".join(cards)


def _section(section: ReportSection, number: int) -> str:
    reports = {name: scored.report(section.threshold) for name, scored in section.scored.items()}
    first = next(iter(section.scored.values()))
    values, species = first.presentations_of()
    charts = (
        f"<figure>{det_chart(values, species, f'det{number}')}<figcaption>Detection error trade-off by species, "
        "probit axes. A rate of zero is drawn at the axis\u2019s end.</figcaption></figure>"
        f"<figure>{histogram_chart(values, species, section.threshold)}<figcaption>Scores of presentations, each row "
        "scaled to its own highest bar; the line is the threshold.</figcaption></figure>"
    )
    return (
        f"<section><h2>{escape(section.title)}</h2>{_rates(reports)}<div class=charts>{charts}</div>"
        f"{_other(section)}{_parts(section)}"
        f"{robustness_part(section.robustness) if section.robustness else ''}{_pictures(section)}</section>"
    )


def _rates(reports: Mapping[str, Report]) -> str:
    names = list(reports)
    first = reports[names[0]]
    head = "".join(f"<th scope=col>{escape(name)}</th>" for name in names)
    rows = []
    for kind in first.apcer:
        worst = " class=worst" if kind == first.worst[0] else ""
        cells = "".join(rate_cell(reports[name].apcer[kind]) for name in names)
        rows.append(f"<tr{worst}><th scope=row>APCER {escape(kind)}</th>{cells}</tr>")
    rows.append(f"<tr><th scope=row>BPCER</th>{''.join(rate_cell(reports[n].bpcer) for n in names)}</tr>")
    silent = [Rate(r.errors, r.trials) for r in (first.bpnrr, *first.apnrr.values())]
    if any(rate.errors for rate in silent):
        rows.append(f"<tr><th scope=row>BPNRR</th>{''.join(rate_cell(reports[n].bpnrr) for n in names)}</tr>")
        for kind in first.apnrr:
            cells = "".join(rate_cell(reports[n].apnrr[kind]) for n in names)
            rows.append(f"<tr><th scope=row>APNRR {escape(kind)}</th>{cells}</tr>")
    return (
        "<table><caption>Error rates of presentations at the threshold, with counts and 95 % Clopper-Pearson "
        f"intervals; the worst species is marked.</caption><thead><tr><td></td>{head}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table>"
    )


LABELS = {
    "bpcer_at_apcer_5_percent": "BPCER where every species\u2019 APCER is at most 5 % (BPCER20)",
    "bpcer_at_apcer_1_percent": "BPCER where every species\u2019 APCER is at most 1 % (BPCER100)",
    "apcer_worst_at_bpcer_1_percent": "worst APCER where BPCER is at most 1 %",
    "detection_eer_worst_species": "D-EER of the worst species",
}


def _other(section: ReportSection) -> str:
    names = list(section.figures)
    rows = []
    for key, label in LABELS.items():
        cells = "".join(f"<td>{_figure((section.figures[n].get('curve') or {}).get(key))}</td>" for n in names)
        rows.append(f"<tr><th scope=row>{label}</th>{cells}</tr>")
    cells = "".join(f"<td>{section.figures[n]['auc']:.5f}</td>" for n in names)
    rows.append(f"<tr><th scope=row>AUC, all species pooled</th>{cells}</tr>")
    cells = "".join(f"<td>{section.scored[n].report(section.threshold).acer:.2%}</td>" for n in names)
    rows.append(f"<tr><th scope=row>ACER (not a measure of ISO/IEC 30107-3; worst species and BPCER)</th>{cells}</tr>")
    cells = "".join(f"<td>{_interval(section.figures[n]['bpcer_subject_bootstrap'])}</td>" for n in names)
    rows.append(f"<tr><th scope=row>BPCER, 95 % by bootstrap over subjects</th>{cells}</tr>")
    head = "".join(f"<th scope=col>{escape(name)}</th>" for name in names)
    return (
        "<table><caption>Figures that look at this set to choose their own threshold compare systems; they say "
        f"nothing of the one above.</caption><thead><tr><td></td>{head}</tr></thead><tbody>{''.join(rows)}</tbody>"
        "</table>"
    )


def _figure(value: float | None) -> str:
    return "–" if value is None or value != value else f"{value:.2%}"


def _interval(value: Sequence[float] | None) -> str:
    return "–" if value is None else f"{value[0]:.2%} to {value[1]:.2%}"


def _parts(section: ReportSection) -> str:
    scored = next(iter(section.scored.values()))
    rows = []
    for name, part in scored.parts().items():
        report = part.report(section.threshold)
        kind, rate = report.worst
        rows.append(
            f"<tr><th scope=row>{escape(name)}</th>{rate_cell(rate)}<td>{escape(kind) or '–'}</td>"
            f"{rate_cell(report.bpcer)}</tr>"
        )
    return (
        "<table><caption>Parts of the set.</caption><thead><tr><td></td><th scope=col>worst APCER</th>"
        f"<th scope=col>species</th><th scope=col>BPCER</th></tr></thead><tbody>{''.join(rows)}</tbody></table>"
    )


def _pictures(section: ReportSection) -> str:
    if not section.pictures:
        return ""
    shown = []
    for picture in section.pictures:
        images = "".join(
            f'<img alt="{escape(picture.caption)}, {escape(name)}" src="{data_uri(crop)}">'
            for name, crop in picture.crops.items()
        )
        shown.append(f"<figure class=sample>{images}<figcaption>{escape(picture.caption)}</figcaption></figure>")
    return f"<h3>Samples</h3><div class=samples>{''.join(shown)}</div>"


def worst_samples(scored: Scored, count: int) -> list[int]:
    """Indices of the ``count`` highest scored attacks and the ``count`` lowest scored bona fide pairs."""
    fused = np.nan_to_num(scored.scores[:, 0], nan=-1.0)
    live = np.array(scored.species) == BONA_FIDE
    order = np.argsort(fused, kind="stable")
    attacks = [int(i) for i in order[::-1] if not live[i]][:count]
    people = [int(i) for i in order if live[i]][:count]
    return attacks + people
