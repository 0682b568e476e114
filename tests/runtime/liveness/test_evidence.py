"""Sequential evidence: results that no sequence of pairs may give, and results of simple sequences."""

from __future__ import annotations

import math
import pickle
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.core.operating_point import OperatingPoint
from runtime.core.values import Box
from runtime.liveness.decision import Verdict
from runtime.liveness.evidence import Evidence, EvidenceRule, Observation

POINT = OperatingPoint("default", threshold=0.6, band_low=0.25, target="", measured_on="")
MODALITIES = ("rgb", "ir")
FRAME = 33_333_333
BOX = Box(200, 150, 150, 150)
RULE = EvidenceRule()
GATES = (
    "no_face",
    "multiple_faces",
    "face_too_small",
    "ir_unlit",
    "pair_stale",
    "pair_skew",
    "rgb_blurry",
    "ir_no_face",
)


def pair(number: int, score: float | None = 0.99, **changes: object) -> Observation:
    seen = Observation(number, number * FRAME, 1, score, (0.9, 0.9), (), BOX, "unknown")
    return replace(seen, **changes)  # type: ignore[arg-type]  # changes are fields of several types


def evidence(rule: EvidenceRule = RULE, point: OperatingPoint = POINT) -> Evidence:
    return Evidence(point, MODALITIES, rule)


def fed(rule: EvidenceRule = RULE, count: int = 400, **changes: object) -> tuple[Verdict | None, int]:
    """Return the verdict on a repeated pair, and the number of pairs it took."""
    gathered = evidence(rule)
    for number in range(count):
        verdict = gathered.add(pair(number, **changes))  # type: ignore[arg-type]  # as above
        if verdict is not None:
            return verdict, number + 1
    return None, count


scores = st.one_of(st.none(), st.floats(0, 1), st.floats(allow_nan=True, allow_infinity=True), st.just(0.99))
boxes = st.one_of(
    st.none(),
    st.just(BOX),
    st.builds(Box, st.floats(0, 600), st.floats(0, 400), st.floats(1, 300), st.floats(1, 300)),
)
observations = st.builds(
    Observation,
    number=st.integers(0, 60),
    t_ns=st.integers(0, 60).map(lambda n: n * FRAME),
    generation=st.sampled_from([1, 1, 1, 2]),
    score=scores,
    stream_scores=st.tuples(scores, scores),
    failed=st.one_of(st.just(()), st.lists(st.sampled_from(GATES), max_size=3).map(tuple)),
    box=boxes,
    strobe=st.sampled_from(["unknown", "unknown", "follows", "mismatch"]),
)
steady = st.builds(
    lambda score, streams, failed, strobe: (score, streams, failed, strobe),
    st.floats(0, 1),
    st.tuples(st.floats(0, 1), st.floats(0, 1)),
    st.one_of(st.just(()), st.just(()), st.just(("rgb_blurry",))),
    st.sampled_from(["unknown", "follows"]),
)


@given(st.lists(observations, max_size=60), st.integers(1, 8))
def test_never_live_without_enough_good_pairs(seen: list[Observation], least: int) -> None:
    gathered = evidence(EvidenceRule(min_pairs=least, confirm=1.0))
    good = 0
    for observation in seen:
        verdict = gathered.add(observation)
        fine = not observation.failed and observation.box is not None and observation.score is not None
        good += bool(fine and 0.6 <= float(observation.score or 0) <= 1)
        if verdict is not None:
            if verdict.decision == "live":
                assert good >= least
                assert fine
                assert verdict.reasons == ()
            else:
                assert verdict.reasons
            break


@given(st.lists(observations, max_size=60), observations)
def test_what_is_missing_stale_repeated_or_late_never_raises_the_evidence(
    before: list[Observation], last: Observation
) -> None:
    gathered = evidence()
    newest, newest_t = -1, -1
    for observation in before:
        if observation.number > newest and observation.t_ns > newest_t:
            newest, newest_t = observation.number, observation.t_ns
        gathered.add(observation)
    level, good = gathered.state.level, gathered.state.good
    fresh = last.number > newest and last.t_ns > newest_t
    whole = not last.failed and last.score is not None and last.box is not None and last.strobe != "mismatch"
    gathered.add(last)
    if not (fresh and whole):
        # The level rises only if evidence for ``spoof`` is discarded, and then only to zero.
        assert gathered.state.level <= max(level, 0.0)
        assert gathered.state.good <= good


@given(st.floats(0.6, 1), st.lists(st.booleans(), min_size=2, max_size=40))
def test_leaving_good_pairs_out_never_raises_the_evidence(value: float, kept: list[bool]) -> None:
    rule = EvidenceRule(confirm=100, max_gap_ns=10**12, deadline_ns=10**12)
    all_of_them, some = evidence(rule), evidence(rule)
    for number, keep in enumerate(kept):
        all_of_them.add(pair(number, value))
        if keep:
            some.add(pair(number, value))
    assert some.state.level <= all_of_them.state.level + 1e-9


@given(st.lists(st.floats(0, 1), min_size=1, max_size=80), st.floats(0, RULE.stream_floor - 1e-6), st.booleans())
def test_no_stream_is_outvoted(values: list[float], low: float, first: bool) -> None:
    gathered = evidence()
    for number, value in enumerate(values):
        streams = (low, value) if first else (value, low)
        verdict = gathered.add(pair(number, value, stream_scores=streams))
        assert gathered.state.level <= 0
        assert verdict is None or verdict.decision != "live"


@given(st.lists(steady, min_size=1, max_size=60), st.integers(0, 59), st.sampled_from(["box", "epoch", "lost", "gap"]))
def test_another_subject_begins_at_nothing(seen: list[tuple], at: int, how: str) -> None:  # type: ignore[type-arg]
    gathered = evidence(EvidenceRule(deadline_ns=10**12))
    for number, (score, streams, failed, strobe) in enumerate(seen):
        if gathered.add(pair(number, score, stream_scores=streams, failed=failed, strobe=strobe)) is not None:
            return
    number = len(seen)
    swapped = {
        "box": pair(number, box=Box(400, 150, 150, 150)),
        "epoch": pair(number, generation=2),
        "lost": pair(number, None, failed=("no_face",), box=None),
        "gap": pair(number, t_ns=number * FRAME + RULE.max_gap_ns),
    }[how]
    if how == "gap" and gathered.state.pairs == 0:
        return  # nothing had been counted before the gap
    gathered.add(swapped)
    assert gathered.state.good <= 1
    assert gathered.state.pairs <= 1
    assert gathered.state.level <= 1 / RULE.confirm + 1e-9
    assert gathered.state.forgotten


@given(st.lists(observations, max_size=40))
@settings(max_examples=50)
def test_memory_is_bounded(seen: list[Observation]) -> None:
    gathered = evidence(EvidenceRule(deadline_ns=10**15))
    for number, observation in enumerate(seen * 5):
        if gathered.add(replace(observation, number=number, t_ns=number * FRAME)) is not None:
            gathered.reset("again")
    assert len(pickle.dumps(gathered)) < 4000


@given(st.lists(observations, max_size=30), st.integers(0, 10**10))
def test_after_the_deadline_there_is_a_verdict_and_it_is_not_live(seen: list[Observation], late: int) -> None:
    gathered = evidence()
    verdicts = [gathered.add(observation) for observation in seen]
    if not seen:
        assert gathered.expire(late) is None
    elif verdicts[-1] is None:
        end_ns = seen[0].t_ns + RULE.deadline_ns
        assert gathered.expire(end_ns - 1) is None
        verdict = gathered.expire(end_ns + late)
        assert verdict is not None
        assert verdict.decision == "uncertain"
        assert verdict.reasons
        assert gathered.add(pair(10**6, 0.99)) == verdict


def test_a_person_is_live_soon_and_an_attack_a_spoof() -> None:
    verdict, pairs = fed(score=0.99)
    assert verdict == Verdict("live", ())
    assert RULE.min_pairs <= pairs <= 15
    verdict, pairs = fed(score=0.01, stream_scores=(0.9, 0.001))
    assert verdict == Verdict("spoof", ("ir_spoof", "fused_spoof"))
    assert RULE.min_pairs <= pairs <= 15


def test_a_score_at_the_threshold_or_in_the_band_is_not_enough() -> None:
    for score in (0.6, 0.59):
        verdict, _ = fed(score=score)
        assert verdict == Verdict("uncertain", ("score_in_band",))


def test_a_stream_alone_can_make_a_spoof() -> None:
    verdict, _ = fed(score=0.99, stream_scores=(0.99, 0.0001))
    assert verdict == Verdict("spoof", ("ir_spoof",))


def test_a_veto_counts_against_or_not_at_all() -> None:
    assert fed(score=0.99, failed=("ir_no_face",))[0] == Verdict("uncertain", ("ir_no_face",))
    verdict, _ = fed(score=0.4, failed=("ir_no_face",))
    assert verdict == Verdict("spoof", ("ir_no_face", "fused_spoof"))


def test_a_stream_that_could_not_be_seen_says_nothing() -> None:
    assert fed(stream_scores=(None, 0.9))[0] == Verdict("live", ())
    assert fed(stream_scores=())[0] == Verdict("live", ())


def test_pairs_that_follow_closely_count_for_little() -> None:
    rule = EvidenceRule(confirm=3.0)
    apart, close = evidence(rule), evidence(rule)
    verdict = None
    for number in range(5):
        verdict = apart.add(pair(number, t_ns=number * 10 * FRAME))
        close.add(pair(number, t_ns=number * FRAME))
    assert verdict == Verdict("live", ())
    expected = 1 + 4 * math.tanh(FRAME / (2 * rule.correlation_ns))
    assert close.state.level * 3 == pytest.approx(expected)


def test_the_evidence_is_that_of_the_stated_process() -> None:
    """Compare with the textbook: the generalised least squares estimate of the mean of correlated samples, times its
    information."""
    rule = EvidenceRule(confirm=50, max_gap_ns=10**10)
    times = np.array([0, 30, 70, 90, 400, 433]) * 1e6
    values = np.array([0.99, 0.62, 0.7, 0.3, 0.9, 0.66])
    gathered = evidence(rule)
    for number, (t, value) in enumerate(zip(times, values, strict=True)):
        gathered.add(pair(number, float(value), t_ns=int(t)))
    odds = np.log(values / (1 - values))
    zero, low = math.log(0.6 / 0.4), math.log(0.25 / 0.75)
    strength = np.clip((odds - zero) / (zero - low), -1, 1)
    correlation = np.exp(-np.abs(times[:, None] - times[None, :]) / rule.correlation_ns)
    expected = np.linalg.solve(correlation, strength).sum()
    assert gathered.state.level * 50 == pytest.approx(expected)


def test_the_deadline_names_the_gates_that_stood_in_the_way() -> None:
    gathered = evidence()
    for number in range(20):
        gathered.add(pair(number, failed=("rgb_blurry",) if number % 4 else ("face_too_small", "rgb_blurry")))
    assert gathered.expire(RULE.deadline_ns) == Verdict("uncertain", ("rgb_blurry", "face_too_small"))


def test_a_strobe_that_is_not_followed_takes_everything_away() -> None:
    gathered = evidence()
    for number in range(4):
        gathered.add(pair(number, strobe="follows"))
    assert gathered.state.level > 0
    gathered.add(pair(4, strobe="mismatch"))
    assert (gathered.state.level, gathered.state.pairs, gathered.state.forgotten) == (0, 0, "strobe_lost")
    assert gathered.expire(RULE.deadline_ns) == Verdict("uncertain", ("strobe_lost",))


def test_a_rig_that_strobes_can_demand_that_it_is_followed() -> None:
    rule = EvidenceRule(min_follows=3)
    assert fed(rule, strobe="unknown")[0] == Verdict("uncertain", ("score_in_band",))
    assert fed(rule, strobe="follows")[0] == Verdict("live", ())


def test_a_verdict_stands_until_the_next_attempt() -> None:
    gathered = evidence()
    number = 0
    while gathered.add(pair(number)) is None:
        number += 1
    assert gathered.add(pair(number + 1, 0.0)) == Verdict("live", ())
    gathered.reset("done")
    assert gathered.expire(10**18) is None, "no attempt has begun, so none can time out"
    assert gathered.state.level == 0
    # Pairs from before the reset are not counted again.
    assert gathered.add(pair(number)) is None
    assert gathered.state.pairs == 0


def test_a_threshold_of_one_lets_nobody_in() -> None:
    gathered = evidence(point=OperatingPoint("shut", 1.0, 1.0, "", ""))
    for number in range(200):
        verdict = gathered.add(pair(number, 1.0))
        assert verdict is None or verdict.decision != "live"


@pytest.mark.parametrize(
    "wrong",
    [
        {"min_pairs": 0},
        {"deadline_ns": 0},
        {"confirm": 0.5},
        {"correlation_ns": 0},
        {"max_jump": math.nan},
        {"max_zoom": 1},
        {"stream_floor": 0},
        {"stream_floor": 1},
        {"min_follows": -1},
    ],
)
def test_impossible_rules_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="impossible"):
        EvidenceRule(**wrong)  # type: ignore[arg-type]  # that is the point
