"""The scene in front of simulated cameras: images of visitors, rendered in a background thread and shown repeatedly.

Rendering an image takes about 0.1 s, too long for a new image in every frame of a camera at 30 frames/s. A visitor is
therefore rendered as a short cycle of consecutive moments. The cycle is played back and forth, so that motion is
continuous, with new noise in each frame.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from runtime.capture.simulated.scenario import VisitSchedule, hashed_uniform, ping_pong
from runtime.core.errors import CameraLost
from runtime.core.units import SECOND
from runtime.core.values import Image, Modality

log = logging.getLogger(__name__)

MOTION_FPS = 30
"""Moments of the simulated world per second, whatever the frame rates of the cameras."""
KEPT = 4
"""Number of visitors whose images are kept, at about 25 MB each. Others are rendered again when they return."""
MARGIN = 61
"""Number of pixels by which the noise tile is larger than an image, so that the tile can be shifted for each frame."""
LightPhase = Literal["lit", "dark"]


@dataclass(frozen=True, slots=True)
class Moment:
    """One moment in all modalities: uint8 [H, W, 3], uint8 [H, W, 1], float32 [H, W, 1] millimetres."""

    rgb: Image
    ir: Image
    depth: NDArray[np.float32]


MomentRenderer = Callable[[int, int, LightPhase, bool], Moment]
"""Renders (visitor, moment of the cycle, light, whether the visitor is there)."""


@dataclass(slots=True)
class VisitorFrames:
    """Images of one visitor that have been rendered so far. ``dark``: IR with the illuminator off."""

    lit: list[Moment] = field(default_factory=list)
    dark: list[Image] = field(default_factory=list)
    vacant: list[Moment] = field(default_factory=list)
    vacant_dark: list[Image] = field(default_factory=list)


class Stage:
    """Source of the images of a scenario at any time, for any number of cameras. Thread-safe.

    ``moments``: length of a cycle. A background thread runs only while images are missing.
    """

    def __init__(
        self, visits: VisitSchedule, moments: int, size: tuple[int, int], seed: int, render: MomentRenderer
    ) -> None:
        self._visits, self._moments, self._render = visits, moments, render
        self._changed = threading.Condition()
        self._cycles: dict[int, VisitorFrames] = {}
        self._wanted: tuple[int, ...] = ()
        self._dark_wanted = False
        self._worker: threading.Thread | None = None
        self._error: Exception | None = None
        self._resting = False
        self._seed = seed
        width, height = size
        rng = np.random.default_rng(seed)
        self._grain = rng.integers(0, 2, (height + MARGIN, 3 * width + MARGIN), np.uint8)

    def want_dark(self) -> None:
        """From now on, also render images with the illuminator off."""
        with self._changed:
            self._dark_wanted = True

    def rest(self) -> None:
        """Stop rendering after the current image, until an image is requested again."""
        with self._changed:
            self._resting = True

    def complete(self, at_ns: int) -> bool:
        """Return whether all images of the visitor at ``at_ns`` have been rendered."""
        with self._changed:
            visitor, _ = self._visits.at(at_ns)
            self._request(visitor)
            return self._missing(visitor) is None

    def picture(self, modality: Modality, at_ns: int, lit: bool, grain: int, timeout_s: float) -> NDArray[Any] | None:
        """Return a camera's image at ``at_ns`` as a new array, or None if it is not rendered within ``timeout_s``.

        ``grain``: seed of the noise.

        Raises:
            CameraLost: rendering failed.
        """
        visitor, present = self._visits.at(at_ns)
        light: LightPhase = "lit" if lit or modality != "ir" else "dark"
        with self._changed:
            self._request(visitor)
            self._changed.wait_for(
                lambda: self._error is not None or self._moments_of(visitor, present, light), timeout_s
            )
            if self._error is not None:
                raise CameraLost(f"rendering of the simulated world failed: {self._error}")
            images = self._moments_of(visitor, present, light)
            if not images:
                return None
            image = images[ping_pong(at_ns * MOTION_FPS // SECOND, len(images))]
        if not isinstance(image, Moment):
            return self.with_grain(image, grain)
        if modality == "depth":
            return self._with_depth_grain(image.depth, grain)
        return self.with_grain(image.rgb if modality == "rgb" else image.ir, grain)

    def with_grain(self, image: Image, grain: int) -> Image:
        """Return a copy of an image, uint8 [H, W, C], with noise of one grey level."""
        height, width, channels = image.shape
        flat = image.reshape(height, width * channels)
        out = cv2.add(flat, self._tile(grain, 0, flat.shape))
        out = cv2.subtract(out, self._tile(grain, 2, flat.shape), dst=out)
        return np.asarray(out, np.uint8).reshape(height, width, channels)

    def _with_depth_grain(self, depth: NDArray[np.float32], grain: int) -> NDArray[np.float32]:
        """Return a copy of a depth map with noise of one millimetre where depth is known."""
        out = depth[:, :, 0] + self._tile(grain, 0, depth.shape[:2])
        out[depth[:, :, 0] == 0] = 0
        return out[:, :, None].astype(np.float32, copy=False)

    def _tile(self, grain: int, part: int, shape: tuple[int, ...]) -> Image:
        top, left = (int(hashed_uniform(self._seed, grain, part + k) * MARGIN) for k in range(2))
        return self._grain[top : top + shape[0], left : left + shape[1]]

    def _moments_of(self, visitor: int, present: bool, light: LightPhase) -> list[Moment] | list[Image]:
        cycle = self._cycles[visitor]
        if present:
            return cycle.lit if light == "lit" else cycle.dark
        return cycle.vacant if light == "lit" else cycle.vacant_dark

    def _request(self, visitor: int) -> None:
        """Request a visitor and the next one; forget the one requested longest ago. The lock is held."""
        self._resting = False
        self._wanted = (visitor, (visitor + 1) % self._visits.distinct) if self._visits.stay_ns else (visitor,)
        for wanted in reversed(self._wanted):
            self._cycles[wanted] = self._cycles.pop(wanted) if wanted in self._cycles else VisitorFrames()
        while len(self._cycles) > KEPT:
            del self._cycles[next(iter(self._cycles))]
        if self._worker is None and self._error is None and any(self._missing(v) for v in self._wanted):
            # Never a daemon thread: one that is killed inside OpenCV when the interpreter exits would crash the
            # process.
            self._worker = threading.Thread(target=self._work, name="synthetic-render", daemon=False)
            self._worker.start()

    def _missing(self, visitor: int) -> tuple[LightPhase, bool] | None:
        """Return the next image of a visitor to render: its light, and whether the visitor is in it. Call with the lock
        held."""
        cycle = self._cycles[visitor]
        if self._visits.away_ns and not cycle.vacant:
            return "lit", False
        if self._visits.away_ns and self._dark_wanted and not cycle.vacant_dark:
            return "dark", False
        if self._dark_wanted and len(cycle.dark) < len(cycle.lit):
            return "dark", True
        return ("lit", True) if len(cycle.lit) < self._moments else None

    def _work(self) -> None:
        while True:
            with self._changed:
                job = next(((v, *m) for v in self._wanted if (m := self._missing(v))), None)
                if job is None or self._resting:
                    self._worker = None
                    return
                visitor, light, present = job
                cycle = self._cycles[visitor]
                moment = len(cycle.dark if light == "dark" else cycle.lit) if present else 0
            try:
                image = self._render(visitor, moment, light, present)
            except Exception as error:
                log.exception("rendering of the simulated world failed")
                with self._changed:
                    self._error, self._worker = error, None
                    self._changed.notify_all()
                return
            with self._changed:
                if light == "dark":
                    (cycle.dark if present else cycle.vacant_dark).append(image.ir)
                else:
                    (cycle.lit if present else cycle.vacant).append(image)
                self._changed.notify_all()
