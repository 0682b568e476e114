"""Presentations with one attribute changed, and what a model's decisions owe to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from adsn.evaluation.counterfactual import CHANGES, Counterfactual, effects_json
from adsn.evaluation.evaluate import engine_scorer
from runtime.bundle.manifest import open_bundle
from runtime.imaging.crop import CropRule
from runtime.liveness.open import default_bundle, open_engine

IR_CROP = CropRule(size=160, margin=0.2)


def glint_scorer(batch: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
    """A model that takes saturated IR pixels round the eyes for life, as one trained on glasses would."""
    eyes = batch["ir"][:, 40:90]
    bright = (eyes >= 245).reshape(len(eyes), -1).mean(1)
    return np.repeat(bright[:, None], 3, 1).astype(np.float32)


def test_a_model_that_looks_at_glints_is_found_out() -> None:
    asked = Counterfactual(glint_scorer, IR_CROP, ("ir",), threshold=5e-5, presentations=24)
    effect = asked.effect("glasses", "mask_rigid")
    assert effect.change > 0.2
    assert effect.flips >= round(24 * effect.change)
    assert effects_json([effect])[0]["errors_with"] == effect.with_it.errors


def test_a_blind_model_shows_no_effect() -> None:
    def blind(batch: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        return np.full((len(batch["ir"]), 3), 0.7, np.float32)

    asked = Counterfactual(blind, IR_CROP, ("ir",), threshold=0.5, presentations=6)
    effects = list(asked.effects(species=("bona_fide", "print_matte")))
    assert len(effects) == 2 * len(CHANGES)
    assert {(e.species, e.without.value, e.with_it.value) for e in effects} == {
        ("bona_fide", 0.0, 0.0),
        ("print_matte", 1.0, 1.0),
    }


@pytest.mark.parametrize("species", ["mask_rigid", "mask_silicone", "print_vinyl"])
def test_glasses_are_no_proof_of_life(species: str) -> None:
    """An earlier model refused every bare mask, and took half of the same masks for people once they wore glasses."""
    manifest = (bundle := open_bundle(default_bundle())).manifest
    scorer = engine_scorer(open_engine(bundle))
    threshold = manifest.operating_point().threshold
    asked = Counterfactual(scorer, manifest.rule(), manifest.modalities, threshold, presentations=80)
    effect = asked.effect("glasses", species)
    # One rigid mask in sixteen is accepted, with or without glasses; the earlier model took every second one with them.
    assert effect.with_it.errors <= 8
    assert abs(effect.change) <= 0.04
