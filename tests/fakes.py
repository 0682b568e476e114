"""Stand-ins for tests: an engine whose score follows from its input, and what an application needs around it."""

from __future__ import annotations

import threading

import numpy as np

from runtime.assemble import Loaded
from runtime.bundle import CropEntry, FileEntry, Manifest, OperatingPointEntry, RateEntry, TensorEntry
from runtime.engines.base import Batch, EngineInfo, InputSpec, Scores, check_batch, check_scores
from runtime.face import FaceLocator, HaarLocator
from runtime.pipeline import LivenessPipeline

SIZE = 112


class FakeEngine:
    """Scores a pair by the brightness of its infrared crop, so that a wrong crop or a swapped part shows.

    ``gate``: calls wait for it, to keep a worker busy. ``error``: raised instead of scoring.
    """

    def __init__(self) -> None:
        self.gate: threading.Event | None = None
        self.entered = threading.Semaphore(0)
        self.error: Exception | None = None
        self.nan = False
        self.closed = False

    @property
    def info(self) -> EngineInfo:
        return EngineInfo("fake", "int8", "cpu", {"fake": "1"}, threads=1)

    @property
    def inputs(self) -> tuple[InputSpec, ...]:
        return InputSpec("rgb", "uint8", (SIZE, SIZE, 3)), InputSpec("ir", "uint8", (SIZE, SIZE, 1))

    def infer(self, batch: Batch) -> Scores:
        count = check_batch(batch, self.inputs)
        self.entered.release()
        if self.gate is not None:
            assert self.gate.wait(20)
        if self.error is not None:
            raise self.error
        rgb = batch["rgb"].mean((1, 2, 3)) / 255
        ir = batch["ir"].mean((1, 2, 3)) / 255
        score = np.full(count, np.nan) if self.nan else ir
        streams = np.stack([rgb, ir], 1)
        attention = np.zeros((count, 2, 4, 14, 14), np.float32)
        return check_scores(Scores(score.astype(np.float32), streams.astype(np.float32), attention), count)

    def warm_up(self) -> None: ...

    def close(self) -> None:
        self.closed = True


def manifest() -> Manifest:
    """The smallest manifest that is one."""
    rate = RateEntry(errors=0, trials=300, interval=(0.0, 0.0122))
    point = OperatingPointEntry(
        name="default",
        threshold=0.5,
        band_low=0.4,
        target="none",
        measured_on="none",
        apcer={"print": rate},
        bpcer=rate,
    )
    return Manifest(
        schema_version=2,
        name="fake",
        version="0",
        licence="Apache-2.0",
        summary="fake",
        modalities=("rgb", "ir"),
        inputs=[
            TensorEntry(name="rgb", dtype="uint8", shape=(SIZE, SIZE, 3)),
            TensorEntry(name="ir", dtype="uint8", shape=(SIZE, SIZE, 1)),
        ],
        outputs=[TensorEntry(name="score", dtype="float32", shape=())],
        crop=CropEntry(size=SIZE, margin=0.2),
        files=[FileEntry(role="model-int8-cpu", path="model.onnx", size=0, sha256="0" * 64)],
        operating_points=[point],
    )


def loaded(engine: FakeEngine, locator: FaceLocator | None = None) -> Loaded:
    """A pipeline round ``engine``."""
    m = manifest()
    pipeline = LivenessPipeline(engine, locator or HaarLocator(), m.rule(), m.operating_point())
    return Loaded(pipeline, m, "0" * 64)
