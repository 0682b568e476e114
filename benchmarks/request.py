"""Measure a complete request in one process and one thread: from two full images without a face box to a decision.

Both images are decoded, the face is detected in both, and gates and network run. This is timed in alternation with the
session of the network alone, and with the same task using OpenCV's cascade. Then each stage is timed on images of four
sizes.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np

from benchmarks.support.measure import Row, in_turns, median, spread
from runtime.bundle.manifest import open_bundle
from runtime.capture.simulated.rig import SyntheticRig
from runtime.core.values import Box, Image, Modality, Pair
from runtime.engines.base import OUTPUTS
from runtime.engines.onnx import import_onnxruntime
from runtime.face.detector import HaarDetector
from runtime.imaging.decode import decode
from runtime.imaging.encoded_image import EncodedImage
from runtime.liveness.encoded_pair import EncodedPair, assess_encoded
from runtime.liveness.open import MODEL_ROLES, default_bundle, open_pipeline
from runtime.liveness.pair_pipeline import Assessment, LivenessPipeline

ROUNDS, STAGE_ROUNDS = 200, 60
MOST_OF_NETWORK = 5.0
LEAST_OF_HAAR = 4.0
QUALITY = 90
MAX_PIXELS = 1 << 24
SIZES = ((640, 480), (1280, 960), (1920, 1440), (3840, 2880))


@dataclass(frozen=True, slots=True)
class Files:
    """A pair as two JPEG files."""

    rgb: bytes
    ir: bytes

    @classmethod
    def of(cls, pair: Pair, size: tuple[int, int]) -> Files:
        """Return the images of ``pair`` as files, enlarged to ``size`` if that is larger."""
        return cls(*(_jpeg(pair.image(modality), size) for modality in ("rgb", "ir")))

    def pair(self) -> Pair:
        """Decode both images at full size."""
        return Pair(decode(self.rgb, "rgb", max_pixels=MAX_PIXELS), decode(self.ir, "ir", max_pixels=MAX_PIXELS))

    def encoded(self) -> EncodedPair:
        """Read both headers."""
        files: dict[Modality, bytes] = {"rgb": self.rgb, "ir": self.ir}
        return EncodedPair({m: EncodedImage.read(data, m, max_pixels=MAX_PIXELS) for m, data in files.items()})


def _jpeg(image: Image, size: tuple[int, int]) -> bytes:
    pixels: Any = image[:, :, ::-1] if image.shape[2] == 3 else image
    if (pixels.shape[1], pixels.shape[0]) != size:
        pixels = cv2.resize(np.ascontiguousarray(pixels), size, interpolation=cv2.INTER_CUBIC)
    good, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    assert good
    return data.tobytes()


def bare_session(threads: int = 1) -> Callable[[], object]:
    """Return a function that runs the network alone: a session of the served model on one pair of noise."""
    ort = import_onnxruntime()
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    bundle = open_bundle(default_bundle())
    session = ort.InferenceSession(bundle.read(MODEL_ROLES["int8"]), options, providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    feed = {e.name: rng.integers(0, 256, (1, *e.shape)).astype(e.dtype) for e in bundle.manifest.inputs}
    return lambda: session.run(OUTPUTS, feed)


def whole(pipeline: LivenessPipeline, files: Files, boxes: Mapping[Modality, Box] | None = None) -> Assessment:
    """Decode the images at the size needed, and assess the pair."""
    return assess_encoded(pipeline, files.encoded(), boxes)[0]


def run() -> list[Row]:
    """Measure the ratios at 640×480, then the time of each stage by size."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        return measured()
    finally:
        cv2.setNumThreads(threads)


def measured() -> list[Row]:
    """Return the rows of `run`, with OpenCV on one thread."""
    pair = SyntheticRig(seed=107, subject=9000).next().pair
    pipeline = open_pipeline(default_bundle(), profile="throughput").pipeline
    cascade = replace(pipeline, detector=HaarDetector())
    files = Files.of(pair, SIZES[0])
    if whole(pipeline, files).detected_in is None:
        raise RuntimeError("no face was found in the picture that is to be timed.")
    times = in_turns(
        {
            "network": bare_session(),
            "request": lambda: whole(pipeline, files),
            "cascade": lambda: whole(cascade, files),
        },
        ROUNDS,
    )
    network, request = median(times["network"]), median(times["request"])
    over, ahead = request / network, median(times["cascade"]) / request
    rows = [
        Row("session.run INT8 alone, one thread", spread(times["network"])),
        Row(
            "whole request, 640×480, one thread",
            spread(times["request"]),
            note="decode, detect in both, gates, network",
        ),
        Row(
            "whole request over session.run",
            f"{over:.2f} ×",
            f"≤ {MOST_OF_NETWORK:g} ×",
            over <= MOST_OF_NETWORK,
        ),
        Row("the same with OpenCV's cascade", spread(times["cascade"])),
        Row(
            "whole request against the same with the cascade",
            f"{ahead:.2f} × faster",
            f"≥ {LEAST_OF_HAAR:g} ×",
            ahead >= LEAST_OF_HAAR,
        ),
    ]
    return rows + [row for size in SIZES for row in size_rows(pipeline, cascade, Files.of(pair, size), size)]


def size_rows(pipeline: LivenessPipeline, cascade: LivenessPipeline, files: Files, size: tuple[int, int]) -> list[Row]:
    """Measure the pairs per second on one core for each detector, and the time of each stage."""
    boxes = whole(pipeline, files).boxes
    stages: dict[str, list[float]] = {}

    def judged() -> None:
        for name, value in whole(pipeline, files).timing_ms.items():
            stages.setdefault(name, []).append(value)

    times = in_turns(
        {
            "whole": judged,
            "decoded whole": lambda: pipeline.assess(files.pair()),
            "boxes": lambda: whole(pipeline, files, boxes),
            "cascade": lambda: whole(cascade, files),
        },
        STAGE_ROUNDS,
    )
    laps = {name: statistics.median(values) for name, values in stages.items()}
    spent = ", ".join(f"{name} {value:.2f}" for name, value in laps.items())
    kilobytes = f"{len(files.rgb) / 1000:.0f} and {len(files.ir) / 1000:.0f} KB"
    notes = {
        "whole": ("YuNet", f"{kilobytes}; ms: {spent}"),
        "decoded whole": ("YuNet, images decoded at full size", ""),
        "boxes": ("boxes given", ""),
        "cascade": ("cascade", ""),
    }
    return [
        Row(f"one core, {size[0]}×{size[1]} JPEG, {words}", per_second(median(times[name])), note=note)
        for name, (words, note) in notes.items()
    ]


def per_second(milliseconds: float) -> str:
    """Return the time for a pair and the resulting throughput as text."""
    return f"{milliseconds:.2f} ms, {1000 / milliseconds:.0f} pairs/s"
