"""The array type of the renderer."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


def float32(values: Any) -> Array:
    """Return OpenCV's result typed as float32: its annotations leave the dtype open. No copy."""
    return np.asarray(values, np.float32)
