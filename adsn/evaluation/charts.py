"""Charts of the report as SVG, in the colours of the page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

import numpy as np
from numpy.typing import ArrayLike

from adsn.evaluation.curves import FLOOR, det_curves, histogram, probit
from adsn.evaluation.robustness_curves import Curve
from adsn.metrics import Rate
from runtime.core.species import BONA_FIDE

TICKS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4)
TOP = 0.5
"""End of the DET axes. With more errors, a detector is worse than tossing a coin."""
COLOURS = 10
"""Number of colours of the page, named c0, c1, …. The position of a curve determines its colour and its dash
pattern."""
DASHES = ("", "7 3", "2 3")


def det_chart(scores: ArrayLike, species: Sequence[str], key: str) -> str:
    """Return DET curves on probit axes, with a colour and a dash pattern for each species. ``key``: id that is unique
    in the page."""
    size, left, bottom, top = 380, 56, 44, 12
    low, high = probit(FLOOR), probit(TOP)

    def place(rate: float) -> float:
        return (probit(min(rate, TOP)) - low) / (high - low)

    def x(rate: float) -> float:
        return left + place(rate) * size

    def y(rate: float) -> float:
        return top + (1 - place(rate)) * size

    parts = [f'<rect x="{left}" y="{top}" width="{size}" height="{size}" class="frame"/>']
    for tick in TICKS:
        text = f"{tick * 100:g}"
        parts.append(f'<line x1="{x(tick):.1f}" x2="{x(tick):.1f}" y1="{top}" y2="{top + size}" class="grid"/>')
        parts.append(f'<line y1="{y(tick):.1f}" y2="{y(tick):.1f}" x1="{left}" x2="{left + size}" class="grid"/>')
        parts.append(f'<text x="{x(tick):.1f}" y="{top + size + 16}" text-anchor="middle">{text}</text>')
        parts.append(f'<text x="{left - 6}" y="{y(tick) + 4:.1f}" text-anchor="end">{text}</text>')
    middle = top + size / 2
    parts.append(f'<text x="{left + size / 2}" y="{top + size + 36}" text-anchor="middle">APCER, %</text>')
    parts.append(f'<text transform="translate(14 {middle}) rotate(-90)" text-anchor="middle">BPCER, %</text>')
    parts.append(f'<clipPath id="{key}"><rect x="{left}" y="{top}" width="{size}" height="{size}"/></clipPath>')
    for number, curve in enumerate(det_curves(scores, species)):
        points: list[str] = []
        for a, b in zip(curve.apcer.tolist(), curve.bpcer.tolist(), strict=True):
            point = f"{x(a):.1f},{y(b):.1f}"
            if not points or points[-1] != point:
                points.append(point)
        parts.append(
            f'<polyline clip-path="url(#{key})" points="{" ".join(points)}" class="curve c{number % COLOURS}" '
            f'stroke-dasharray="{DASHES[number % len(DASHES)]}"/>'
        )
    return (
        f'<svg viewBox="0 0 {left + size + 8} {top + size + bottom}" role="img" '
        f'aria-label="DET curves by species">{"".join(parts)}</svg>'
    )


def det_legend(scores: ArrayLike, species: Sequence[str]) -> str:
    """Return the legend of the DET chart: a list of species and their lines, which wraps on a narrow page."""
    items = []
    for number, curve in enumerate(det_curves(scores, species)):
        line = (
            f'<svg viewBox="0 0 30 8" aria-hidden="true"><line x1="1" x2="29" y1="4" y2="4" '
            f'class="curve c{number % COLOURS}" stroke-dasharray="{DASHES[number % len(DASHES)]}"/></svg>'
        )
        items.append(f"<li>{line}{escape(curve.species)}</li>")
    return f"<ul class=legend>{''.join(items)}</ul>"


def histogram_chart(scores: ArrayLike, species: Sequence[str], threshold: float) -> str:
    """Return a row of bars for each species, bona fide first, with the threshold as a line through all rows."""
    values, species_array = np.asarray(scores, np.float64), np.array(species)
    names = [name for name in (BONA_FIDE, *sorted(set(species) - {BONA_FIDE})) if (species_array == name).any()]
    left, width, row, gap = 112, 320, 30, 10
    height = (row + gap) * len(names)
    parts = []
    for number, name in enumerate(names):
        counts = histogram(values[species_array == name])
        step, base = width / len(counts), (row + gap) * number + row
        highest = max(int(counts.max()), 1)
        kind = "live" if name == BONA_FIDE else "attack"
        for i, count in enumerate(counts.tolist()):
            if count:
                # A single presentation must stay visible next to thousands.
                tall = max(row * count / highest, 1.5)
                parts.append(
                    f'<rect x="{left + i * step:.1f}" y="{base - tall:.1f}" width="{step - 0.6:.1f}" '
                    f'height="{tall:.1f}" class="{kind}"><title>{count}</title></rect>'
                )
        parts.append(f'<line x1="{left}" x2="{left + width}" y1="{base}" y2="{base}" class="grid"/>')
        parts.append(f'<text x="{left - 8}" y="{base - 8}" text-anchor="end">{escape(name)}</text>')
    at = left + threshold * width
    parts.append(f'<line x1="{at:.1f}" x2="{at:.1f}" y1="0" y2="{height}" class="threshold"/>')
    for tick in (0, 0.25, 0.5, 0.75, 1):
        parts.append(f'<text x="{left + tick * width}" y="{height + 16}" text-anchor="middle">{tick:g}</text>')
    parts.append(f'<text x="{left + width / 2}" y="{height + 34}" text-anchor="middle">score</text>')
    return (
        f'<svg viewBox="0 0 {left + width + 14} {height + 40}" role="img" '
        f'aria-label="Histograms of scores by species">{"".join(parts)}</svg>'
    )


def sweep_chart(curve: Curve, threshold: float) -> str:
    """Return a chart with two panels over the steps of a sweep.

    The panels show median scores with the threshold, and BPCER and worst APCER with intervals.
    """
    left, width, top, tall, gap = 44, 400, 20, 110, 34
    steps = len(curve.points)
    place = [left + width * (k + 0.5) / steps for k in range(steps)]
    low = top + tall + gap

    def panel(y0: int, ticks: Sequence[tuple[float, str]], title: str) -> list[str]:
        parts = [f'<rect x="{left}" y="{y0}" width="{width}" height="{tall}" class="frame"/>']
        for value, text in ticks:
            y = y0 + (1 - value) * tall
            parts.append(f'<line x1="{left}" x2="{left + width}" y1="{y:.1f}" y2="{y:.1f}" class="grid"/>')
            parts.append(f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{text}</text>')
        parts.append(f'<text x="{left}" y="{y0 - 6}" class="title">{title}</text>')
        at = place[curve.neutral]
        parts.append(f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{y0}" y2="{y0 + tall}" class="neutral"/>')
        return parts

    parts = panel(top, ((0, "0"), (0.5, "0.5"), (1, "1")), "median score")
    y = top + (1 - threshold) * tall
    parts.append(f'<line x1="{left}" x2="{left + width}" y1="{y:.1f}" y2="{y:.1f}" class="threshold"/>')
    for name in sorted(curve.points[0].medians, key=lambda n: n == BONA_FIDE):
        medians = [point.medians[name] for point in curve.points]
        line = _line(place, medians, top, tall)
        parts.append(
            f'<g class="{"live" if name == BONA_FIDE else "attack"} line"><title>{escape(name)}</title>{line}</g>'
        )
    parts += panel(low, ((0, "0 %"), (0.5, "50 %"), (1, "100 %")), "error rates")
    for kind, chosen in (
        ("attack", [p.report.worst[1] for p in curve.points]),
        ("live", [p.report.bpcer for p in curve.points]),
    ):
        parts.append(f'<g class="{kind} band">{_band(place, chosen, low, tall)}</g>')
        parts.append(f'<g class="{kind} line">{_line(place, [rate.value for rate in chosen], low, tall)}</g>')
    for x, point in zip(place, curve.points, strict=True):
        parts.append(f'<text x="{x:.1f}" y="{low + tall + 16}" text-anchor="middle">{escape(point.label)}</text>')
    return (
        f'<svg viewBox="0 0 {left + width + 6} {low + tall + 24}" role="img" '
        f'aria-label="{escape(curve.title)}: median scores and error rates">{"".join(parts)}</svg>'
    )


def _line(place: Sequence[float], values: Sequence[float], top: int, tall: int) -> str:
    """Return dots joined by a line that breaks at missing values."""
    parts: list[str] = []
    run: list[str] = []
    for x, value in [*zip(place, values, strict=True), (0.0, math.nan)]:
        if math.isnan(value):
            parts.append(f'<polyline points="{" ".join(run)}"/>' if len(run) > 1 else "")
            run = []
            continue
        y = top + (1 - value) * tall
        run.append(f"{x:.1f},{y:.1f}")
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5"/>')
    return "".join(parts)


def _band(place: Sequence[float], chosen: Sequence[Rate], top: int, tall: int) -> str:
    """Return the intervals of rates as bars from the lower to the upper limit."""
    parts = []
    for x, rate in zip(place, chosen, strict=True):
        if rate.trials:
            low, high = rate.interval
            y0, y1 = top + (1 - high) * tall, top + (1 - low) * tall
            parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{y0:.1f}" y2="{y1:.1f}"/>')
    return "".join(parts)
