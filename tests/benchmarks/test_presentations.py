"""Presentations for the benchmark of decisions: the network and the gates each get the crops of their own rule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks import decision
from benchmarks.support.presentations import PlannedPresentation, Sequence, render
from runtime.imaging.crop import CropRule
from runtime.liveness.open import default_bundle, open_pipeline

WIDE = CropRule(size=112, margin=0.6)
PERSON = PlannedPresentation("A", "bona_fide", 4)


@pytest.fixture(scope="module")
def shown() -> Sequence:
    return render(PERSON, 1, WIDE)


@pytest.mark.parametrize("name", ["rgb", "ir"])
def test_the_network_sees_the_surroundings_and_the_gates_the_face(shown: Sequence, name: str) -> None:
    wide: NDArray[Any] = getattr(shown, name)[0]
    face: NDArray[Any] = getattr(shown, f"face_{name}")[0]
    # 1.4 of 2.2 boxes, in the middle.
    edge = round(112 * 1.4 / 2.2)
    start = (112 - edge) // 2
    middle = cv2.resize(wide[start : start + edge, start : start + edge], (112, 112), interpolation=cv2.INTER_LINEAR)
    assert np.corrcoef(middle.ravel(), face.astype(float).ravel())[0, 1] > 0.93
    assert np.corrcoef(wide.ravel(), face.astype(float).ravel())[0, 1] < 0.9


def test_the_scores_come_from_the_crops_of_the_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    asked: list[CropRule] = []

    def recorded(plan: Any, pairs: int, rule: CropRule, cache: Any) -> list[Sequence]:
        asked.append(rule)
        return []

    monkeypatch.setattr(decision, "sequences", recorded)
    loaded = open_pipeline(default_bundle())
    decision.simulate(loaded, tmp_path)
    assert asked == [loaded.pipeline.rule]


@pytest.mark.parametrize("name", sorted(decision.INJECTED))
def test_an_injected_stream_replaces_both_crops(shown: Sequence, name: str) -> None:
    change: Callable[..., NDArray[np.uint8]] = decision.INJECTED[name][0]
    for rgb, ir in ((shown.rgb, shown.ir), (shown.face_rgb, shown.face_ir)):
        made = change(rgb, ir, 4)
        assert made.shape == ir.shape
        assert np.array_equal(made, ir) == name.startswith("recorded")
