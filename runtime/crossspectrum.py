"""Whether an infrared picture is a copy of the colour one beside it.

Whoever feeds a colour video into a rig needs an infrared one with it, and the one that costs nothing is its luminance.
Such a pair can look genuine to a network that judges pictures. But skin, hair, lips and cloth reflect other parts of
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
FLAT = 0.5
"""Standard deviation of the structure, grey levels, below which there is none. Of simulated faces none is below 3."""


def copied(rgb: NDArray[np.uint8], ir: NDArray[np.uint8]) -> float:
    """How much infrared repeats luminance: −1 to 1, 1 for a copy. Crops uint8 [S, S, 3] and [S, S, 1].

    The correlation of their structure, at the shift where it is largest. Brightness, contrast and, nearly, a tone curve
    do not matter to it.
    """
    luminance = _structure(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY))
    infrared = _structure(ir[:, :, 0])
    # Without structure there is nothing to compare, and OpenCV's answer then depends on its version.
    if min(luminance.std(), infrared.std()) < FLAT:
        return 0.0
    wide = RIM - SHIFT
    found = cv2.matchTemplate(luminance[wide:-wide, wide:-wide], infrared[RIM:-RIM, RIM:-RIM], cv2.TM_CCOEFF_NORMED)
    return float(found.max())


def _structure(grey: NDArray[Any]) -> NDArray[np.float32]:
    values = grey.astype(np.float32)
    fine, coarse = cv2.blur(values, (FINE, FINE)), cv2.blur(values, (COARSE, COARSE))
    return np.asarray(fine - coarse, np.float32)
