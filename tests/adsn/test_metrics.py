"""Metrics by hand, and against independent implementations."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta
from sklearn.metrics import roc_auc_score

from adsn.metrics import (
    Rate,
    auc,
    clopper_pearson,
    presentation_scores,
    rates,
    threshold_for_apcer,
    threshold_for_bpcer,
)

SCORES = [0.9, 0.8, 0.4, 0.7, 0.2, 0.1, 0.95, 0.3]
SPECIES = ["bona_fide"] * 3 + ["print"] * 3 + ["mask"] * 2


def test_rates_by_hand() -> None:
    report = rates(SCORES, SPECIES, 0.5)
    assert report.bpcer == Rate(1, 3)
    assert report.apcer == {"print": Rate(1, 3), "mask": Rate(1, 2)}
    assert report.worst == ("mask", Rate(1, 2))


def test_a_score_on_the_threshold_is_live() -> None:
    report = rates([0.5, 0.5], ["bona_fide", "print"], 0.5)
    assert (report.bpcer.errors, report.apcer["print"].errors) == (0, 1)


def test_presentations_count_not_frames() -> None:
    # Nine frames of one attack that gets through and one frame of one that does not are one in two, not nine in ten.
    scores = [0.9] * 9 + [0.1]
    values, species = presentation_scores(scores, ["print"] * 10, ["a"] * 9 + ["b"])
    assert values.tolist() == pytest.approx([0.9, 0.1])
    assert rates(values, species, 0.5).apcer["print"] == Rate(1, 2)


def test_scores_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        rates([0.1, math.nan], ["bona_fide", "print"], 0.5)


@pytest.mark.parametrize(("errors", "trials"), [(0, 20), (0, 300), (3, 100), (50, 100), (100, 100), (7, 3000), (0, 1)])
def test_clopper_pearson_against_scipy(errors: int, trials: int) -> None:
    low, high = clopper_pearson(errors, trials)
    assert low == pytest.approx(beta.ppf(0.025, errors, trials - errors + 1) if errors else 0, abs=1e-9)
    assert high == pytest.approx(beta.ppf(0.975, errors + 1, trials - errors) if errors < trials else 1, abs=1e-9)


def test_clopper_pearson_published_values() -> None:
    assert clopper_pearson(0, 20)[1] == pytest.approx(0.168, abs=5e-4)
    assert clopper_pearson(0, 300)[1] == pytest.approx(0.0122, abs=5e-5)
    assert clopper_pearson(0, 0) == (0.0, 1.0)


@given(st.lists(st.tuples(st.sampled_from([0.0, 0.1, 0.2, 0.5, 0.9, 1.0]), st.booleans()), min_size=2, max_size=40))
def test_auc_against_scikit_learn(pairs: list[tuple[float, bool]]) -> None:
    scores, labels = [s for s, _ in pairs], [int(b) for _, b in pairs]
    if len(set(labels)) < 2:
        assert math.isnan(auc(scores, labels))
    else:
        assert auc(scores, labels) == pytest.approx(roc_auc_score(labels, scores))


@given(
    st.lists(st.floats(0, 1, width=32), min_size=1, max_size=60),
    st.sampled_from([0.0, 0.01, 0.05, 0.25, 0.999]),
)
def test_threshold_for_bpcer_keeps_its_target_and_is_the_highest(values: list[float], target: float) -> None:
    threshold = threshold_for_bpcer(values, target)
    refused = np.array(values) < threshold
    assert refused.mean() <= target + 1e-12
    above = [v for v in values if v > threshold]
    if above:
        assert (np.array(values) < min(above)).mean() > target


@given(
    st.lists(st.tuples(st.floats(0, 1, width=32), st.sampled_from(["a", "b"])), min_size=1, max_size=60),
    st.sampled_from([0.0, 0.01, 0.1, 0.5]),
)
def test_threshold_for_apcer_keeps_its_target_for_every_species(pairs: list[tuple[float, str]], target: float) -> None:
    scores, species = [s for s, _ in pairs], [k for _, k in pairs]
    threshold = threshold_for_apcer(scores, species, target)
    for rate in rates(scores, species, threshold).apcer.values():
        assert rate.value <= target + 1e-12
