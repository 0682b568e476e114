"""Test doubles: an engine whose score depends on its input, a scripted pair feed, and a model around them."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, Literal

import numpy as np

from runtime.bundle.manifest import CropEntry, FileEntry, Manifest, OperatingPointEntry, RateEntry, TensorEntry
from runtime.capture.simulated.rig import SyntheticRig
from runtime.capture.status import CameraState, CameraStatus
from runtime.core.values import Modality, Pair
from runtime.engines.base import Batch, EngineInfo, InputSpec, Scores, check_batch, check_scores
from runtime.face.detector import FaceDetector, HaarDetector
from runtime.liveness.open import LoadedModel
from runtime.liveness.pair_pipeline import LivenessPipeline
from runtime.pairing.feed import CapturedPair, FeedStatus

SIZE = 112
TENSORS: dict[Modality, tuple[Literal["uint8", "float32"], tuple[int, int, int]]] = {
    "rgb": ("uint8", (SIZE, SIZE, 3)),
    "ir": ("uint8", (SIZE, SIZE, 1)),
    "depth": ("float32", (SIZE, SIZE, 1)),
}


class FakeEngine:
    """Engine that scores a pair by the brightness of its second crop (for depth, by metres), so that a wrong crop or
    swapped parts are noticed.

    ``gate``: event for which calls wait, to keep a worker busy. ``error``: exception to raise instead of scoring.
    """

    def __init__(self, modalities: tuple[Modality, Modality] = ("rgb", "ir")) -> None:
        self.modalities = modalities
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
        return tuple(InputSpec(m, *TENSORS[m]) for m in self.modalities)

    def infer(self, batch: Batch) -> Scores:
        count = check_batch(batch, self.inputs)
        self.entered.release()
        if self.gate is not None:
            assert self.gate.wait(20)
        if self.error is not None:
            raise self.error
        first, second = (batch[m].mean((1, 2, 3)) / (1000 if m == "depth" else 255) for m in self.modalities)
        score = np.full(count, np.nan) if self.nan else second
        streams = np.stack([first, second], 1)
        attention = np.zeros((count, 2, 4, 14, 14), np.float32)
        return check_scores(Scores(score.astype(np.float32), streams.astype(np.float32), attention), count)

    def warm_up(self) -> None: ...

    def close(self) -> None:
        self.closed = True


def manifest(modalities: tuple[Modality, Modality] = ("rgb", "ir")) -> Manifest:
    """Return a minimal valid manifest."""
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
        modalities=modalities,
        inputs=[TensorEntry(name=m, dtype=TENSORS[m][0], shape=TENSORS[m][1]) for m in modalities],
        outputs=[TensorEntry(name="score", dtype="float32", shape=())],
        crop=CropEntry(size=SIZE, margin=0.2),
        files=[FileEntry(role="model-int8-cpu", path="model.onnx", size=0, sha256="0" * 64)],
        operating_points=[point],
    )


def loaded(engine: FakeEngine, detector: FaceDetector | None = None) -> LoadedModel:
    """Return a pipeline with ``engine``."""
    m = manifest(engine.modalities)
    pipeline = LivenessPipeline(
        engine, detector or HaarDetector(), m.rule(), m.operating_point(), modalities=engine.modalities
    )
    return LoadedModel(pipeline, m, "0" * 64)


@lru_cache(maxsize=1)
def face_pair() -> Pair:
    """Return a simulated person in full frames, as a rig delivers them."""
    pair = SyntheticRig(seed=107, subject=9000).next().pair
    return replace(pair, source="camera", lit="lit", generation=1)


class FakeFeed:
    """A scripted `PairFeed`: the test determines the pairs, their times, and the status of the cameras.

    ``put`` delivers a pair at once. ``every``: pairs to deliver automatically after the start, as (seconds after the
    previous one, pair). ``repeat``: whether to start over at the end. ``set`` changes parts of the status.
    """

    def __init__(self, every: Sequence[tuple[float, Pair]] = (), *, repeat: bool = False) -> None:
        self._every, self._repeat = tuple(every), repeat
        self._newest: CapturedPair | None = None
        self._changed = threading.Condition()
        self._status = FeedStatus(cameras=(), pairs=0, pairs_per_s=0.0, last_pair_ns=None, skew_ms=None)
        self._thread = threading.Thread(target=self._play, name="fake-feed", daemon=True)
        self.started = self.closed = False
        self.waits = 0

    def start(self) -> None:
        self.started = True
        if self._every:
            self._thread.start()

    def put(self, pair: Pair, *, number: int | None = None, emitted_ns: int | None = None) -> CapturedPair:
        """Deliver ``pair`` now. ``emitted_ns``: time at which it counts as complete."""
        with self._changed:
            newest = self._newest
            made = CapturedPair(
                number if number is not None else (newest.number + 1 if newest is not None else 0),
                pair,
                time.monotonic_ns() if emitted_ns is None else emitted_ns,
            )
            self._newest = made
            skew = pair.skew_ns
            self._status = replace(
                self._status,
                pairs=self._status.pairs + 1,
                last_pair_ns=made.t_emitted_ns,
                skew_ms=None if skew is None else skew / 1e6,
            )
            self._changed.notify_all()
        return made

    def set(self, **parts: Any) -> None:
        """Change parts of the status: ``cameras``, ``advice``, ``strobe``, ``rejected``, …"""
        with self._changed:
            self._status = replace(self._status, **parts)

    def camera(self, modality: Modality, state: CameraState, **parts: Any) -> None:
        """Change the state of one camera. Add the camera if it is missing."""
        with self._changed:
            known = {c.modality: c for c in self._status.cameras}
            fresh = CameraStatus(modality, state, None, 0, 0.0, 0, {}, 0, None)
            known[modality] = replace(known.get(modality, fresh), state=state, **parts)
            self._status = replace(self._status, cameras=tuple(known.values()))

    def wait(self, after: int, timeout_s: float) -> CapturedPair | None:
        with self._changed:
            self.waits += 1
            self._changed.wait_for(lambda: self._fresh(after) is not None or self.closed, timeout_s)
            return self._fresh(after)

    def _fresh(self, after: int) -> CapturedPair | None:
        newest = self._newest
        return newest if newest is not None and newest.number > after else None

    def status(self) -> FeedStatus:
        with self._changed:
            return self._status

    def close(self) -> None:
        with self._changed:
            self.closed = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(2)

    def _play(self) -> None:
        while True:
            for wait_s, pair in self._every:
                with self._changed:
                    if self._changed.wait_for(lambda: self.closed, wait_s):
                        return
                self.put(pair)
            if not self._repeat:
                return
