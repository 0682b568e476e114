"""Decisions: only a good score of a good pair is live."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.core.operating_point import OperatingPoint
from runtime.liveness.decision import VETO_CODES, Verdict, decide

POINT = OperatingPoint("default", threshold=0.8, band_low=0.6, target="", measured_on="")
ANY_FLOAT = st.floats(allow_nan=True, allow_infinity=True)


@pytest.mark.parametrize(
    ("score", "decision"),
    [(1.0, "live"), (0.8, "live"), (0.7999999, "uncertain"), (0.6, "uncertain"), (0.5999, "spoof"), (0.0, "spoof")],
)
def test_the_operating_point_decides(score: float, decision: str) -> None:
    assert decide(score, (0.9, 0.9), ("rgb", "ir"), POINT).decision == decision


def test_a_spoof_names_what_betrayed_it() -> None:
    assert decide(0.1, (0.9, 0.2), ("rgb", "ir"), POINT).reasons == ("ir_spoof", "fused_spoof")
    assert decide(0.1, (0.9, 0.9), ("rgb", "depth"), POINT).reasons == ("fused_spoof",)


def test_an_image_that_shows_nothing_is_no_reason() -> None:
    verdict = decide(0.1, (0.2, 0.2), ("rgb", "ir"), POINT, unseen=("rgb",))
    assert verdict == Verdict("spoof", ("ir_spoof", "fused_spoof"))


def test_a_veto_keeps_from_live_and_not_from_spoof() -> None:
    veto = ("ir_no_face",)
    assert decide(0.9, (0.9, 0.9), ("rgb", "ir"), POINT, veto) == Verdict("uncertain", veto)
    assert decide(0.7, (0.9, 0.9), ("rgb", "ir"), POINT, veto) == Verdict("uncertain", (*veto, "score_in_band"))
    assert decide(0.1, (0.9, 0.2), ("rgb", "ir"), POINT, veto) == Verdict("spoof", (*veto, "ir_spoof", "fused_spoof"))
    both = ("ir_no_face", "ir_unlit")
    assert decide(0.1, (0.9, 0.2), ("rgb", "ir"), POINT, both) == Verdict("uncertain", both)


@given(
    score=ANY_FLOAT,
    streams=st.tuples(ANY_FLOAT, ANY_FLOAT),
    gates=st.lists(st.sampled_from(["ir_flat", "no_face", "ir_no_face", "strobe_lost"])),
)
def test_live_needs_a_score_at_the_threshold_and_no_failed_gate(
    score: float, streams: tuple[float, float], gates: list[str]
) -> None:
    verdict = decide(score, streams, ("rgb", "ir"), POINT, gates)
    if verdict.decision == "live":
        assert 0.8 <= score <= 1
        assert not gates
        assert verdict.reasons == ()
    else:
        assert verdict.reasons
    if set(gates) - VETO_CODES or math.isnan(score):
        assert verdict.decision == "uncertain"


@pytest.mark.parametrize(("threshold", "low"), [(0.0, 0.0), (0.5, 0.6), (1.1, 0.5), (0.5, -0.1), (math.nan, 0.1)])
def test_impossible_operating_points_are_refused(threshold: float, low: float) -> None:
    with pytest.raises(ValueError, match="operating point"):
        OperatingPoint("default", threshold, low, "", "")
