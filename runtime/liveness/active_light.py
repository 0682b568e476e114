"""Active-light check: whether a face reflects the IR strobe as a real surface does.

Only a surface lit by the strobing illuminator follows its pattern. The check compares a lit frame with the adjacent
dark one, in the face and around it:

- The face must become brighter. Displays and injected images do not.
- It must gain more light than its background. The illuminator's light falls with the square of the distance and skin
  reflects about 0.6 of it (sources in `synthetic.physics`), so only a white wall that nearly touches the head would
  gain as much. A screen reflects less than a tenth and fails this check if any background is visible.
- In a room with ambient IR light, the face must darken by a larger fraction than its background when the illuminator is
  off, because the background gets more of its light from the room. An image whose overall brightness is merely
  modulated does not.

A wrong response indicates an attack. A right response does not prove life: prints and masks reflect the light as faces
do, and an attacker who knows the pattern and simulates the distance also passes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import cv2
from numpy.typing import NDArray

from runtime.core.values import Box, Image, Pair
from runtime.liveness.decision import StrobeResponse

FACE = 0.3
"""Half the edge of the measured area of the face, as a fraction of the face box."""
NEAR, FAR, CHIN = 0.8, 1.35, 0.3
"""Extent of the surroundings, measured from the centre of the face as fractions of the face box: inner and outer
distance to the sides and above, and the lower limit. Nothing below the chin is used, because the shoulders are as near
as the face."""
CLIPPED_MEAN = 240


@dataclass(frozen=True, slots=True)
class ActiveLightRule:
    """Thresholds of the active-light check.

    ``no_answer``: a face that gains fewer grey levels than this does not respond to the strobe. ``answer``: a face that
    gains at least this many does; between the two the result is ``unknown``. ``min_ratio``: minimum gain of the face
    relative to its surroundings. ``min_darkening``: minimum difference of log(dark / lit) between surroundings and
    face. ``min_ambient``: minimum grey level of the face in the dark frame for the darkening test. ``min_background``:
    minimum visible fraction of the surroundings. ``max_apart_ns``: longest time between the two frames.
    """

    no_answer: float = 4
    answer: float = 8
    min_ratio: float = 1.0
    min_darkening: float = 0.06
    min_ambient: float = 12
    min_background: float = 0.3
    max_apart_ns: int = 100_000_000


@dataclass(frozen=True, slots=True)
class ActiveLight:
    """Compares the lit frames of pairs with the adjacent dark ones.

    A pair that is not known to be lit, or has no dark frame near it, gives ``unknown``. Rigs that must not accept
    ``unknown`` set `runtime.liveness.evidence.EvidenceRule.min_follows`.
    """

    rule: ActiveLightRule = ActiveLightRule()

    def measure(self, pair: Pair, box: Box) -> StrobeResponse:
        """Return how the face at ``box`` in the IR image responds to the illuminator."""
        lit, dark = pair.ir, pair.ir_dark
        if lit is None or dark is None or pair.lit != "lit" or lit.shape != dark.shape:
            return "unknown"
        times = pair.ir_time_ns, pair.ir_dark_time_ns
        if times[0] is None or times[1] is None or abs(times[0] - times[1]) > self.rule.max_apart_ns:
            return "unknown"
        return compare(lit, dark, box, self.rule)


def compare(lit: Image, dark: Image, box: Box, rule: ActiveLightRule) -> StrobeResponse:
    """Return how the face at ``box`` responds to the illuminator. ``lit``, ``dark``: IR images, uint8 [H, W, 1]."""
    cx, cy, w, h = box.x + box.w / 2, box.y + box.h / 2, box.w, box.h
    face = (cx - FACE * w, cy - FACE * h, cx + FACE * w, cy + FACE * h)
    around = (
        (cx - FAR * w, cy - FAR * h, cx + FAR * w, cy - NEAR * h),
        (cx - FAR * w, cy - NEAR * h, cx - NEAR * w, cy + CHIN * h),
        (cx + NEAR * w, cy - NEAR * h, cx + FAR * w, cy + CHIN * h),
    )
    lit_face, visible = _mean(lit, (face,))
    dark_face, _ = _mean(dark, (face,))
    if visible < 0.9 or dark_face > CLIPPED_MEAN:
        return "unknown"
    gain = lit_face - dark_face
    ratio = darkening = None
    lit_around, visible = _mean(lit, around)
    dark_around, _ = _mean(dark, around)
    # Clipped surroundings cannot become brighter, so their gain would be too small.
    if visible >= rule.min_background and lit_around <= CLIPPED_MEAN and lit_face <= CLIPPED_MEAN:
        ratio = gain / max(lit_around - dark_around, 1.0)
        if dark_face >= rule.min_ambient:
            darkening = _log_ratio(dark_around, lit_around) - _log_ratio(dark_face, lit_face)
    if gain < rule.no_answer:
        return "mismatch"
    if gain < rule.answer:
        # In sunlight a strobe adds only eight to ten grey levels, so a slightly smaller gain proves nothing.
        return "unknown"
    if (ratio is not None and ratio < rule.min_ratio) or (darkening is not None and darkening < rule.min_darkening):
        return "mismatch"
    return "follows" if ratio is not None else "unknown"


def _log_ratio(dark: float, lit: float) -> float:
    return math.log(max(dark, 0.5) / max(lit, 0.5))


def _mean(image: NDArray[Any], parts: tuple[tuple[float, float, float, float], ...]) -> tuple[float, float]:
    """Return the mean of the image in the rectangles ``parts``, and the fraction of their area inside the image.

    A rectangle is (left, top, right, bottom).
    """
    height, width = image.shape[:2]
    total = area = whole = 0.0
    for left, top, right, bottom in parts:
        whole += (right - left) * (bottom - top)
        x0, y0, x1, y1 = max(round(left), 0), max(round(top), 0), min(round(right), width), min(round(bottom), height)
        if x1 > x0 and y1 > y0:
            size = (x1 - x0) * (y1 - y0)
            total += cv2.mean(image[y0:y1, x0:x1])[0] * size
            area += size
    return (total / area if area else 0.0), (area / whole if whole > 0 else 0.0)
