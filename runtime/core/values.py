"""Value types that all packages share: images, boxes, frames and pairs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from runtime.core.errors import InvalidFaceBox, ModalityMissing

Modality = Literal["rgb", "ir", "depth"]
MODALITIES: tuple[Modality, ...] = ("rgb", "ir", "depth")
MODALITY_NAMES: Mapping[Modality, str] = {"rgb": "colour", "ir": "infrared", "depth": "depth"}
"""What messages and pages call the modalities."""
Image = NDArray[np.uint8]
"""uint8 [H, W, C]: RGB order with C = 3, IR with C = 1."""
DepthMap = NDArray[np.float32]
"""float32 [H, W, 1]: millimetres along the optical axis, 0 where missing."""
IlluminationState = Literal["lit", "dark", "unknown"]
"""State of the IR illuminator during the exposure. ``unknown`` is never treated as ``dark``."""
TimestampSource = Literal["kernel_soe", "kernel_eof", "device_mapped", "media", "recorded", "synthetic", "arrival"]
"""Source of a capture time. In this order: the driver at the start of the exposure, the driver at the end of the frame,
a device clock mapped to the host's clock, the times in a media file, a recording, the simulation, or the arrival time
if there is nothing better."""


@dataclass(frozen=True, slots=True)
class Box:
    """A face box in pixels: left edge, top edge, width and height."""

    x: float
    y: float
    w: float
    h: float

    def scaled(self, sx: float, sy: float) -> Box:
        """Return the box scaled by ``sx`` in x and ``sy`` in y."""
        return Box(self.x * sx, self.y * sy, self.w * sx, self.h * sy)

    def require_inside(self, shape: tuple[int, ...], what: str) -> None:
        """Raise `InvalidFaceBox` unless the box has an area and lies inside an image of ``shape`` [H, W, …]."""
        height, width = shape[:2]
        values = (self.x, self.y, self.w, self.h)
        if not all(np.isfinite(v) for v in values) or self.w < 1 or self.h < 1:
            raise InvalidFaceBox(f"{what}: a face box is four finite numbers x, y, w, h, with w and h at least 1.")
        # Half a pixel beyond the edge is accepted, because detectors round to whole pixels.
        if self.x < -0.5 or self.y < -0.5 or self.x + self.w > width + 0.5 or self.y + self.h > height + 0.5:
            raise InvalidFaceBox(
                f"{what}: the box x={self.x:g} y={self.y:g} w={self.w:g} h={self.h:g} extends beyond the image of "
                f"{width}×{height} pixels. Give it in pixels of that image, or omit it to have the face detected."
            )


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One frame from one camera.

    ``image``: `Image` for RGB and IR, `DepthMap` for depth; do not write to it. Times are integer nanoseconds of
    CLOCK_MONOTONIC: ``t_capture_ns`` is mid-exposure, ``t_arrival_ns`` is when the host received the frame.
    ``seq``: the driver's sequence number, None if it has none. ``generation`` increases each time the stream is opened.
    """

    modality: Modality
    image: NDArray[Any]
    t_capture_ns: int
    t_arrival_ns: int
    seq: int | None
    timestamp_source: TimestampSource
    lit: IlluminationState = "unknown"
    generation: int = 0
    exposure_ns: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """Images captured at the same moment, at most one per modality.

    Times are mid-exposure, in integer nanoseconds of one clock, None if unknown. ``ir_dark``: adjacent IR frame with
    the illuminator off, for a strobing illuminator. ``lit``: illumination of ``ir``. ``generation``: generation of the
    streams, 0 for uploads. ``clock``: name of the clock of the times. ``reductions``: modality → factor by which the
    edges of its image were reduced when it was decoded; 1 for modalities not listed.
    """

    rgb: Image | None = None
    ir: Image | None = None
    depth: DepthMap | None = None
    rgb_time_ns: int | None = None
    ir_time_ns: int | None = None
    depth_time_ns: int | None = None
    ir_dark: Image | None = None
    ir_dark_time_ns: int | None = None
    lit: IlluminationState = "unknown"
    generation: int = 0
    clock: str = "caller"
    source: Literal["upload", "camera"] = "upload"
    reductions: Mapping[Modality, int] = field(default_factory=dict)

    def image(self, modality: Modality) -> NDArray[Any]:
        """Return the image of ``modality``.

        Raises:
            ModalityMissing: the pair has no such image.
        """
        found: NDArray[Any] | None = getattr(self, modality)
        if found is None:
            raise ModalityMissing(f"the pair has no {modality} image, which this model needs.")
        return found

    def reduction(self, modality: Modality) -> int:
        """Return the factor by which the edges of an image were reduced when it was decoded."""
        return self.reductions.get(modality, 1)

    @property
    def times_ns(self) -> tuple[int | None, ...]:
        """Capture times of the modalities present, in the order of `MODALITIES`."""
        return tuple(getattr(self, f"{m}_time_ns") for m in MODALITIES if getattr(self, m) is not None)

    @property
    def skew_ns(self) -> int | None:
        """Largest difference between the mid-exposure times, or None if one is unknown."""
        times = [t for t in self.times_ns if t is not None]
        if len(times) < len(self.times_ns) or not times:
            return None
        return max(times) - min(times)
