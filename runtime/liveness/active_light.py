"""Whether a face answers the infrared illuminator as a thing does that stands before it.

A strobing illuminator asks a question that only something lit by it can answer. Compared are a lit frame and the dark
one beside it, in the face and around it:

- The face must become brighter. What shines by itself, and pictures fed in from elsewhere, do not.
- It must gain more light than what is behind it. The illuminator's light falls with the square of the distance and
  skin reflects about 0.6 of it (`synthetic.physics` has the sources), so a wall would have to be white and nearly touch
  the head to gain as much. A screen reflects less than a tenth and is caught by this, as far as a background shows.
- It must darken more than what is behind it, as a fraction, where the room has infrared light of its own: the
  background owes more of its light to the room. Pictures whose brightness is merely turned up and down do not.

It is a sign of an attack when the answer is wrong, and none of life when it is right: prints and masks are lit like
faces. Whoever knows the pattern and simulates distance passes too.
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
"""Half the edge of the part of the face that is measured, in face boxes."""
NEAR, FAR, CHIN = 0.8, 1.35, 0.3
"""The surroundings reach from so far to so far from the face's centre, in face boxes, at both sides and above; below
the chin are shoulders, which stand as near as the face."""
CLIPPED_MEAN = 240


@dataclass(frozen=True, slots=True)
class ActiveLightRule:
    """``no_answer``: grey levels that the face must gain, below which it does not answer; ``answer``: those from which
    it does. ``min_ratio``: least of what it gains against its surroundings. ``min_darkening``: least difference of the
    logarithms of dark over lit between surroundings and face. ``min_ambient``: grey level of the dark face from which
    that can be told. ``min_background``: visible part of the surroundings from which they are measured.
    ``max_apart_ns``: longest time between the two frames."""

    no_answer: float = 4
    answer: float = 8
    min_ratio: float = 1.0
    min_darkening: float = 0.06
    min_ambient: float = 12
    min_background: float = 0.3
    max_apart_ns: int = 100_000_000


@dataclass(frozen=True, slots=True)
class ActiveLightCue:
    """What was measured. ``gain``: grey levels that the face gains; ``ratio``: that against its surroundings' gain;
    ``darkening``: see `ActiveLightRule`; both None where they cannot be told."""

    answer: StrobeResponse
    gain: float | None = None
    ratio: float | None = None
    darkening: float | None = None


UNKNOWN = ActiveLightCue("unknown")


@dataclass(frozen=True, slots=True)
class ActiveLight:
    """Compares the lit frames of pairs with the dark ones beside them.

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
    """A lit and a dark infrared picture, uint8 [H, W, 1], of a face at ``box``."""
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
    # Clipped surroundings gain nothing, whatever falls on them.
    if visible >= rule.min_background and lit_around <= CLIPPED_MEAN and lit_face <= CLIPPED_MEAN:
        ratio = gain / max(lit_around - dark_around, 1.0)
        if dark_face >= rule.min_ambient:
            darkening = _log_ratio(dark_around, lit_around) - _log_ratio(dark_face, lit_face)
    if gain < rule.no_answer:
        answer: StrobeResponse = "mismatch"
    elif gain < rule.answer:
        # In the sun a strobe is worth eight to ten grey levels.
        answer = "unknown"
    elif (ratio is not None and ratio < rule.min_ratio) or (darkening is not None and darkening < rule.min_darkening):
        answer = "mismatch"
    else:
        answer = "follows" if ratio is not None else "unknown"
    return ActiveLightCue(answer, gain, ratio, darkening)


def _log_ratio(dark: float, lit: float) -> float:
    return math.log(max(dark, 0.5) / max(lit, 0.5))


def _mean(image: NDArray[Any], parts: tuple[tuple[float, float, float, float], ...]) -> tuple[float, float]:
    """Mean of an image in rectangles of left, top, right, bottom, and which part of their area it has."""
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
