"""Rates as words and as cells of an HTML table."""

from __future__ import annotations

from html import escape

from adsn.metrics import Rate


def percent(rate: Rate) -> str:
    """Return a rate in percent; a dash where nothing was presented."""
    return f"{rate.value:.2%}" if rate.trials else "–"


def rate_cell(rate: Rate, note: str = "", limit: float = 1.0) -> str:
    """Return a table cell: the rate, its counts, its interval and a note; a dash where nothing was presented.

    A rate above ``limit`` is marked.
    """
    if not rate.trials:
        return "<td class=none>–</td>"
    low, high = rate.interval
    mark = " class=over" if rate.value > limit else ""
    small = f"{low:.2%} to {high:.2%}" + (f", {escape(note)}" if note else "")
    return f"<td{mark}><b>{rate.value:.2%}</b> <span>{rate.errors}/{rate.trials}</span><small>{small}</small></td>"
