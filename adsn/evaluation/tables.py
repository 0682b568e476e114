"""Rates as text and as tables of the HTML report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from adsn.evaluation.evaluate import PAIR_MISMATCH, Scored
from adsn.evaluation.mismatch import WORDS, rates_by_kind
from adsn.evaluation.verdict import Limits
from adsn.metrics import Rate, Report

LABELS = {
    "bpcer_at_apcer_5_percent": "BPCER where every species\u2019 APCER is at most 5 % (BPCER20)",
    "bpcer_at_apcer_1_percent": "BPCER where every species\u2019 APCER is at most 1 % (BPCER100)",
    "apcer_worst_at_bpcer_1_percent": "worst APCER where BPCER is at most 1 %",
    "detection_eer_worst_species": "D-EER of the worst species",
}


def percent(rate: Rate) -> str:
    """Return a rate in percent, or a dash if there were no presentations."""
    return f"{rate.value:.2%}" if rate.trials else "–"


def rate_cell(rate: Rate, note: str = "", limit: float = 1.0) -> str:
    """Return a table cell with the rate, its counts, its interval and a note, or a dash if there were no presentations.

    A rate above ``limit`` is marked.
    """
    if not rate.trials:
        return "<td class=none>–</td>"
    low, high = rate.interval
    mark = " class=over" if rate.value > limit else ""
    words = f"<small>{escape(note)}</small>" if note else ""
    return (
        f"<td{mark}><b>{rate.value:.2%}</b> <span>{rate.errors}/{rate.trials}</span>"
        f"<small class=range>{low:.2%} to {high:.2%}</small>{words}</td>"
    )


def rates_table(scored: Mapping[str, Scored], reports: Mapping[str, Report], threshold: float, limits: Limits) -> str:
    """Return a table of BPCER, APCER of each species (worst first) and AUC, with a column for each precision."""
    names = list(reports)
    first = reports[names[0]]
    aucs = scored[names[0]].auc_by_species()
    rows = [_row("BPCER", [reports[n].bpcer for n in names], limits.bpcer, f"{scored[names[0]].auc():.4f}")]
    for species, _ in sorted(first.apcer.items(), key=_worst_first):
        auc = aucs.get(species, float("nan"))
        label, rates = f"APCER {escape(species)}", [reports[n].apcer[species] for n in names]
        mark = " class=worst" if species == first.worst[0] else ""
        rows.append(_row(label, rates, limits.apcer, "–" if auc != auc else f"{auc:.4f}", mark))
        if species == PAIR_MISMATCH:
            kinds = {n: rates_by_kind(scored[n], threshold) for n in names}
            rows += [
                _row(f"second image: {WORDS[kind]}", [kinds[n][kind] for n in names], limits.apcer, "", " class=kind")
                for kind in kinds[names[0]]
            ]
    if any(rate.errors for rate in (first.bpnrr, *first.apnrr.values())):
        rows.append(_row("BPNRR", [reports[n].bpnrr for n in names]))
        rows += [_row(f"APNRR {escape(kind)}", [reports[n].apnrr[kind] for n in names]) for kind in first.apnrr]
    caption = (
        "Error rates of presentations at the threshold, with counts and 95 % Clopper-Pearson intervals: the worst "
        "species first, rates over their limit in red. AUC: bona fide against that species; next to BPCER, against all "
        f"of them except {PAIR_MISMATCH}."
    )
    return _table(caption, ["", *names, "AUC"], rows)


def other_table(figures: Mapping[str, Mapping[str, Any]], reports: Mapping[str, Report]) -> str:
    """Return a table of figures other than the rates at the threshold."""
    names = list(figures)
    rows = [
        _texts(label, [_figure((figures[n].get("curve") or {}).get(key)) for n in names])
        for key, label in LABELS.items()
    ]
    acer = "ACER (not a measure of ISO/IEC 30107-3; worst species and BPCER)"
    rows.append(_texts(acer, [_figure(reports[n].acer) for n in names]))
    bootstrap = "BPCER, 95 % by bootstrap over people; Clopper-Pearson over people if none or all are rejected"
    rows.append(_texts(bootstrap, [_interval(figures[n]["bpcer_subject_bootstrap"]) for n in names]))
    caption = "These figures pick their threshold on this set. Use them to compare models, not to predict error rates."
    return _table(caption, ["", *names], rows)


def parts_table(scored: Scored, threshold: float, limits: Limits) -> str:
    """Return a table of the rates of each part of a set, or an empty string if there is only one part."""
    rows = []
    parts = scored.parts()
    for name, part in parts.items():
        report = part.report(threshold)
        kind, rate = report.worst
        rows.append(
            f"<tr><th scope=row>{escape(name)}</th>{rate_cell(rate, kind, limits.apcer)}"
            f"{rate_cell(report.bpcer, limit=limits.bpcer)}</tr>"
        )
    return _table("Parts of the set.", ["", "worst APCER", "BPCER"], rows) if len(parts) > 1 else ""


def _worst_first(entry: tuple[str, Rate]) -> tuple[float, str]:
    species, rate = entry
    return (-rate.value if rate.trials else 1.0), species


def _row(label: str, rates: Sequence[Rate], limit: float = 1.0, last: str = "", mark: str = "") -> str:
    cells = "".join(rate_cell(rate, limit=limit) for rate in rates)
    return f"<tr{mark}><th scope=row>{label}</th>{cells}<td>{last}</td></tr>"


def _texts(label: str, texts: Sequence[str]) -> str:
    return f"<tr><th scope=row>{label}</th>{''.join(f'<td>{text}</td>' for text in texts)}</tr>"


def _table(caption: str, head: Sequence[str], rows: Sequence[str]) -> str:
    cells = "".join(f"<th scope=col>{escape(text)}</th>" if text else "<td></td>" for text in head)
    return (
        f"<p class=caption>{caption}</p><div class=wide><table><thead><tr>{cells}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _figure(value: float | None) -> str:
    return "–" if value is None or value != value else f"{value:.2%}"


def _interval(value: Sequence[float] | None) -> str:
    return "–" if value is None else f"{value[0]:.2%} to {value[1]:.2%}"
