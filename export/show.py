"""Print the measurements of an export as tables in the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from adsn.metrics import Rate
from export.build import ExportResult
from export.parity import Comparison, ParityLimits
from export.sensitivity import LayerCost
from runtime.bundle.measured import APCER_LIMIT, MeasuredApcer, apcer_warning

SHOWN = 12
ALARM = "bold red"


def brief(rate: Rate) -> str:
    """Return a rate with its counts as text, short enough for a table in a narrow terminal."""
    return f"{rate.value:.2%} ({rate.errors}/{rate.trials})"


def show_costs(console: Console, costs: Sequence[LayerCost], kept: Sequence[str]) -> None:
    """Print the costs of the layers, most expensive first."""
    if not costs:
        return
    table = Table("layer", "RMS change of the logit", "", title="What each layer costs in 8 bits", title_justify="left")
    for cost in costs[:SHOWN]:
        table.add_row(cost.layer, f"{cost.rms:.4f}", "left in float" if cost.layer.startswith(tuple(kept)) else "")
    if len(costs) > SHOWN:
        table.add_row(f"… and {len(costs) - SHOWN} cheaper ones", f"≤ {costs[SHOWN].rms:.4f}", "")
    console.print(table)


def show_parity(console: Console, built: ExportResult, limits: ParityLimits) -> None:
    """Print the threshold, one line for each comparison, and the rates of the served model by species."""
    point = built.point
    console.print(
        f"threshold {point.threshold:.4f}, uncertain from {point.band_low:.4f} ({point.target}; {point.measured_on}); "
        f"torch and ONNX differ by {built.torch_difference:.1e}"
    )
    show_comparisons(console, built.comparisons, limits)
    for comparison in built.comparisons:
        if comparison.execution == "served":
            console.print(_species(comparison))


def show_comparisons(console: Console, comparisons: Sequence[Comparison], limits: ParityLimits) -> None:
    """Print one line for each comparison with FP32."""
    table = Table(
        "against FP32", "flips", "|Δscore| max", "mean", "worst APCER", "BPCER", "parity", title_justify="left"
    )
    for comparison in comparisons:
        cells = _row(comparison, limits)
        table.add_row(
            *cells, style=ALARM if _exceeds_limit(comparison.int8.report(comparison.threshold).worst[1]) else ""
        )
    console.print(table)


def show_over_limit(console: Console, over: Sequence[MeasuredApcer]) -> None:
    """Print the species that the model accepts too often, in red, or nothing."""
    if over:
        console.print(f"This model {apcer_warning(over)}", style=ALARM, highlight=False)


def _exceeds_limit(rate: Rate) -> bool:
    return rate.value > APCER_LIMIT


def _row(comparison: Comparison, limits: ParityLimits) -> list[str]:
    a, b = comparison.fp32.report(comparison.threshold), comparison.int8.report(comparison.threshold)
    return [
        comparison.title,
        f"{comparison.flips}/{len(comparison.fp32.scores)}",
        f"{comparison.differences.max():.4f}",
        f"{comparison.differences.mean():.5f}",
        f"{a.worst[1].value:.2%} → {b.worst[1].value:.2%}",
        f"{a.bpcer.value:.2%} → {b.bpcer.value:.2%}",
        "over" if comparison.violations(limits) else "within",
    ]


def _species(comparison: Comparison) -> Table:
    a, b = comparison.fp32.report(comparison.threshold), comparison.int8.report(comparison.threshold)
    table = Table("", "FP32", "INT8", "", title=comparison.title, title_justify="left")
    for species_name in a.apcer:
        through = _exceeds_limit(b.apcer[species_name])
        cells = f"APCER {species_name}", brief(a.apcer[species_name]), brief(b.apcer[species_name])
        table.add_row(*cells, "lets through" if through else "", style=ALARM if through else "")
    table.add_row("BPCER", brief(a.bpcer), brief(b.bpcer))
    return table
