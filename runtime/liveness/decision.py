"""From scores to a decision. Pure: no clock, no I/O. Whatever goes wrong ends in ``uncertain``, never in ``live``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from runtime.core.operating_point import OperatingPoint

Decision = Literal["live", "spoof", "uncertain"]

VETOES = frozenset({"ir_no_face", "strobe_lost"})
"""Gates whose failure is a sign of an attack, not of a poor picture: they keep a pair from being ``live``, and do not
keep it from being ``spoof``."""
STREAM_SPOOF = {"rgb": "rgb_spoof", "ir": "ir_spoof", "depth": "depth_spoof"}


@dataclass(frozen=True, slots=True)
class Verdict:
    """A decision and the stable codes that explain it."""

    decision: Decision
    reasons: tuple[str, ...]


def decide(
    score: float,
    stream_scores: Sequence[float],
    modalities: Sequence[str],
    point: OperatingPoint,
    failed_gates: Sequence[str] = (),
) -> Verdict:
    """Decide one still pair.

    A failed quality gate wins over any score: what could not be seen well is neither live nor spoof. Of `VETOES` alone
    a low score is still a spoof.
    A score that is no number is ``uncertain`` too, though engines refuse to return one.
    """
    if set(failed_gates) - VETOES:
        return Verdict("uncertain", tuple(dict.fromkeys(failed_gates)))
    if not (math.isfinite(score) and 0 <= score <= 1):
        return Verdict("uncertain", ("score_in_band",))
    vetoes = tuple(dict.fromkeys(failed_gates))
    if score >= point.threshold:
        return Verdict("uncertain", vetoes) if vetoes else Verdict("live", ())
    if score >= point.band_low:
        return Verdict("uncertain", (*vetoes, "score_in_band"))
    reasons = [
        STREAM_SPOOF[name] for name, value in zip(modalities, stream_scores, strict=True) if value < point.threshold
    ]
    return Verdict("spoof", (*vetoes, *reasons, "fused_spoof"))
