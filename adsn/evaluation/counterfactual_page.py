"""Report section on the effects of attributes."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from adsn.evaluation.counterfactual import Effect

LARGEST_EFFECT = 0.01
"""Largest change of an error rate by an attribute that is not shown in red."""


def too_large(effect: Effect) -> bool:
    """Return whether an attribute changes an error rate by more than the limit."""
    return abs(effect.change) > LARGEST_EFFECT


def largest_words(effects: Sequence[Effect]) -> str:
    """Return a text on the largest change of an error rate."""
    worst = max(effects, key=lambda e: abs(e.change))
    return f"Largest change: {worst.attribute} on {worst.species}, {100 * worst.change:+.1f} points."


def effects_part(effects: Sequence[Effect]) -> str:
    """Return a table with a row for each species and a column for each attribute."""
    attributes = list(dict.fromkeys(e.attribute for e in effects))
    found = {(e.species, e.attribute): e for e in effects}
    rows = []
    for species in dict.fromkeys(e.species for e in effects):
        cells = "".join(_cell(found.get((species, attribute))) for attribute in attributes)
        rows.append(f"<tr><th scope=row>{escape(species)}</th>{cells}</tr>")
    head = "".join(f"<th scope=col>{escape(attribute)}</th>" for attribute in attributes)
    one = effects[0]
    return (
        f"<section><h2>Counterfactuals</h2><p class=lead>{escape(largest_words(effects))}</p><p class=caption>Errors "
        f"without \u2192 with the attribute among {one.without.trials} presentations, renderer {escape(one.renderer)}; "
        f"in brackets the decisions that it flipped. Red: a change of more than {100 * LARGEST_EFFECT:g} point.</p>"
        f"<div class=wide><table><thead><tr><td></td>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
        "</section>"
    )


def _cell(effect: Effect | None) -> str:
    if effect is None:
        return "<td class=none>–</td>"
    mark = " class=over" if too_large(effect) else ""
    return f"<td{mark}>{effect.without.errors} \u2192 {effect.with_it.errors} <span>({effect.flips})</span></td>"
