"""Quality gates: conditions that a pair must meet for its score to be meaningful.

Each gate measures one number, compares it with a range, and has a reason code for its failure. Where a limit comes from
a measurement or a publication, the text below it says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from runtime.core.check import Check
from runtime.core.units import MS
from runtime.core.values import Box, IlluminationState, Modality, Pair
from runtime.face.pair_detection import mean_level
from runtime.imaging.crop import CropRule, coverage
from runtime.liveness.grey_copy import copy_correlation

FUTURE_MS = 10.0
"""Tolerance for timestamps in the future. It covers the delay between two readings of one clock, and no more."""
CLIPPED = 250
"""Grey level (of 255) at or above which a pixel counts as clipped."""
FACE_RULE = CropRule(size=112, margin=0.2)
"""Crop that the gates examine: the face with forehead, chin and ears, even if the network's crop shows more."""
DARK_RGB_MEAN = 10
"""Mean of an RGB crop below which the score of the RGB stream is ignored. The shipped model's training recipe counts
such pairs as low light; on them its RGB head gives real people anything from 0.2 to 0.7."""
REBLUR = 9
"""Length in pixels of the box filter with which `blur` re-blurs a `FACE_RULE` crop."""


@dataclass(frozen=True, slots=True)
class QualityLimits:
    """Ranges of the gates, in the units of their measurements."""

    min_face_px: float = 64
    """Minimum shorter edge of the face box. A smaller face has to be upsampled to fill the network's input."""
    min_coverage: float = 0.75
    """Minimum fraction of a `FACE_RULE` crop that lies inside the image."""
    max_yaw_deg: float = 35
    max_pitch_deg: float = 30
    """Maximum yaw and pitch, measured only if the detector gives landmarks."""
    max_rgb_mean: float = 235
    min_rgb_mean: float = 10
    """Minimum mean of the RGB crop of a pair without IR. The training recipe of the shipped model counts pairs below it
    as low light."""
    max_blur: float = 0.75
    """Maximum of `blur`. None of 408 simulated bona fide crops from both camera families is above 0.55. After
    additional blur with a standard deviation of three crop pixels, nine in ten are above 0.75."""
    min_sharp_mean: float = 25
    """Mean of an RGB crop below which noise dominates, so `blur_check` and `copy_check` are skipped."""
    ir_mean: tuple[float, float] = (20, 225)
    """Range of the mean of the IR crop. The dark frame of a strobing illuminator has a mean below 10; an overexposed
    frame cannot show relief. Below 20 the shipped model's median score of bona fide faces falls under the threshold:
    docs/decisions.md."""
    max_ir_clipped: float = 0.35
    """Maximum fraction of the IR crop at 250 or above."""
    min_ir_deviation: float = 3
    """Minimum standard deviation of the IR crop: a lens cover, a wall or a disconnected sensor gives a flat image."""
    max_copied: float = 0.94
    """Maximum of `runtime.liveness.grey_copy.copy_correlation`. Set above the values of simulated people in front of
    both camera families, and tested on other people: docs/decisions.md."""
    max_ir_ambient: float = 120
    """Maximum mean of the IR crop with the illuminator off. According to field reports, IR faces are unreliable above
    it."""
    min_depth_valid: float = 0.6
    """Minimum fraction of the face box with valid depth."""
    depth_mm: tuple[float, float] = (150, 3000)
    """Range of the median distance of the face."""
    max_skew_ms: float = 10
    max_age_ms: float = 500


def box_checks(pair: Pair, boxes: Mapping[Modality, Box], limits: QualityLimits) -> list[Check]:
    """Check the size of the face in full-size image pixels, and how much of it lies inside the images."""
    size = min(min(box.w, box.h) * pair.reduction(modality) for modality, box in boxes.items())
    whole = min(coverage(pair.image(modality).shape, box, FACE_RULE) for modality, box in boxes.items())
    return [
        Check("face.size", size, limits.min_face_px, None, "face_too_small"),
        Check("face.coverage", whole, limits.min_coverage, None, "face_cropped"),
    ]


def pose_checks(angles: tuple[float, float] | None, limits: QualityLimits) -> list[Check]:
    """Check ``angles``: yaw and pitch in degrees, None without landmarks."""
    yaw, pitch = (None, None) if angles is None else (abs(angles[0]), abs(angles[1]))
    return [
        Check("face.yaw", yaw, None, limits.max_yaw_deg, "head_pose"),
        Check("face.pitch", pitch, None, limits.max_pitch_deg, "head_pose"),
    ]


def rgb_checks(mean: float, limits: QualityLimits, *, alone_in_the_dark: bool) -> list[Check]:
    """Check the exposure of an RGB crop with the ``mean`` of all its pixels and channels.

    A dark crop fails only if it is ``alone_in_the_dark``, that is, without IR. With IR it passes, because the network
    was trained on such pairs.
    """
    low = limits.min_rgb_mean if alone_in_the_dark else None
    return [
        Check("rgb.brightness", mean, low, None, "rgb_too_dark"),
        Check("rgb.exposure", mean, None, limits.max_rgb_mean, "rgb_too_bright"),
    ]


def blur_check(crop: NDArray[np.uint8], limits: QualityLimits) -> Check:
    """Check the focus of an RGB crop, uint8 [S, S, 3]."""
    bright = mean_level(crop) >= limits.min_sharp_mean
    found = blur(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)) if bright else None
    return Check("rgb.blur", found, None, limits.max_blur, "rgb_blurry")


def ir_checks(
    crop: NDArray[np.uint8], dark: NDArray[np.uint8] | None, lit: IlluminationState, limits: QualityLimits
) -> list[Check]:
    """Check exposure and illumination of an IR crop, uint8 [S, S, 1].

    ``dark``: the same crop with the illuminator off, None without such a frame. ``lit``: the illuminator's state. Only
    ``dark`` matters, which means that it is known to have been off.
    """
    mean, deviation = (float(v[0, 0]) for v in cv2.meanStdDev(crop))
    low, high = limits.ir_mean
    clipped = float(np.count_nonzero(crop >= CLIPPED)) / crop.size
    checks = [
        Check("ir.illumination", mean, low, None, "ir_unlit"),
        Check("ir.exposure", mean, None, high, "ir_saturated"),
        Check("ir.clipped", clipped, None, limits.max_ir_clipped, "ir_saturated"),
        Check("ir.deviation", deviation, limits.min_ir_deviation, None, "ir_flat"),
        Check("ir.ambient", None if dark is None else mean_level(dark), None, limits.max_ir_ambient, "ambient_flood"),
    ]
    if lit == "dark":
        # However bright the crop is, it was lit by the room and not by the illuminator.
        checks.append(Check("ir.lit", 0, 1, None, "ir_unlit"))
    return checks


def copy_check(rgb: NDArray[np.uint8], ir: NDArray[np.uint8], limits: QualityLimits) -> Check:
    """Check whether the IR crop is a copy of the RGB crop. The check is skipped if the RGB crop is darker than
    ``min_sharp_mean``."""
    found = copy_correlation(rgb, ir) if mean_level(rgb) >= limits.min_sharp_mean else None
    return Check("ir.copied", found, None, limits.max_copied, "strobe_lost")


def depth_checks(crop: NDArray[np.float32], limits: QualityLimits) -> list[Check]:
    """Check valid area and distance of the face in a `FACE_RULE` depth crop, float32 [S, S, 1], mm."""
    rule = FACE_RULE
    edge = round(rule.size * rule.margin / (1 + 2 * rule.margin))
    face = crop[edge : rule.size - edge, edge : rule.size - edge]
    known = face[np.isfinite(face) & (face > 0)]
    distance = float(np.median(known)) if known.size else float("nan")
    # JSON has no NaN; a face without any depth has already failed the first check.
    low, high = limits.depth_mm
    return [
        Check("depth.valid", known.size / max(face.size, 1), limits.min_depth_valid, None, "depth_invalid"),
        Check("depth.distance_mm", distance if known.size else None, low, high, "depth_invalid"),
    ]


def time_checks(pair: Pair, limits: QualityLimits, now_ns: int | None = None) -> list[Check]:
    """Check the skew of the pair, and its age if ``now_ns`` is given.

    ``now_ns`` is on the clock of the pair's timestamps. The skew is checked only if every image has a timestamp.
    """
    checks = []
    if pair.skew_ns is not None:
        skew = pair.skew_ns / MS
        checks.append(Check("pair.skew_ms", skew, None, limits.max_skew_ms, "pair_skew"))
    if now_ns is not None:
        times = [t for t in pair.times_ns if t is not None]
        age = (now_ns - min(times)) / MS if times else None
        checks.append(Check("pair.age_ms", age, -FUTURE_MS, limits.max_age_ms, "pair_stale"))
    return checks


def blur(grey: NDArray[Any]) -> float:
    """Return how blurred a grey image [H, W] is, from 0 to 1: the fraction of its detail that survives a further blur.

    After Crété-Roffet et al., "The blur effect: perception and estimation with a new no-reference perceptual blur
    metric" (2007): the fraction of the differences between neighbouring pixels that survives a blur in the same
    direction. It is measured vertically and horizontally, and the worse of the two is returned. The image is compared
    with a blurred copy of itself, so contrast and brightness have no effect.
    """
    values = grey.astype(np.float32)
    worst = 0.0
    for size, ahead, behind in (
        ((1, REBLUR), np.s_[1:], np.s_[:-1]),
        ((REBLUR, 1), np.s_[:, 1:], np.s_[:, :-1]),
    ):
        softer = cv2.blur(values, size)
        before, after = cv2.absdiff(values[ahead], values[behind]), cv2.absdiff(softer[ahead], softer[behind])
        total = cv2.sumElems(before)[0]
        # Where blurring increases a difference, count only the original difference as surviving.
        kept = cv2.sumElems(cv2.min(before, after))[0]
        worst = max(worst, kept / total if total > 0 else 1.0)
    return worst


def rgb_is_dark(checks: Iterable[Check]) -> bool:
    """Return whether the RGB crop is so dark that the score of the RGB stream is ignored. If the pair has IR, a dark
    RGB crop does not fail a gate."""
    return any(c.name == "rgb.brightness" and c.value is not None and c.value < DARK_RGB_MEAN for c in checks)


def failed_codes(checks: Iterable[Check]) -> tuple[str, ...]:
    """Return the reason codes of the failed checks, each once, in order."""
    return tuple(dict.fromkeys(check.reason for check in checks if check.status == "fail"))
