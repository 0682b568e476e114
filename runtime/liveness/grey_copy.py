"""Whether an infrared picture is a copy of the colour one beside it.

Whoever feeds a colour video into a rig needs an infrared one with it, and the one that costs nothing is its luminance.
Such a pair can look bona fide to a network that judges pictures. But skin, hair, lips and cloth reflect other parts of
infrared than of visible light, and the two are lit from other sides: between the fine structure of a luminance and of
an infrared picture of the same face there is resemblance, and never identity.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

FINE, COARSE = 5, 15
"""Structure between these sizes is compared, in pixels of the crop: finer is noise, coarser is light and tone curve."""
SHIFT = 4
"""The copy may be moved by so many pixels each way."""
RIM = 8
ROUGH = 0.8
"""Correlation at half the resolution below which it is not looked at the whole. Of simulated copies, moved, blurred and
changed in tone, none was below 0.87 there."""
FLAT = 0.5
"""Standard deviation of the structure, grey levels, below which there is none. Of simulated faces none is below 3."""


def copy_correlation(rgb: NDArray[np.uint8], ir: NDArray[np.uint8]) -> float:
    """How much infrared repeats luminance: −1 to 1, 1 for a copy. Crops uint8 [S, S, 3] and [S, S, 1].

    The correlation of their structure, at the shift where it is largest. Brightness, contrast and, nearly, a tone curve
    do not matter to it.
    """
    luminance: NDArray[Any] = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    infrared: NDArray[Any] = ir[:, :, 0]
    # Most pairs are far from being copies, which half the resolution is enough to see.
    half = (luminance.shape[1] // 2, luminance.shape[0] // 2)
    small, small_ir = (cv2.resize(picture, half, interpolation=cv2.INTER_AREA) for picture in (luminance, infrared))
    rough = _max_correlation(small, small_ir, FINE // 2 + 1, COARSE // 2, RIM // 2, SHIFT // 2)
    return rough if rough < ROUGH else _max_correlation(luminance, infrared, FINE, COARSE, RIM, SHIFT)


def _max_correlation(a: NDArray[Any], b: NDArray[Any], fine: int, coarse: int, rim: int, shift: int) -> float:
    """Largest correlation of the structure of two pictures, the second without its rim, within so many pixels of shift
    each way."""
    first, second = _structure(a, fine, coarse), _structure(b, fine, coarse)
    # Without structure there is nothing to compare, and OpenCV's answer then depends on its version.
    if min(float(cv2.meanStdDev(part)[1][0, 0]) for part in (first, second)) < FLAT:
        return 0.0
    wide = rim - shift
    correlation = cv2.matchTemplate(first[wide:-wide, wide:-wide], second[rim:-rim, rim:-rim], cv2.TM_CCOEFF_NORMED)
    return float(correlation.max())


def _structure(grey: NDArray[Any], fine: int, coarse: int) -> NDArray[np.float32]:
    values = grey.astype(np.float32)
    return np.asarray(cv2.subtract(cv2.blur(values, (fine, fine)), cv2.blur(values, (coarse, coarse))), np.float32)
