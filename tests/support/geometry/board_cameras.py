"""Cameras for tests of the commands, which see a board, a blinking light, or a person."""

from __future__ import annotations

import functools
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calib.geometry.board import Board
from runtime.capture.source import SourceInfo
from runtime.capture.uri import CameraUri
from runtime.core.errors import CameraLost
from runtime.core.values import Frame, Modality
from tests.support.geometry.boards import COLOUR, INFRARED, Photographer, poses
from tests.support.geometry.lights import frames, seen, switched
from tests.support.geometry.rigs import rig
from tests.support.geometry.simulated import Shot, shoot

RIG = rig()
VIEWS = 18
LOOKS_AT_A_VIEW = 4
LOOKS: list[str] = []
"""One entry for each look at the cameras by the command."""


@functools.cache
def photographer(modality: Modality) -> Photographer:
    """Return the photographer of a camera. The same sequence of shots always gives the same images."""
    look, seed = (COLOUR, 1) if modality == "rgb" else (INFRARED, 2)
    return Photographer(Board(), RIG.cameras[modality], look, seed)


@functools.cache
def shown(modality: Modality) -> list[NDArray[Any]]:
    """Return a camera's image of each view."""
    return [photographer(modality).take(where, 3 if modality == "rgb" else 1) for where in poses(VIEWS)]


class BoardCamera:
    """Camera that shows one view of the board after another, each for a few looks of the command."""

    def __init__(self, modality: Modality) -> None:
        camera = RIG.cameras[modality]
        self._seq, self._pictures = 0, shown(modality)
        self.info = SourceInfo(
            modality,
            f"board:{modality}",
            camera.identity,
            "board",
            camera.width,
            camera.height,
            "RGB3",
            30,
            "synthetic",
        )

    def read(self, timeout_s: float) -> Frame | None:
        time.sleep(0.01)
        number = len(LOOKS) // LOOKS_AT_A_VIEW % VIEWS
        now = time.monotonic_ns()
        self._seq += 1
        # In every third IR frame the strobe is off.
        dark = self.info.modality == "ir" and self._seq % 3 == 0
        picture = self._pictures[number]
        return Frame(
            self.info.modality,
            np.zeros_like(picture) if dark else picture,
            now,
            now,
            self._seq,
            "synthetic",
            "dark" if dark else "lit",
        )

    def close(self) -> None: ...


class BlinkCamera:
    """Camera that plays a recording of a blinking light at full speed. Its times are late by the value in its
    address."""

    def __init__(self, modality: Modality, late_ms: float, steady: bool) -> None:
        self.info = SourceInfo(
            modality, f"blink:{modality}", f"blink-{modality}", "blink", 4, 4, "GREY", 30, "recorded"
        )
        # A separate generator, so that both cameras see the same light.
        switches = switched(np.random.default_rng(0), 90_000)
        rng = np.random.default_rng(1 if modality == "rgb" else 2)
        times = frames(rng, 90_000)
        levels = np.full(times.size, 40.0) if steady else seen(rng, switches, times, 9)
        self._rows = iter(zip(times + late_ms, levels, strict=True))

    def read(self, timeout_s: float) -> Frame | None:
        row = next(self._rows, None)
        if row is None:
            raise CameraLost("the recording is over.")
        t_ns, level = int(row[0] * 1e6), row[1]
        # Round such that the mean of the image has the right fraction of a grey level.
        image = np.full((100, 1), int(level), np.uint8)
        image[: round(100 * (level % 1))] += 1
        return Frame(self.info.modality, image[:, :, None], t_ns, t_ns, None, "recorded")

    def close(self) -> None: ...


@functools.cache
def somebody() -> list[Shot]:
    """Return shots of a person who sways a little."""
    return [shoot(1, presentation=1, frame=10 * number) for number in range(4)]


class FaceCamera:
    """Camera that shows a person, one second later at each step, at a hundred times real speed."""

    def __init__(self, modality: Modality) -> None:
        self._modality, self._number = modality, 0
        self.info = SourceInfo(modality, f"face:{modality}", modality, "face", 640, 480, "GREY", 30, "synthetic")

    def read(self, timeout_s: float) -> Frame | None:
        time.sleep(0.01)
        # Both cameras share one clock, whose second lasts a hundredth of a real one.
        t_ns = int(time.monotonic() * 100) * 1_000_000_000
        shot = somebody()[t_ns // 1_000_000_000 % len(somebody())]
        self._number += 1
        return Frame(self._modality, shot.pair.image(self._modality), t_ns, t_ns, self._number, "synthetic", "lit")

    def close(self) -> None: ...


def open_face(uri: CameraUri, modality: Modality, generation: int) -> FaceCamera:
    somebody()
    return FaceCamera(modality)


def open_board(uri: CameraUri, modality: Modality, generation: int) -> BoardCamera:
    return BoardCamera(modality)


def open_blink(uri: CameraUri, modality: Modality, generation: int) -> BlinkCamera:
    return BlinkCamera(modality, uri.number("late", 0.0), uri.flag("steady"))
