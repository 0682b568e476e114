"""Frames to record, and recordings of them."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from runtime.config.rig import RigSettings
from runtime.core.values import Frame, Modality, Pair
from runtime.pairing.feed import CapturedPair
from runtime.recording.writer import QUEUE, Recorder
from tests.support.waiting import until

RIG = RigSettings(rgb="opencv:rtsp://user:geheim@host/s?a=1?", ir="synthetic:", strobe="steady", ir_offset_ms=-1.5)
PAIR: tuple[Modality, Modality] = ("rgb", "ir")


BASE = 5_000_000_000_123


def frame(modality: Modality, n: int, seed: int = 0, **more: Any) -> Frame:
    """Return the ``n``-th frame of a camera, with noise that depends on ``seed`` and ``n``."""
    rng = np.random.default_rng([seed, n, ord(modality[0])])
    shape = (48, 64, 3 if modality == "rgb" else 1)
    image = rng.integers(0, 255, shape, np.uint8)
    pixels = image if modality != "depth" else (image * 7.0).astype(np.float32)
    at = BASE + n * 33_333_333 + (0 if modality == "rgb" else 4_000_001)
    return replace(Frame(modality, pixels, at, at + 12_345_678, n, "kernel_soe", "unknown", 2, 8_000_000), **more)


def record(folder: Path, frames: list[Frame], rig: RigSettings = RIG, **options: Any) -> Path:
    """Record ``frames`` and one pair, and return the path of the file."""
    recorder = Recorder(folder, rig, consent="the testers, orally", **options)
    for number, item in enumerate(frames):
        until(partial(lambda n: not recorder.recording or n - recorder.frames < QUEUE, number))
        recorder.on_frame(item)
    recorder.on_pair(CapturedPair(7, Pair(rgb=frames[0].image, rgb_time_ns=1, generation=3), 99))
    recorder.close()
    assert recorder.error == ""
    assert recorder.left_out == 0
    return recorder.path


def interleaved(count: int, **more: Any) -> list[Frame]:
    """Return ``count`` frames of each camera in alternation."""
    return [frame(m, n, **more) for n in range(count) for m in PAIR]
