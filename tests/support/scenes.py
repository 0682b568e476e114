"""Images, detectors and engines for tests of the pipeline, with known faces at known places."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from runtime.core.operating_point import OperatingPoint
from runtime.core.values import Box, DepthMap, Image, Modality, Pair
from runtime.engines.base import Batch, EngineInfo, InputSpec, Scores, check_batch, check_scores
from runtime.face.detector import Face
from runtime.imaging.crop import CropRule
from runtime.liveness.pair_pipeline import LivenessPipeline

SIZE = 112
BOX = Box(240, 140, 160, 160)
POINT = OperatingPoint("default", threshold=0.6, band_low=0.25, target="", measured_on="")
CHANNELS: dict[Modality, tuple[str, int]] = {"rgb": ("uint8", 3), "ir": ("uint8", 1), "depth": ("float32", 1)}
HEIGHT, WIDTH = 480, 640


class ScriptedEngine:
    """Engine that returns a preset score and keeps the last batch."""

    def __init__(self, modalities: Sequence[Modality] = ("rgb", "ir"), score: float = 0.95) -> None:
        self._modalities = tuple(modalities)
        self.score, self.streams = score, (0.9, 0.9)
        self.batch: Batch = {}
        self.runs = 0

    @property
    def info(self) -> EngineInfo:
        return EngineInfo("fake", "int8", "cpu", {"fake": "1"}, threads=1)

    @property
    def inputs(self) -> tuple[InputSpec, ...]:
        return tuple(InputSpec(m, CHANNELS[m][0], (SIZE, SIZE, CHANNELS[m][1])) for m in self._modalities)

    def infer(self, batch: Batch) -> Scores:
        count = check_batch(batch, self.inputs)
        self.batch, self.runs = {name: array.copy() for name, array in batch.items()}, self.runs + 1
        attention = np.zeros((count, 2, 4, 14, 14), np.float32)
        fused, streams = np.full(count, self.score, np.float32), np.tile(np.array(self.streams, np.float32), (count, 1))
        return check_scores(Scores(fused, streams, attention), count)

    def warm_up(self) -> None: ...

    def close(self) -> None: ...


class MarkDetector:
    """Detector that finds only the bright square with a dark cross drawn by `with_face`, and records its searches.

    Like the cascade, it finds nothing below a certain contrast.
    """

    def __init__(self) -> None:
        self.searches: list[tuple[int, int]] = []
        self.count: int | None = None
        self.landmarks: NDArray[np.float32] | None = None

    def detect(self, image: Image, smallest: float = 0.0) -> Face | None:
        self.searches.append(image.shape[:2])
        bright = (image.max(axis=2) >= 240).astype(np.uint8)
        number, _, stats, _ = cv2.connectedComponentsWithStats(bright)
        boxes = [Box(*map(float, row[:4])) for row in stats[1:number] if row[2] >= max(20, smallest)]
        if not boxes:
            return None
        best = max(boxes, key=lambda box: box.w)
        return Face(best, 5.0, self.count or len(boxes), self.landmarks)


def with_face(image: NDArray[np.uint8], box: Box = BOX, seed: int = 1) -> NDArray[np.uint8]:
    """Return ``image`` with a mark at ``box``: a thin bright frame around a texture that depends on ``seed``."""
    image = image.copy()
    x, y, w, h = (round(v) for v in (box.x, box.y, box.w, box.h))
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(60, 200, (9, 9)).astype(np.float32)
    inside = cv2.resize(coarse, (w, h), interpolation=cv2.INTER_CUBIC).clip(0, 235).astype(np.uint8)
    image[y : y + h, x : x + w] = inside[:, :, None]
    image[y : y + 3, x : x + w] = image[y + h - 3 : y + h, x : x + w] = 250
    image[y : y + h, x : x + 3] = image[y : y + h, x + w - 3 : x + w] = 250
    return image


def background(level: int, channels: int, seed: int) -> NDArray[np.uint8]:
    """Return an image of a room with structure at the scale of a tenth of a face."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(level - 40, level + 40, (36, 48)).astype(np.float32)
    grey = cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC).clip(0, 235).astype(np.uint8)
    return np.repeat(grey[:, :, None], channels, axis=2)


def rgb_image(box: Box | None = BOX, seed: int = 1) -> Image:
    image = background(120, 3, 50)
    return with_face(image, box, seed) if box else image


def ir_image(box: Box | None = BOX, seed: int = 1) -> Image:
    image = background(110, 1, 51)
    return with_face(image, box, seed + 1000) if box else image


def depth_map(distance: float = 600.0) -> DepthMap:
    return np.full((HEIGHT, WIDTH, 1), distance, np.float32)


def pair(now_ns: int | None = None, **changes: Any) -> Pair:
    """Return a good RGB-IR pair, captured now."""
    at = time.monotonic_ns() if now_ns is None else now_ns
    entries: dict[str, Any] = {"rgb": rgb_image(), "ir": ir_image(), "rgb_time_ns": at, "ir_time_ns": at, "lit": "lit"}
    return Pair(**{**entries, **changes})


def pipeline(
    engine: ScriptedEngine | None = None,
    detector: Any = None,
    modalities: Sequence[Modality] = ("rgb", "ir"),
    **parts: Any,
) -> LivenessPipeline:
    return LivenessPipeline(
        engine or ScriptedEngine(modalities), detector or MarkDetector(), CropRule(), POINT, modalities, **parts
    )
