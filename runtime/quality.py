"""Quality gates: what must hold of a pair before a score of it means anything.

Each gate measures one number, compares it with a range and names the reason code of its failure.
The ranges come from the field notes cited beside them; they say what can be seen, not who is there.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from runtime.preprocess import CropRule, coverage
from runtime.values import Box, Pair

NANOSECONDS_PER_MS = 1_000_000


@dataclass(frozen=True, slots=True)
class Limits:
    """The ranges of the gates, in the units of what they measure."""

    min_face_px: float = 64
    """Shorter edge of the face box. Below it the crop holds fewer real samples than the network's grid needs."""
    min_coverage: float = 0.75
    """Fraction of the crop's area inside the image."""
    max_rgb_mean: float = 235
    ir_mean: tuple[float, float] = (12, 225)
    """A strobing illuminator's dark frame has a mean below 10; a flooded one cannot show relief."""
    max_ir_clipped: float = 0.35
    """Fraction of the infrared crop at 250 or above."""
    min_ir_deviation: float = 3
    """Standard deviation of the infrared crop: a lens cover, a wall or a disconnected sensor is flat."""
    max_skew_ms: float = 10


@dataclass(frozen=True, slots=True)
class Check:
    """One gate's finding. ``low``/``high``: the accepted range, None where open. ``reason``: code when it fails."""

    name: str
    value: float
    low: float | None
    high: float | None
    reason: str

    @property
    def status(self) -> Literal["pass", "fail"]:
        inside = (self.low is None or self.value >= self.low) and (self.high is None or self.value <= self.high)
        # A NaN is inside no range: the comparisons above are False, so it fails.
        return "pass" if inside else "fail"


def box_checks(pair: Pair, rgb_box: Box, ir_box: Box, rule: CropRule, limits: Limits) -> list[Check]:
    """Size of the face and how much of both crops the images really hold."""
    size = min(rgb_box.w, rgb_box.h, ir_box.w, ir_box.h)
    whole = min(coverage(pair.image("rgb").shape, rgb_box, rule), coverage(pair.image("ir").shape, ir_box, rule))
    return [
        Check("face.size", size, limits.min_face_px, None, "face_too_small"),
        Check("face.coverage", whole, limits.min_coverage, None, "face_cropped"),
    ]


def crop_checks(rgb: NDArray[np.uint8], ir: NDArray[np.uint8], limits: Limits) -> list[Check]:
    """Exposure and illumination of the two crops, uint8 [S, S, 3] and [S, S, 1].

    A dark RGB crop passes: in the dark the infrared leads, and the network was trained for it.
    """
    ir_mean = float(ir.mean())
    low, high = limits.ir_mean
    return [
        Check("rgb.exposure", float(rgb.mean()), None, limits.max_rgb_mean, "rgb_too_bright"),
        Check("ir.illumination", ir_mean, low, None, "ir_unlit"),
        Check("ir.exposure", ir_mean, None, high, "ir_saturated"),
        Check("ir.clipped", float((ir >= 250).mean()), None, limits.max_ir_clipped, "ir_saturated"),
        Check("ir.deviation", float(ir.std()), limits.min_ir_deviation, None, "ir_flat"),
    ]


def time_checks(pair: Pair, limits: Limits) -> list[Check]:
    """Skew of the pair, where both times are known."""
    if pair.skew_ns is None:
        return []
    return [Check("pair.skew_ms", pair.skew_ns / NANOSECONDS_PER_MS, None, limits.max_skew_ms, "pair_skew")]


def failures(checks: Iterable[Check]) -> tuple[str, ...]:
    """Reason codes of the failed checks, each once, in order."""
    return tuple(dict.fromkeys(check.reason for check in checks if check.status == "fail"))
