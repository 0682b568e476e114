"""Images in BGR order are recognised by the face; skin in RGB order is not."""

from __future__ import annotations

import numpy as np
import skimage.data
from numpy.typing import NDArray

from runtime.core.values import Box
from runtime.imaging.channel_order import looks_like_bgr
from synthetic import Presentation, render_patch


def test_skin_of_every_tone_in_rgb_order_is_not_warned_of() -> None:
    seen = 0
    for subject in range(12):
        patch = render_patch(Presentation(seed=3, subject=subject, family="AB"[subject % 2]))
        box = Box(*patch.box)
        assert not looks_like_bgr(patch.rgb, box)
        seen += looks_like_bgr(np.ascontiguousarray(patch.rgb[:, :, ::-1]), box)
    assert seen >= 11
    # A photograph of a real person.
    astronaut: NDArray[np.uint8] = skimage.data.astronaut()  # type: ignore[no-untyped-call]  # no stubs
    face = Box(170, 70, 100, 130)
    assert not looks_like_bgr(astronaut, face)
    assert looks_like_bgr(astronaut[:, :, ::-1], face)
    # This check does not apply to grey images.
    assert not looks_like_bgr(np.full((100, 100, 3), 128, np.uint8), Box(10, 10, 80, 80))
