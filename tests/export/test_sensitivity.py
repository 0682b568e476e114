"""Cost of quantising each layer, and the search for the fewest layers to keep in float."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import pytest

from adsn.evaluation.plan import read_plan
from export.build import ExportOptions, ExportResult, ExportSource, build
from export.errors import ExportError
from export.parity import Comparison, ParityLimits
from export.sensitivity import fewest_kept, layers

LAYERS = [f"layer{i}" for i in range(40)]


@pytest.mark.parametrize("needed", [0, 1, 2, 3, 5, 8, 13, 16])
def test_the_fewest_are_found_with_few_questions(needed: int) -> None:
    asked: list[int] = []

    def passes(kept: list[str]) -> bool:
        asked.append(len(kept))
        return len(kept) >= needed

    assert fewest_kept(LAYERS, passes) == LAYERS[:needed]
    assert len(asked) <= 2 * math.log2(16) + 2
    assert len(asked) == len(set(asked)), "nothing is asked twice"


def test_too_many_needed() -> None:
    assert fewest_kept(LAYERS, lambda kept: len(kept) >= 17) is None
    assert fewest_kept(LAYERS[:3], lambda kept: False) is None


def test_every_quantised_layer_has_a_cost(built: ExportResult) -> None:
    assert {cost.layer for cost in built.costs} == set(layers(built.files["model.onnx"]))
    rms = [cost.rms for cost in built.costs]
    assert rms == sorted(rms, reverse=True)
    assert 0 < rms[-1] <= rms[0] < 1


def options(**changes: object) -> ExportOptions:
    return ExportOptions(min_samples=20, auto_keep=True, **changes)  # type: ignore[arg-type]


def run(workshop: Path, chosen: ExportOptions) -> ExportResult:
    source = ExportSource(workshop / "checkpoint.safetensors", read_plan(workshop / "plan.toml"), workshop / "cache")
    return build(source, chosen)


def test_auto_keep_leaves_layers_in_float_until_the_gate_passes(
    workshop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gate is patched to require any two layers in float; everything else is real."""
    asked = 0

    def wants_two(comparisons: Sequence[Comparison], limits: ParityLimits) -> list[str]:
        nonlocal asked
        asked += 1
        return [] if asked in (3,) else ["differs"]

    monkeypatch.setattr("export.build.violations", wants_two)
    built = run(workshop, options(keep_float=("/streams.0/stem",)))
    dearest = [cost.layer for cost in built.costs][:2]
    assert built.kept == ["/streams.0/stem", *dearest]
    assert built.manifest["calibration"]["kept_in_float"] == built.kept


def test_auto_keep_says_when_it_does_not_help(workshop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("export.build.violations", lambda comparisons, limits: ["differs"])
    with pytest.raises(ExportError, match="even with the most expensive layers"):
        run(workshop, options())
