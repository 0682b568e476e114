"""Active-light check: whether a face reflects the IR strobe as a real surface does.

Only something lit by a strobing illuminator follows its pattern. A lit frame is compared with the adjacent dark one, in
the face and around it:

- The face must become brighter. Displays and injected images do not.
- It must gain more light than its background. The illuminator's light falls with the square of the distance and skin
  reflects about 0.6 of it (sources in `synthetic.physics`), so only a white wall that nearly touches the head would
  gain as much. A screen reflects less than a tenth and fails this check if any background is visible.
- In a room with its own IR light it must darken by a larger fraction than its background, which gets more of its light
  from the room. Images whose overall brightness is merely modulated do not.

A wrong response indicates an attack; a right one does not indicate life: prints and masks are lit like faces. An
attacker who knows the pattern and simulates distance also passes.
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
"""Half the edge of the measured part of the face, in face boxes."""
NEAR, FAR, CHIN = 0.8, 1.35, 0.3
"""Inner and outer distance of the surroundings from the face's centre, in face boxes, at both sides and above; the
shoulders below the chin are as near as the face."""
CLIPPED_MEAN = 240


@dataclass(frozen=True, slots=True)
class ActiveLightRule:
    """``no_answer``: gain of the face in grey levels below which it does not respond; ``answer``: gain from which it
    does. ``min_ratio``: minimum gain of the face relative to its surroundings. ``min_darkening``: minimum difference of
    log(dark / lit) between surroundings and face. ``min_ambient``: minimum grey level of the dark face for that test.
    ``min_background``: minimum visible fraction of the surroundings. ``max_apart_ns``: longest time between the two
    frames."""

    no_answer: float = 4
    answer: float = 8
    min_ratio: float = 1.0
    min_darkening: float = 0.06
    min_ambient: float = 12
    min_background: float = 0.3
    max_apart_ns: int = 100_000_000


@dataclass(frozen=True, slots=True)
class ActiveLightCue:
    """Measured values. ``gain``: gain of the face in grey levels; ``ratio``: that gain relative to the surroundings';
    ``darkening``: see `ActiveLightRule`; both None if they cannot be measured."""

    answer: StrobeResponse
    gain: float | None = None
    ratio: float | None = None
    darkening: float | None = None


UNKNOWN = ActiveLightCue("unknown")


@dataclass(frozen=True, slots=True)
class ActiveLight:
    """Compares the lit frames of pairs with the adjacent dark ones.

    A pair that is not known to be lit, or has no dark frame near it, is ``unknown``: see
    `runtime.liveness.evidence.EvidenceRule.min_follows` for rigs that must not accept that.
    """

    rule: ActiveLightRule = ActiveLightRule()

    def measure(self, pair: Pair, box: Box) -> ActiveLightCue:
        """Measure whether the face at ``box`` of the infrared picture follows the illuminator."""
        lit, dark = pair.ir, pair.ir_dark
        if lit is None or dark is None or pair.lit != "lit" or lit.shape != dark.shape:
            return UNKNOWN
        times = pair.ir_time_ns, pair.ir_dark_time_ns
        if times[0] is None or times[1] is None or abs(times[0] - times[1]) > self.rule.max_apart_ns:
            return UNKNOWN
        return compare(lit, dark, box, self.rule)


def compare(lit: Image, dark: Image, box: Box, rule: ActiveLightRule) -> ActiveLightCue:
    """Compare a lit and a dark IR image, uint8 [H, W, 1], of a face at ``box``."""
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
        return UNKNOWN
    gain = lit_face - dark_face
    ratio = darkening = None
    lit_around, visible = _mean(lit, around)
    dark_around, _ = _mean(dark, around)
    # Clipped surroundings cannot gain, however much light reaches them.
    if visible >= rule.min_background and lit_around <= CLIPPED_MEAN and lit_face <= CLIPPED_MEAN:
        ratio = gain / max(lit_around - dark_around, 1.0)
        if dark_face >= rule.min_ambient:
            darkening = _log_ratio(dark_around, lit_around) - _log_ratio(dark_face, lit_face)
    if gain < rule.no_answer:
        answer: StrobeResponse = "mismatch"
    elif gain < rule.answer:
        # In sunlight a strobe adds only eight to ten grey levels.
        answer = "unknown"
    elif (ratio is not None and ratio < rule.min_ratio) or (darkening is not None and darkening < rule.min_darkening):
        answer = "mismatch"
    else:
        answer = "follows" if ratio is not None else "unknown"
    return ActiveLightCue(answer, gain, ratio, darkening)


def _log_ratio(dark: float, lit: float) -> float:
    return math.log(max(dark, 0.5) / max(lit, 0.5))


def _mean(image: NDArray[Any], parts: tuple[tuple[float, float, float, float], ...]) -> tuple[float, float]:
    """Return the mean of an image in rectangles (left, top, right, bottom), and the share of their area in it."""
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
