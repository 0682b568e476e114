"""Contact sheet of every species in every modality, for visual inspection."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from synthetic.presentation import SPECIES, Presentation
from synthetic.raster.take import Rendered, render_patch


def depth_picture(depth: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return depth [H, W, 1] as grey [H, W]: near is bright, 130 mm from black to white, missing is black."""
    known = depth[depth > 0]
    near = float(np.percentile(known, 2)) if known.size else 0.0
    shown = np.clip(255 - (depth[:, :, 0] - near) * (255 / 130), 20, 255)
    return np.where(depth[:, :, 0] > 0, shown, 0).astype(np.uint8)


def triplet(rendered: Rendered) -> NDArray[np.uint8]:
    """Return RGB, IR and depth side by side: uint8 [H, 3W, 3]."""
    ir = np.repeat(rendered.ir, 3, axis=2)
    depth = np.repeat(depth_picture(rendered.depth)[:, :, None], 3, axis=2)
    return np.concatenate([rendered.rgb, ir, depth], axis=1)


def contact_sheet(
    columns: int = 4, seed: int = 0, family: str = "A", first_subject: int = 9000, shape: str = "analytic"
) -> NDArray[np.uint8]:
    """Return uint8 RGB [H, W, 3]: a row for each species, ``columns`` presentations of each."""
    rows = []
    for species in SPECIES:
        shown = [
            Presentation(seed=seed, subject=first_subject + i, species=species, family=family, number=i)
            for i in range(columns)
        ]
        parts = [triplet(render_patch(presentation, shape=shape)) for presentation in shown]
        row = np.concatenate(parts, axis=1)
        strip = np.full((22, row.shape[1], 3), 24, np.uint8)
        cv2.putText(
            strip,
            f"{species}   (colour, infrared, depth)",
            (6, 16),
            cv2.FONT_HERSHEY_SIMPLEX,
            0.5,
            (235,) * 3,
            1,
            cv2.LINE_AA,
        )
        rows += [strip, row]
    return np.concatenate(rows, axis=0)
