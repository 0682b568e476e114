"""Measure the cost of the pipeline in addition to the network: ``python -m benchmarks pipeline``.

A simulated person stands in front of the simulated rig, which delivers a pair of 640×480 images every 33 ms. Two things
are timed in alternation: the whole processing of a tracked pair (tracking, box mapping, crops, gates, network,
decision), and the session of the network alone on the crops of the same pair.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.support.measure import Row, in_turns, median, p99, spread
from runtime.bundle.manifest import open_bundle
from runtime.capture.simulated.rig import FRAME_NS, SyntheticRig
from runtime.core.operating_point import OperatingPoint
from runtime.core.values import Pair
from runtime.engines.base import OUTPUTS
from runtime.engines.onnx import import_onnxruntime
from runtime.face.tracker import TrackRule
from runtime.imaging.crop import crop
from runtime.liveness.evidence import Evidence, EvidenceRule
from runtime.liveness.open import MODEL_ROLES, default_bundle, open_pipeline
from runtime.liveness.stream_pipeline import StreamPipeline
from runtime.pairing.feed import CapturedPair

FRAMES, ROUNDS = 4, 400
LIMIT, TAIL_LIMIT = 1.25, 4.0
NEVER = 10**9


def frames() -> list[Pair]:
    """Return pairs of one moving person. They are few enough to stay in the CPU's caches, like freshly captured
    images."""
    rig = SyntheticRig(seed=107, subject=9000)
    return [replace(rig.next().pair, lit="lit") for _ in range(FRAMES)]


def feeder(stream: StreamPipeline, pairs: list[Pair]) -> Callable[[], Any]:
    """Return a function that assesses the next pair. It goes back and forth through the pairs, so that the face never
    jumps."""
    order = [*range(len(pairs)), *range(len(pairs) - 2, 0, -1)]
    state = {"number": 0}

    def step() -> None:
        number = state["number"] = state["number"] + 1
        now = number * FRAME_NS
        pair = replace(pairs[order[number % len(order)]], rgb_time_ns=now, ir_time_ns=now)
        seen = stream.assess(CapturedPair(number, pair, now), now)
        assert seen.assessment is not None

    return step


def run() -> list[Row]:
    """Measure the ratio of pipeline to network for a tracked face, the cost of detector runs, and the stages."""
    loaded = open_pipeline(default_bundle())
    pairs = frames()
    session = bare(loaded)
    found = loaded.pipeline.assess(pairs[0])
    crops = {m: crop(pairs[0].image(m), found.boxes[m], loaded.pipeline.rule)[None] for m in loaded.pipeline.modalities}
    # Only tracked pairs: the detector runs, on every tenth and sixtieth pair, are counted separately.
    follow = StreamPipeline(loaded.pipeline, track=TrackRule(search_near_every=NEVER, search_whole_every=NEVER))
    usual = StreamPipeline(loaded.pipeline)
    times = in_turns(
        {
            "network": lambda: session.run(OUTPUTS, crops),
            "followed": feeder(follow, pairs),
            "usual": feeder(usual, pairs),
        },
        ROUNDS,
        rest_s=0.002,
    )
    ratio = median(times["followed"]) / median(times["network"])
    tail = p99(times["usual"]) / median(times["usual"])
    mean = statistics.fmean(times["usual"]) / statistics.fmean(times["network"])
    rows = [
        Row("session.run alone, batch 1", spread(times["network"])),
        Row("pipeline, face followed", spread(times["followed"])),
        Row("pipeline over session.run, face followed", f"{ratio:.2f} ×", f"≤ {LIMIT} ×", ratio <= LIMIT),
        Row(
            "pipeline with its searches",
            spread(times["usual"]),
            note=f"a search near by every tenth pair, of all every sixtieth; in the mean {mean:.2f} × session.run",
        ),
        Row("pipeline with its searches, p99 over median", f"{tail:.2f} ×", f"≤ {TAIL_LIMIT:g} ×", tail <= TAIL_LIMIT),
    ]
    return [*rows, *stages(follow, pairs), evidence_row()]


def bare(loaded: Any) -> Any:
    """Return an ONNX Runtime session of the served model, created as in the engine."""
    ort = import_onnxruntime()
    options = ort.SessionOptions()
    options.intra_op_num_threads = loaded.pipeline.engine.info.threads
    options.inter_op_num_threads = 1
    model = open_bundle(default_bundle()).read(MODEL_ROLES["int8"])
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def stages(stream: StreamPipeline, pairs: list[Pair]) -> list[Row]:
    """Return the median time of each stage for a tracked pair."""
    laps: dict[str, list[float]] = {}
    for number in range(10**6, 10**6 + 200):
        now = number * FRAME_NS
        pair = replace(pairs[number % 2], rgb_time_ns=now, ir_time_ns=now)
        for name, value in stream.assess(CapturedPair(number, pair, now), now).timing_ms.items():
            laps.setdefault(name, []).append(value)
    return [Row(f"stage {name}", f"{median(values):.3f} ms median") for name, values in laps.items()]


def evidence_row() -> Row:
    """Measure the time per pair of the sequential decision."""
    from runtime.core.values import Box
    from runtime.liveness.evidence import Observation

    evidence = Evidence(
        OperatingPoint("x", 0.6, 0.3, "", ""), ("rgb", "ir"), EvidenceRule(deadline_ns=10**15, confirm=1e6)
    )
    box = Box(100, 100, 150, 150)
    seen = [Observation(n, n * FRAME_NS, 1, 0.9, (0.9, 0.9), (), box) for n in range(2000)]
    at = iter(seen)
    times = in_turns({"add": lambda: evidence.add(next(at))}, 1900)["add"]
    return Row("evidence, one pair", f"{1000 * float(np.median(times)):.0f} µs median")
