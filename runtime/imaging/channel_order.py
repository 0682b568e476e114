"""Recognise images whose channels are in OpenCV's order, BGR, instead of RGB."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.core.values import Box

BLUE_FACE = 0.15
"""Fraction by which blue may exceed red in a face before the image is taken for BGR. Skin of every tone reflects more
red than blue. Under cold light some BGR faces go unnoticed, and a print in bluish toner may cause a false warning."""


def looks_like_bgr(image: NDArray[Any], box: Box) -> bool:
    """Return whether the middle of a face, uint8 [H, W, 3], has clearly more in its third channel than in its first."""
    x, y = max(int(box.x + box.w / 4), 0), max(int(box.y + box.h / 4), 0)
    skin = image[y : int(box.y + box.h * 3 / 4), x : int(box.x + box.w * 3 / 4)]
    if not skin.size:
        return False
    red, _, blue = np.median(skin.reshape(-1, 3), axis=0)
    return bool(blue - red > BLUE_FACE * blue)
