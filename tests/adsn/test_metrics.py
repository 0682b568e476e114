"""Metrics computed by hand, and compared with independent implementations."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta
from sklearn.metrics import roc_auc_score, roc_curve

from adsn.metrics import (
    Rate,
    apcer_at_bpcer,
    auc,
    bpcer_at_apcer,
    clopper_pearson,
    detection_eer,
    presentation_scores,
    rates,
    subject_bootstrap,
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
    # Nine frames of one accepted attack and one frame of a refused attack count as one in two, not as nine in ten.
    scores = [0.9] * 9 + [0.1]
    values, species = presentation_scores(scores, ["print"] * 10, ["a"] * 9 + ["b"])
    assert values.tolist() == pytest.approx([0.9, 0.1])
    assert rates(values, species, 0.5).apcer["print"] == Rate(1, 2)


def test_infinite_scores_are_refused() -> None:
    with pytest.raises(ValueError, match="infinite"):
        rates([0.1, math.inf], ["bona_fide", "print"], 0.5)


def test_non_responses_are_counted_apart() -> None:
    scores = [0.9, math.nan, 0.1, math.nan, math.nan, 0.8]
    report = rates(scores, ["bona_fide", "bona_fide", "print", "print", "screen", "print"], 0.5)
    assert (report.bpcer, report.bpnrr) == (Rate(0, 1), Rate(1, 2))
    assert (report.apcer["print"], report.apnrr["print"]) == (Rate(1, 2), Rate(1, 3))
    assert (report.apcer["screen"], report.apnrr["screen"]) == (Rate(0, 0), Rate(1, 1))
    # A species without any score has no rate, so it cannot be the worst one.
    assert report.worst[0] == "print"


def test_a_presentation_with_some_silent_frames_is_scored_by_the_others() -> None:
    values, _ = presentation_scores([0.2, math.nan, 0.4, math.nan], ["print"] * 4, ["a", "a", "a", "b"])
    assert values[0] == pytest.approx(0.3)
    assert math.isnan(values[1])


# Ten bona fide and ten of each species, so that every rate can be read off.
LIVE = [0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6, 0.35, 0.15]
PRINT = [0.5, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1]
MASK = [0.72, 0.62, 0.4, 0.3, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1]
ALL = LIVE + PRINT + MASK
KINDS = ["bona_fide"] * 10 + ["print"] * 10 + ["mask"] * 10


def test_bpcer_at_apcer_is_set_by_the_worst_species() -> None:
    threshold, bpcer = bpcer_at_apcer(ALL, KINDS, 0.10)
    # One mask in ten may pass: just above the second highest.
    assert threshold == pytest.approx(0.62)
    assert threshold > 0.62
    assert bpcer == Rate(3, 10)
    assert bpcer_at_apcer(ALL, KINDS, 0.0)[1] == Rate(5, 10)


def test_apcer_at_bpcer() -> None:
    threshold, kind, apcer = apcer_at_bpcer(ALL, KINDS, 0.2)
    assert (threshold, kind, apcer) == (0.6, "mask", Rate(2, 10))


def test_detection_eer_by_hand() -> None:
    # At 0.6 two of ten people are refused and two of ten masks accepted.
    assert detection_eer(ALL, KINDS) == pytest.approx(0.2)
    assert detection_eer([0.9, 0.8, 0.1, 0.2], ["bona_fide"] * 2 + ["print"] * 2) == 0
    assert detection_eer([*ALL, math.nan], [*KINDS, "print"]) == pytest.approx(0.2)


def test_acer_uses_the_worst_species() -> None:
    assert rates(ALL, KINDS, 0.6).acer == pytest.approx((0.2 + 0.2) / 2)
    assert rates(ALL, KINDS, 0.71).acer == pytest.approx((0.1 + 0.5) / 2)


def test_detection_eer_against_scikit_learn() -> None:
    rng = np.random.default_rng(3)
    scores = np.concatenate([rng.normal(0.65, 0.15, 400), rng.normal(0.35, 0.15, 400)])
    fpr, tpr, _ = roc_curve([1] * 400 + [0] * 400, scores)
    crossing = np.argmin(np.abs(fpr - (1 - tpr)))
    ours = detection_eer(scores, ["bona_fide"] * 400 + ["print"] * 400)
    assert ours == pytest.approx((fpr[crossing] + 1 - tpr[crossing]) / 2, abs=0.0026)


def bpcer_of(scores: np.ndarray, species: list[str]) -> float:
    return rates(scores, species, 0.5).bpcer.value


def test_the_bootstrap_keeps_subjects_together() -> None:
    # Of twenty subjects with ten presentations each, two always fail. These are 10 % of the presentations, but only two
    # independent events.
    subjects = [str(i) for i in range(20) for _ in range(10)]
    scores = [0.1 if int(s) < 2 else 0.9 for s in subjects]
    low, high = subject_bootstrap(scores, ["bona_fide"] * 200, subjects, bpcer_of)
    apart = subject_bootstrap(scores, ["bona_fide"] * 200, [str(i) for i in range(200)], bpcer_of)
    assert low == 0.0
    assert high >= 0.2
    assert apart[0] > 0.04
    assert apart[1] < 0.16
    assert (low, high) == subject_bootstrap(scores, ["bona_fide"] * 200, subjects, bpcer_of)
    with pytest.raises(ValueError, match="two subjects"):
        subject_bootstrap([0.5], ["bona_fide"], ["1"], bpcer_of)
    with pytest.raises(ValueError, match="not defined"):
        subject_bootstrap([0.5, 0.5], ["print"] * 2, ["1", "2"], bpcer_of)


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
