"""Detect whether two cameras have moved since calibration, from the shift between their images of the same faces.

A knock on the housing can turn a camera by one degree, or ten pixels. From then on every IR crop shows the wrong part
of the face, and nothing else in the pipeline would notice. RGB and IR images of a face differ in tone, but their edges
are in the same places, so the shift between the two crops is found by phase correlation of their gradients.
"""

from __future__ import annotations

import math
import statistics
from collections import deque
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from runtime.core.errors import InvalidFaceBox
from runtime.core.units import SECOND
from runtime.core.values import Box, Image
from runtime.imaging.crop import CropRule, crop, crop_window

CROP = CropRule(size=160, margin=0.25)
"""Crop that is compared: large enough for a precision of a tenth of a pixel, small enough to take less than a
millisecond."""
BLUR = 1.0
MIN_RESPONSE = 0.2
"""Minimum height of the correlation peak. Lower peaks come from differences in scale or rotation, or from darkness, not
from a shift."""
LIMIT_PX = 5.0
"""Largest acceptable shift in an image 640 pixels wide, beyond the slack of `DriftMonitor.update`. It is 3 % of a face
at arm's length, which the crops tolerate."""


@dataclass(frozen=True, slots=True)
class Shift:
    """Shift of the content of the second image relative to the first, in pixels to the right and down. ``response``:
    height of the correlation peak, 0 to 1; see `MIN_RESPONSE`."""

    x: float
    y: float
    response: float


@dataclass(frozen=True, slots=True)
class DriftState:
    """Median shift over the last readings, in pixels of the IR image to the right and down.

    ``drifted``: None until there are enough readings. ``readings``: number of readings in the median. ``rejected``:
    number of readings since the last `DriftMonitor.reset` that were too unclear or whose box lay outside its image.
    ``advice``: advice to the operator; empty if none is needed.
    """

    x: float
    y: float
    readings: int
    rejected: int
    drifted: bool | None
    advice: str = ""


def edge_map(image: Image) -> NDArray[np.float32]:
    """Blur an image uint8 [H, W, 1 or 3] and return log(1 + gradient magnitude), float32 [H, W].

    The logarithm is needed because the edges of a lit face can be ten times as strong in one image as in the other.
    """
    grey = image[:, :, 0] if image.shape[2] == 1 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    soft = cv2.GaussianBlur(grey.astype(np.float32), (0, 0), BLUR)
    slope = cv2.magnitude(cv2.Sobel(soft, cv2.CV_32F, 1, 0), cv2.Sobel(soft, cv2.CV_32F, 0, 1))
    return np.log1p(slope, dtype=np.float32)


def shift_between(first: Image, second: Image) -> Shift:
    """Return the shift between two images of equal size, uint8 [H, W, 1 or 3]."""
    a, b = edge_map(first), edge_map(second)
    window = cv2.createHanningWindow((a.shape[1], a.shape[0]), cv2.CV_32F)
    (x, y), response = cv2.phaseCorrelate(a, b, window)
    return Shift(float(x), float(y), float(response))


@dataclass(slots=True)
class DriftMonitor:
    """Running median of the shift. Bounded memory; used by one thread.

    ``limit_px``: see `LIMIT_PX`; scale it with the width of the IR image. ``window``: number of most recent readings in
    the median. ``least``: number of readings needed for a result, because a single one may be off by a pixel.
    ``every_ns``: minimum time between two readings.
    """

    limit_px: float = LIMIT_PX
    window: int = 120
    least: int = 20
    every_ns: int = SECOND
    _xs: deque[float] = field(init=False)
    _ys: deque[float] = field(init=False)
    _slacks: deque[tuple[float, float]] = field(init=False)
    _rejected: int = field(default=0, init=False)
    _last_ns: int | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        if not 1 <= self.least <= self.window:
            raise ValueError(f"least must be 1 to window ({self.window}), not {self.least}")
        self._xs, self._ys = deque(maxlen=self.window), deque(maxlen=self.window)
        self._slacks = deque(maxlen=self.window)

    def due(self, t_ns: int) -> bool:
        """Return whether `update` would take a reading from a pair captured at ``t_ns``."""
        return self._last_ns is None or t_ns - self._last_ns >= self.every_ns

    def update(
        self, rgb: Image, ir: Image, rgb_box: Box, ir_box: Box, t_ns: int, slack: tuple[float, float] = (0.0, 0.0)
    ) -> DriftState:
        """Take a reading from a pair if one is `due`, and return the new state.

        ``ir_box``: ``rgb_box`` mapped by the geometry. ``t_ns``: capture time of the pair.

        ``slack``: shift in pixels across and down that can occur without a moved camera and is therefore ignored. If
        the distance came from the width of the face, it is `FACE_BOX_SPREAD` times
        `runtime.geometry.box_mapping.parallax`: people differ, and if a detector draws all boxes wider than assumed, no
        median removes that error.
        """
        if self.due(t_ns):
            self._last_ns = t_ns
            try:
                shift = shift_between(crop(rgb, rgb_box, CROP), crop(ir, ir_box, CROP))
            except InvalidFaceBox:
                # The box was mapped outside the image, so there is no reading. The pipeline reports this itself.
                self._rejected += 1
                return self.state()
            if shift.response >= MIN_RESPONSE:
                # Crops start at whole pixels; subtract the part of the shift that comes from this rounding.
                k = crop_window(ir_box, CROP)[2] / CROP.size
                x, y = rounding_shift(ir_box, rgb_box)
                self._xs.append(shift.x * k + x)
                self._ys.append(shift.y * k + y)
                self._slacks.append((abs(slack[0]), abs(slack[1])))
            else:
                self._rejected += 1
        return self.state()

    def state(self) -> DriftState:
        """Return the result of the readings so far."""
        if not self._xs:
            return DriftState(0.0, 0.0, 0, self._rejected, None)
        x, y = statistics.median(self._xs), statistics.median(self._ys)
        if len(self._xs) < self.least:
            return DriftState(x, y, len(self._xs), self._rejected, None)
        beyond = [
            max(abs(value) - statistics.median(slack), 0.0)
            for value, slack in zip((x, y), zip(*self._slacks, strict=True), strict=True)
        ]
        drifted = math.hypot(*beyond) > self.limit_px
        advice = (
            f"infrared faces are {x:+.1f} pixels across and {y:+.1f} down from where the calibration expects them, "
            f"{math.hypot(*beyond):.1f} more than their distances explain (limit {self.limit_px:g}): a "
            "camera has moved. Fasten it and calibrate again with: adsn-calib rig"
        )
        return DriftState(x, y, len(self._xs), self._rejected, drifted, advice if drifted else "")


def rounding_shift(ir_box: Box, rgb_box: Box) -> tuple[float, float]:
    """Return the part of the shift that comes from rounding the crops to whole pixels, in pixels of the IR image."""
    left, top, side = crop_window(ir_box, CROP)
    off_x, off_y = left + side / 2 - (ir_box.x + ir_box.w / 2), top + side / 2 - (ir_box.y + ir_box.h / 2)
    left, top, rgb_side = crop_window(rgb_box, CROP)
    scale = side / rgb_side
    rgb_x, rgb_y = left + rgb_side / 2 - (rgb_box.x + rgb_box.w / 2), top + rgb_side / 2 - (rgb_box.y + rgb_box.h / 2)
    return off_x - rgb_x * scale, off_y - rgb_y * scale
