"""Curves computed by hand, and compared with scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import det_curve

from adsn.evaluation.curves import FLOOR, det_curves, histogram, probit


def test_probit_by_the_normal_distribution() -> None:
    assert probit(0.5) == pytest.approx(0)
    assert probit(0.975) == pytest.approx(1.959964, abs=1e-5)
    assert probit(0.01) == pytest.approx(-2.326348, abs=1e-5)
    assert probit(0.0) == probit(FLOOR) == pytest.approx(-probit(1.0))


def test_a_curve_by_hand() -> None:
    scores = [0.9, 0.6, 0.7, 0.2, math.nan]
    (curve,) = det_curves(scores, ["bona_fide", "bona_fide", "print", "print", "print"])
    assert curve.threshold[:-1].tolist() == [0.2, 0.6, 0.7, 0.9]
    assert curve.apcer.tolist() == [1.0, 0.5, 0.5, 0.0, 0.0]
    assert curve.bpcer.tolist() == [0.0, 0.0, 0.5, 0.5, 1.0]


def test_against_scikit_learn() -> None:
    rng = np.random.default_rng(5)
    live, attack = rng.beta(5, 2, 300), rng.beta(2, 5, 200)
    (curve,) = det_curves(np.concatenate([live, attack]), ["bona_fide"] * 300 + ["print"] * 200)
    fpr, fnr, thresholds = det_curve([1] * 300 + [0] * 200, np.concatenate([live, attack]))
    at = np.searchsorted(curve.threshold, thresholds)
    assert curve.apcer[at] == pytest.approx(fpr)
    assert curve.bpcer[at] == pytest.approx(fnr)


def test_no_curve_without_both_kinds() -> None:
    assert det_curves([0.5], ["bona_fide"]) == []
    assert det_curves([0.5], ["print"]) == []
    assert det_curves([0.5, math.nan], ["bona_fide", "print"]) == []


def test_histogram_counts_every_answer_once() -> None:
    counts = histogram([0.0, 0.999, 1.0, 0.5, math.nan], bins=10)
    assert counts.tolist() == [1, 0, 0, 0, 0, 1, 0, 0, 0, 2]
