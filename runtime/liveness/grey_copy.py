"""Detection of IR images that are copies of the RGB image.

An attacker who injects an RGB video needs a matching IR video, and the cheapest one is the luminance of the RGB video.
The network can take such a pair for bona fide. But skin, hair, lips and cloth reflect IR differently from visible
light, and the light comes from different directions. The fine structure of a real IR image is therefore similar to that
of the luminance, but never identical.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

FINE, COARSE = 5, 15
"""Range of structure sizes compared, in crop pixels: finer is noise, coarser is lighting and tone curve."""
SHIFT = 4
"""Largest shift of the copy in each direction, in pixels."""
RIM = 8
ROUGH = 0.8
"""Correlation at half resolution below which full resolution is not checked. No simulated copy (shifted, blurred or
tone-mapped) had a half-resolution correlation below 0.87."""
FLAT = 0.5
"""Standard deviation in grey levels below which a crop counts as having no structure. No simulated face is below 3."""


def copy_correlation(rgb: NDArray[np.uint8], ir: NDArray[np.uint8]) -> float:
    """Return how closely the IR crop repeats the luminance of the RGB crop: −1 to 1, 1 for a copy.

    The crops are uint8 [S, S, 3] and [S, S, 1].

    The result is the largest correlation of their structure over all shifts. Brightness and contrast have no effect,
    and a tone curve almost none.
    """
    luminance: NDArray[Any] = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    ir_grey: NDArray[Any] = ir[:, :, 0]
    # Most pairs are far from being copies, which half resolution is enough to show.
    half = (luminance.shape[1] // 2, luminance.shape[0] // 2)
    small, small_ir = (cv2.resize(picture, half, interpolation=cv2.INTER_AREA) for picture in (luminance, ir_grey))
    rough = _max_correlation(small, small_ir, FINE // 2 + 1, COARSE // 2, RIM // 2, SHIFT // 2)
    return rough if rough < ROUGH else _max_correlation(luminance, ir_grey, FINE, COARSE, RIM, SHIFT)


def _max_correlation(a: NDArray[Any], b: NDArray[Any], fine: int, coarse: int, rim: int, shift: int) -> float:
    """Return the largest correlation of the structure of two images over shifts of up to ``shift`` pixels each way.

    ``rim``: pixels cut off each edge of the second image.
    """
    first, second = _structure(a, fine, coarse), _structure(b, fine, coarse)
    # Without structure there is nothing to compare, and the result would depend on the version of OpenCV.
    if min(float(cv2.meanStdDev(part)[1][0, 0]) for part in (first, second)) < FLAT:
        return 0.0
    wide = rim - shift
    correlation = cv2.matchTemplate(first[wide:-wide, wide:-wide], second[rim:-rim, rim:-rim], cv2.TM_CCOEFF_NORMED)
    return float(correlation.max())


def _structure(grey: NDArray[Any], fine: int, coarse: int) -> NDArray[np.float32]:
    values = grey.astype(np.float32)
    return np.asarray(cv2.subtract(cv2.blur(values, (fine, fine)), cv2.blur(values, (coarse, coarse))), np.float32)
