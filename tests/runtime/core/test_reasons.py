"""Reason codes: complete, documented, and with a text for people."""

from __future__ import annotations

from pathlib import Path

from runtime.core.reasons import ILLUMINATION_CODES, PRIORITY, REASONS, operator_advice
from runtime.core.values import Pair
from runtime.liveness.decision import STREAM_SPOOF
from tests.support.scenes import depth_map, ir_image, pair, pipeline

CONTRACT = """
    no_face multiple_faces face_too_small face_cropped head_pose rgb_blurry rgb_too_dark rgb_too_bright ir_unlit
    ir_saturated ir_flat ir_no_face ambient_flood depth_invalid pair_skew pair_stale modality_missing score_in_band
    strobe_lost rgb_spoof ir_spoof depth_spoof fused_spoof
"""


def test_the_codes_are_those_of_the_contract() -> None:
    assert sorted(REASONS) == sorted(CONTRACT.split())
    attacks = {code for code, reason in REASONS.items() if reason.kind == "spoof"}
    assert set(PRIORITY) | attacks == set(CONTRACT.split())
    assert not set(PRIORITY) & attacks
    assert set(STREAM_SPOOF.values()) | {"fused_spoof"} == attacks


def test_every_reason_speaks_to_people() -> None:
    for code, reason in REASONS.items():
        assert reason.code == code
        assert reason.meaning.endswith(".")
        assert reason.operator
        assert code not in reason.meaning


def test_the_page_has_every_reason_and_every_check() -> None:
    page = (Path(__file__).parents[3] / "docs" / "decisions.md").read_text()
    for code, reason in REASONS.items():
        assert f"| `{code}` | {reason.meaning} | {reason.subject or '—'} | {reason.operator} |" in page
    now = 10**12
    dark = {"ir_dark": ir_image(), "ir_dark_time_ns": now}
    checks = [
        *pipeline().assess(pair(now, **dark), now_ns=now).checks,
        *pipeline(modalities=("ir", "depth")).assess(Pair(ir=ir_image(), depth=depth_map())).checks,
    ]
    assert len(checks) > 15
    for name in {check.name for check in checks}:
        assert f"`{name}`" in page


def test_an_attack_is_given_no_advice() -> None:
    assert not any(reason.subject for reason in REASONS.values() if reason.kind == "spoof")


def test_the_operator_is_told_what_was_found_and_what_to_do() -> None:
    for code in ILLUMINATION_CODES:
        reason = REASONS[code]
        assert operator_advice(code) == f"{reason.meaning} {reason.operator}"
