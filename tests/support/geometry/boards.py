"""Images of the calibration board as seen by known cameras, for tests and benchmarks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from calib.geometry.board import Board
from runtime.geometry.box_mapping import CameraModel, Vector

TEXELS = 16
"""Pixels of the drawn board per square."""


@dataclass(frozen=True, slots=True)
class Look:
    """Appearance of the board in a camera. ``black``, ``white``: grey levels. ``dim``: relative brightness in the
    corners of the image."""

    black: float
    white: float
    noise: float
    blur: float
    dim: float


COLOUR = Look(black=30, white=215, noise=2.0, blur=0.6, dim=0.85)
INFRARED = Look(black=55, white=130, noise=2.5, blur=0.7, dim=0.5)
"""Appearance in IR: a fifth of the contrast, and dark towards the edges, like light from an illuminator next to the
lens."""


@dataclass(frozen=True, slots=True, eq=False)
class Pose:
    """Pose of the board: from coordinates in its plane (origin in the middle, mm) to those of the rig."""

    rotation: Vector
    translation: Vector


def pose(tilt_deg: tuple[float, float, float], middle_mm: tuple[float, float, float]) -> Pose:
    turn = np.asarray(cv2.Rodrigues(np.radians(tilt_deg))[0], np.float64)
    return Pose(turn, np.array(middle_mm, np.float64))


def poses(count: int, seed: int = 0, *, near: float = 330, far: float = 700) -> list[Pose]:
    """Return poses of views that a careful user would take: in all parts of the image, tilted to all sides, near and
    far."""
    rng = np.random.default_rng(seed)
    found = []
    for number in range(count):
        z = near + (far - near) * ((number * 0.618) % 1)
        column, row = number % 4, (number // 4) % 3
        x, y = (column - 1.5) / 1.5 * 0.36 * z, (row - 1) * 0.24 * z
        side = number % 5
        tilt = {0: (0, 0), 1: (28, 0), 2: (-28, 0), 3: (0, 28), 4: (0, -28)}[side]
        wobble = rng.normal(0, 5, 3)
        found.append(pose((tilt[0] + wobble[0], tilt[1] + wobble[1], 90 * (number % 2) + wobble[2]), (x, y, z)))
    return found


class Photographer:
    """Takes images of a board with one camera."""

    def __init__(self, board: Board, camera: CameraModel, look: Look, seed: int = 0) -> None:
        self._board, self._camera, self._look = board, camera, look
        self._rng = np.random.default_rng(seed)
        side = TEXELS // 8
        modules = np.pad(board.modules(), 8)  # one square of paper around
        self._texture = np.where(np.kron(modules, np.ones((side, side), bool)), 0.0, 1.0).astype(np.float32)
        # Trace twice as many rays as pixels in each direction; they are averaged afterwards.
        height, width = camera.height * 2, camera.width * 2
        y, x = np.mgrid[0:height, 0:width].astype(np.float64)
        rays = camera.rays(np.column_stack([x.ravel() / 2 - 0.25, y.ravel() / 2 - 0.25]))
        self._rays = np.column_stack([rays, np.ones(len(rays))]).reshape(height, width, 3)
        radius = np.hypot(x / width - 0.5, y / height - 0.5)[::2, ::2] / np.hypot(0.5, 0.5)
        self._fall_off = (1 - (1 - look.dim) * radius**2).astype(np.float32)

    def take(self, where: Pose, channels: Literal[1, 3] = 1) -> NDArray[np.uint8]:
        """Return uint8 [H, W, channels]."""
        camera, board, look = self._camera, self._board, self._look
        turn = camera.rotation @ where.rotation
        origin = camera.rotation @ where.translation + camera.translation
        normal = turn[:, 2]
        along = (normal @ origin) / (self._rays @ normal)
        on_board = (self._rays * along[:, :, None] - origin) @ turn[:, :2]
        scale = TEXELS / board.square_mm
        u = ((on_board[:, :, 0] + board.width_mm / 2) * scale + TEXELS - 0.5).astype(np.float32)
        v = ((on_board[:, :, 1] + board.height_mm / 2) * scale + TEXELS - 0.5).astype(np.float32)
        level = cv2.remap(self._texture, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=0.35)
        small = cv2.resize(level, (camera.width, camera.height), interpolation=cv2.INTER_AREA)
        light = (look.black + (look.white - look.black) * small) * self._fall_off
        light = cv2.GaussianBlur(light, (0, 0), look.blur)
        tint = np.array([1.0, 0.97, 0.93]) if channels == 3 else np.ones(1)
        picture = light[:, :, None] * tint + self._rng.normal(0, look.noise, (*light.shape, channels))
        out: NDArray[np.uint8] = np.clip(picture + 0.5, 0, 255).astype(np.uint8)
        return out
