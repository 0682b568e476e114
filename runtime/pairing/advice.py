"""Explain in one line why a rig forms no pairs, and what to do. No state, no I/O."""

from __future__ import annotations

from collections.abc import Mapping

from runtime.core.units import MS
from runtime.core.values import MODALITY_NAMES, Modality
from runtime.pairing.phase import Phase

SILENT_NS = 1_000 * MS
"""Time without a new frame after which a camera counts as silent."""


def pairing_advice(
    *,
    arrivals: Mapping[Modality, int | None],
    since: Mapping[str, int],
    phase: Phase,
    max_skew_ns: int,
    paired: bool,
    now_ns: int,
) -> str:
    """Return one line of advice; empty if pairs are being formed and the phase leaves room for jitter.

    ``arrivals``: stream → arrival time of its newest frame, None before the first frame. ``since``: reason → frames
    rejected since the last pair. ``paired``: whether there has ever been a pair.
    """
    never = [m for m, t in arrivals.items() if t is None]
    if never:
        names = " and ".join(MODALITY_NAMES[m] for m in never)
        return f"no frame has come from the {names} camera yet: is it open, and does it deliver?"
    silent = {m: now_ns - t for m, t in arrivals.items() if t is not None and now_ns - t > SILENT_NS}
    if silent:
        names = " and ".join(f"{MODALITY_NAMES[m]} ({age / 1e9:.1f} s)" for m, age in silent.items())
        return f"no new frames: {names}. Check that camera's state and its last error."
    if since.get("clock_mismatch"):
        return "capture times are not on the host's clock: the source must map its device clock to CLOCK_MONOTONIC."
    if since.get("time_backwards", 0) > 4:
        return (
            "capture times go backwards or repeat: the source must start a new stream generation when its clock is set."
        )
    # The counts start again after each pair, and a few rejections between two pairs are normal.
    if sum(since.values()) < 16 and (paired or not since):
        return phase_advice(phase, max_skew_ns)
    ir = since.get("ir_dark", 0), since.get("ir_unknown", 0)
    usable = sum(since.get(reason, 0) for reason in ("skew", "nearer"))
    if ir[0] and not ir[1] and ir[0] >= usable:
        return "all infrared frames are dark: the illuminator is off, covered or without power."
    if ir[1] and ir[1] >= usable:
        return (
            "it is unknown which infrared frames are lit. Declare strobe = steady, 1:1, 2:1 or 1:2, or none if there "
            "is no illuminator; a strobe that has failed looks the same."
        )
    if since.get("skew"):
        return _too_far(phase, max_skew_ns)
    return ""


def phase_advice(phase: Phase, max_skew_ns: int) -> str:
    """Return one line of advice if the phase is so large that jitter may prevent pairs; otherwise an empty string."""
    if phase.stable and abs(phase.phase_ns) > 0.8 * max_skew_ns:
        return _too_far(phase, max_skew_ns)
    return ""


def _too_far(phase: Phase, max_skew_ns: int) -> str:
    limit = max_skew_ns / MS
    if not phase.stable:
        return (
            f"frames are more than {limit:g} ms apart, and at no steady phase: the cameras' frame rates do not match. "
            "Set the same rate on both, and do not let automatic exposure change it."
        )
    return (
        f"frames are {phase.phase_ns / MS:+.1f} ms apart, of a period of {phase.period_ns / MS:.1f} ms; the limit is "
        f"{limit:g} ms. If the cameras are triggered together, set the stream's offset; if they run freely, open one "
        "of them again for another phase, or trigger them."
    )
