"""Write blank images in the layouts of the data sets."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np


def picture(path: Path, value: int, size: tuple[int, int] = (40, 30), channels: int = 1) -> Path:
    """Write a grey or RGB image filled with ``value``. In RGB images red is 20 higher. ``size``: width and height."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (size[1], size[0]) if channels == 1 else (size[1], size[0], 3)
    pixels = np.full(shape, value, np.uint8)
    if channels == 3:
        pixels[:, :, 2] += 20
    good, data = cv2.imencode(path.suffix, pixels)
    assert good
    path.write_bytes(data.tobytes())
    return path


def triplet(folder: Path, name: str, value: int, colour: str = "color") -> None:
    """Write ``folder``/{color,depth,ir}/``name``, in sizes that differ by modality."""
    picture(folder / colour / name, value, (44, 44), 3)
    picture(folder / "depth" / name, value + 1, (30, 32))
    picture(folder / "ir" / name, value + 2, (36, 30))
