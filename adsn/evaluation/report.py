"""Write the evaluation as one self-contained HTML file, without scripts, fonts or external addresses."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from importlib import resources
from string import Template
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from adsn.evaluation.charts import det_chart, det_legend, histogram_chart
from adsn.evaluation.counterfactual_page import effects_part
from adsn.evaluation.evaluate import PAIR_MISMATCH, Scored
from adsn.evaluation.robustness_curves import Robustness
from adsn.evaluation.robustness_page import robustness_part, worst_words
from adsn.evaluation.tables import other_table, parts_table, percent, rates_table
from adsn.evaluation.verdict import HEADS, LimitCheck, Limits, check_limits, overall
from runtime.core.species import BONA_FIDE

if TYPE_CHECKING:
    from adsn.evaluation.counterfactual import Effect


@dataclass(frozen=True, slots=True)
class ReportImage:
    """A sample shown in the report: its crops, uint8 [S, S, 3] or [S, S, 1], and a line of text."""

    caption: str
    crops: Mapping[str, NDArray[np.uint8]]


@dataclass(frozen=True, slots=True)
class ReportSection:
    """One data set, scored at one threshold. ``scored``: precision → scores."""

    title: str
    threshold: float
    scored: Mapping[str, Scored]
    figures: Mapping[str, Mapping[str, Any]]
    pictures: Sequence[ReportImage] = field(default=())
    robustness: Robustness | None = None

    @property
    def first(self) -> Scored:
        """Scores with the first precision, whose figures are the headline."""
        return next(iter(self.scored.values()))


@dataclass(frozen=True, slots=True)
class ReportPage:
    """Content of the page. ``date``: creation date as text. ``notes``: lines below the headline."""

    model: str
    date: str
    sections: Sequence[ReportSection]
    notes: Sequence[str] = ()
    limits: Limits = field(default_factory=Limits)
    effects: Sequence[Effect] = ()


def data_uri(image: NDArray[np.uint8]) -> str:
    """Return an image, uint8 RGB [H, W, 3] or grey [H, W, 1], as a ``data:`` URI of a PNG."""
    pixels = image[:, :, ::-1] if image.shape[2] == 3 else image
    good, data = cv2.imencode(".png", np.ascontiguousarray(pixels))
    if not good:
        raise ValueError("the image could not be encoded.")
    return "data:image/png;base64," + base64.b64encode(data.tobytes()).decode()


def html_report(page: ReportPage) -> str:
    """Return the HTML of the page. All text that comes from data is escaped."""
    template = resources.files("adsn.evaluation").joinpath("report.html").read_text(encoding="utf-8")
    verdicts = [check_limits(section.first.report(section.threshold), page.limits) for section in page.sections]
    state = overall(verdicts)
    return Template(template).substitute(
        model=escape(page.model),
        date=escape(page.date),
        state=state,
        verdict=HEADS[state],
        limits=f"APCER of every species at most {page.limits.apcer:.1%}, BPCER at most {page.limits.bpcer:.1%}",
        notes="".join(f"<p class=note>{escape(note)}</p>" for note in page.notes),
        headline="".join(_card(s, v, page.limits) for s, v in zip(page.sections, verdicts, strict=True)),
        sections="".join(_section(section, page.limits, number) for number, section in enumerate(page.sections)),
        effects=effects_part(page.effects) if page.effects else "",
    )


def people_words(scored: Scored) -> str:
    """Return a text with the numbers of pairs, presentations and people in a set, not counting mismatched pairs."""
    made = scored.species.count(PAIR_MISMATCH)
    own = {(k, p) for k, p in zip(scored.species, scored.presentations, strict=True) if k != PAIR_MISMATCH}
    words = f"{len(scored.scores) - made} pairs, {len(own)} presentations, {len(set(scored.subjects))} people"
    return f"{words}, and {made} mismatched pairs made of them" if made else words


def _card(section: ReportSection, found: LimitCheck, limits: Limits) -> str:
    name, scored = next(iter(section.scored.items()))
    report = scored.report(section.threshold)
    worst, rate = report.worst
    apcer, bpcer = (
        " over" if r.trials and r.value > limit else ""
        for r, limit in ((rate, limits.apcer), (report.bpcer, limits.bpcer))
    )
    words = "".join(f"<li>{escape(word)}</li>" for word in found.words)
    swept = f"<p class=fine>{escape(worst_words(section.robustness))}</p>" if section.robustness else ""
    return (
        f"<div class=card><h3>{escape(section.title)}</h3><div class=pair>"
        f"<p><b class='big{apcer}'>{percent(rate)}</b>worst APCER, {escape(worst or 'no attacks')}</p>"
        f"<p><b class='big{bpcer}'>{percent(report.bpcer)}</b>BPCER</p></div>"
        f"<ul class={found.state}>{words}</ul>"
        f"<p class=fine>{escape(name)}, threshold {section.threshold:.4f}: {people_words(scored)}</p>{swept}</div>"
    )


def _section(section: ReportSection, limits: Limits, number: int) -> str:
    reports = {name: scored.report(section.threshold) for name, scored in section.scored.items()}
    values, species = section.first.presentations_of()
    charts = (
        f"<figure>{det_chart(values, species, f'det{number}')}{det_legend(values, species)}<figcaption>Detection error "
        "trade-off by species, probit axes. A rate of zero is drawn at the axis\u2019s end.</figcaption></figure>"
        f"<figure>{histogram_chart(values, species, section.threshold)}<figcaption>Scores of presentations, each row "
        "scaled to its own highest bar; the line is the threshold.</figcaption></figure>"
    )
    return (
        f"<section><h2>{escape(section.title)}</h2><p class=note>{people_words(section.first)}; SHA-256 "
        f"{escape(section.first.digest[:16])}…</p>"
        f"{rates_table(section.scored, reports, section.threshold, limits)}<div class=charts>{charts}</div>"
        f"{other_table(section.figures, reports)}{parts_table(section.first, section.threshold, limits)}"
        f"{robustness_part(section.robustness, limits) if section.robustness else ''}{_pictures(section.pictures)}"
        "</section>"
    )


def _pictures(pictures: Iterable[ReportImage]) -> str:
    shown = []
    for picture in pictures:
        images = "".join(
            f'<img alt="{escape(picture.caption)}, {escape(name)}" src="{data_uri(crop)}">'
            for name, crop in picture.crops.items()
        )
        shown.append(f"<figure class=sample>{images}<figcaption>{escape(picture.caption)}</figcaption></figure>")
    return f"<h3>Samples</h3><div class=samples>{''.join(shown)}</div>" if shown else ""


def worst_samples(scored: Scored, count: int) -> list[int]:
    """Return the indices of the ``count`` highest-scored attacks and the ``count`` lowest-scored bona fide pairs."""
    fused = np.nan_to_num(scored.scores[:, 0], nan=-1.0)
    live = np.array(scored.species) == BONA_FIDE
    order = np.argsort(fused, kind="stable")
    attacks = [int(i) for i in order[::-1] if not live[i]][:count]
    people = [int(i) for i in order if live[i]][:count]
    return attacks + people
