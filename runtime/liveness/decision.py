"""Decisions from scores. Pure: no clock, no I/O. A failed gate never gives ``live``."""

from __future__ import annotations

import math
from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from runtime.core.operating_point import OperatingPoint

Decision = Literal["live", "spoof", "uncertain"]
DECISIONS: tuple[Decision, ...] = get_args(Decision)

StrobeResponse = Literal["follows", "mismatch", "unknown"]
"""Whether a face follows the rig's strobing illuminator: see `runtime.liveness.active_light`."""
VETO_CODES = frozenset({"ir_no_face", "strobe_lost"})
"""Codes of failed gates that indicate an attack rather than a poor image: they prevent ``live`` but not ``spoof``."""
STREAM_SPOOF = {"rgb": "rgb_spoof", "ir": "ir_spoof", "depth": "depth_spoof"}


@dataclass(frozen=True, slots=True)
class Verdict:
    """A decision and the stable codes that explain it."""

    decision: Decision
    reasons: tuple[str, ...]


def with_strobe(failed_gates: Sequence[str], strobe: StrobeResponse) -> tuple[str, ...]:
    """Return the failed gates, adding ``strobe_lost`` if the face does not follow the illuminator.

    The rule that such a face is never ``live`` is defined here alone. `decide` and `runtime.liveness.evidence.Evidence`
    both call this function.
    """
    failed = dict.fromkeys(failed_gates)
    return (*failed, "strobe_lost") if strobe == "mismatch" and "strobe_lost" not in failed else tuple(failed)


def decide(
    score: float,
    stream_scores: Sequence[float],
    modalities: Sequence[str],
    point: OperatingPoint,
    failed_gates: Sequence[str] = (),
    strobe: StrobeResponse = "unknown",
    unseen: Container[str] = (),
) -> Verdict:
    """Return the verdict on one still pair.

    If any gate outside `VETO_CODES` failed, the verdict is ``uncertain`` whatever the score. If only gates in
    `VETO_CODES` failed, a low score gives ``spoof`` and any other score ``uncertain``. A NaN score gives ``uncertain``;
    engines never return one. ``unseen``: modalities whose image shows too little to be a reason for ``spoof``.
    """
    failed = with_strobe(failed_gates, strobe)
    if set(failed) - VETO_CODES:
        return Verdict("uncertain", failed)
    if not (math.isfinite(score) and 0 <= score <= 1):
        return Verdict("uncertain", ("score_in_band",))
    if score >= point.threshold:
        return Verdict("uncertain", failed) if failed else Verdict("live", ())
    if score >= point.band_low:
        return Verdict("uncertain", (*failed, "score_in_band"))
    reasons = [
        STREAM_SPOOF[name]
        for name, value in zip(modalities, stream_scores, strict=True)
        if value < point.threshold and name not in unseen
    ]
    return Verdict("spoof", (*failed, *reasons, "fused_spoof"))
