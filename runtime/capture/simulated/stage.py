"""The stage before simulated cameras: pictures of visitors, made in the background, shown again and again.

A picture takes some 0.1 s to render, so a camera of 30 frames a second cannot have a new one each time. A visitor is
therefore rendered as a short cycle of consecutive moments, walked to its end and back, so that motion is continuous.
Grain is added each time, so that no two frames are the same.
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

from runtime.capture.simulated.scenario import SECOND, VisitSchedule, hashed_uniform, ping_pong
from runtime.core.errors import CameraLost
from runtime.core.values import Image, Modality

log = logging.getLogger(__name__)

MOTION_FPS = 30
"""How many moments of the simulated world make a second, whatever the cameras' rates."""
KEPT = 4
"""Visitors whose pictures are kept, at some 25 MB each; the others are rendered again when they come back."""
MARGIN = 61
"""By how much the tile of grain exceeds a picture, so that it lies elsewhere each time."""
LightPhase = Literal["lit", "dark"]


@dataclass(frozen=True, slots=True)
class Shot:
    """One moment in all modalities: uint8 [H, W, 3], uint8 [H, W, 1], float32 [H, W, 1] millimetres."""

    rgb: Image
    ir: Image
    depth: NDArray[np.float32]


ShotRenderer = Callable[[int, int, LightPhase, bool], Shot]
"""Renders (visitor, moment of the cycle, light, whether the visitor is there)."""


@dataclass(slots=True)
class VisitorFrames:
    """What there is of one visitor. ``dark``: infrared with the illuminator off."""

    lit: list[Shot] = field(default_factory=list)
    dark: list[Image] = field(default_factory=list)
    vacant: list[Shot] = field(default_factory=list)
    vacant_dark: list[Image] = field(default_factory=list)


class Stage:
    """Pictures of a scenario at any moment, for any number of cameras. Thread-safe.

    ``moments``: length of a cycle. A thread renders while something is missing, and only then.
    """

    def __init__(
        self, visits: VisitSchedule, moments: int, size: tuple[int, int], seed: int, render: ShotRenderer
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
        """Have pictures with the illuminator off made too."""
        with self._changed:
            self._dark_wanted = True

    def rest(self) -> None:
        """Stop rendering after the present picture, until a picture is asked for again."""
        with self._changed:
            self._resting = True

    def complete(self, at_ns: int) -> bool:
        """Whether all pictures of the visitor of that moment are made."""
        with self._changed:
            visitor, _ = self._visits.at(at_ns)
            self._ask(visitor)
            return self._missing(visitor) is None

    def picture(self, modality: Modality, at_ns: int, lit: bool, grain: int, timeout_s: float) -> NDArray[Any] | None:
        """What a camera sees at a moment: a new array, or None when it is not made in time.

        ``grain``: the same number gives the same noise.

        Raises:
            CameraLost: it could not be rendered.
        """
        visitor, present = self._visits.at(at_ns)
        light: LightPhase = "lit" if lit or modality != "ir" else "dark"
        with self._changed:
            self._ask(visitor)
            self._changed.wait_for(lambda: self._error is not None or self._shots(visitor, present, light), timeout_s)
            if self._error is not None:
                raise CameraLost(f"the simulated world could not be rendered: {self._error}")
            shots = self._shots(visitor, present, light)
            if not shots:
                return None
            shot = shots[ping_pong(at_ns * MOTION_FPS // SECOND, len(shots))]
        if not isinstance(shot, Shot):
            return self.with_grain(shot, grain)
        if modality == "depth":
            return self._with_depth_grain(shot.depth, grain)
        return self.with_grain(shot.rgb if modality == "rgb" else shot.ir, grain)

    def with_grain(self, image: Image, grain: int) -> Image:
        """A copy of uint8 [H, W, C] with noise of one grey level."""
        height, width, channels = image.shape
        flat = image.reshape(height, width * channels)
        out = cv2.add(flat, self._tile(grain, 0, flat.shape))
        out = cv2.subtract(out, self._tile(grain, 2, flat.shape), dst=out)
        return np.asarray(out, np.uint8).reshape(height, width, channels)

    def _with_depth_grain(self, depth: NDArray[np.float32], grain: int) -> NDArray[np.float32]:
        """A copy of depth with noise of one millimetre where there is depth."""
        out = depth[:, :, 0] + self._tile(grain, 0, depth.shape[:2])
        out[depth[:, :, 0] == 0] = 0
        return out[:, :, None].astype(np.float32, copy=False)

    def _tile(self, grain: int, part: int, shape: tuple[int, ...]) -> Image:
        top, left = (int(hashed_uniform(self._seed, grain, part + k) * MARGIN) for k in range(2))
        return self._grain[top : top + shape[0], left : left + shape[1]]

    def _shots(self, visitor: int, present: bool, light: LightPhase) -> list[Shot] | list[Image]:
        cycle = self._cycles[visitor]
        if present:
            return cycle.lit if light == "lit" else cycle.dark
        return cycle.vacant if light == "lit" else cycle.vacant_dark

    def _ask(self, visitor: int) -> None:
        """Have a visitor made, and the next; forget who has gone longest. The lock is held."""
        self._resting = False
        self._wanted = (visitor, (visitor + 1) % self._visits.distinct) if self._visits.stay_ns else (visitor,)
        for wanted in reversed(self._wanted):
            self._cycles[wanted] = self._cycles.pop(wanted) if wanted in self._cycles else VisitorFrames()
        while len(self._cycles) > KEPT:
            del self._cycles[next(iter(self._cycles))]
        if self._worker is None and self._error is None and any(self._missing(v) for v in self._wanted):
            # Not a daemon, though the thread that asks may be one: killed inside OpenCV when the interpreter ends, it
            # would take the process down.
            self._worker = threading.Thread(target=self._work, name="synthetic-render", daemon=False)
            self._worker.start()

    def _missing(self, visitor: int) -> tuple[LightPhase, bool] | None:
        """What of a visitor is to be made next: light, and whether the visitor is in it. The lock is held."""
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
                shot = self._render(visitor, moment, light, present)
            except Exception as error:
                log.exception("the simulated world could not be rendered")
                with self._changed:
                    self._error, self._worker = error, None
                    self._changed.notify_all()
                return
            with self._changed:
                if light == "dark":
                    (cycle.dark if present else cycle.vacant_dark).append(shot.ir)
                else:
                    (cycle.lit if present else cycle.vacant).append(shot)
                self._changed.notify_all()
