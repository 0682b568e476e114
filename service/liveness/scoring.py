"""From a request's pictures, or a rig's pair, to an answer. Runs in a worker of `service.liveness.pool`."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

import cv2
from numpy.typing import NDArray

from runtime.core.values import Box, Modality, Pair
from runtime.geometry.box_mapping import Registrar
from runtime.imaging.crop import crop
from runtime.imaging.decode import decode, decode_depth
from runtime.imaging.overlay import overlay
from runtime.liveness.active_light import ActiveLight
from runtime.liveness.open import Loaded
from runtime.liveness.pair_pipeline import Assessment
from service.http.parsing import Meta
from service.liveness.contract import Asked, LivenessResponse, answer
from service.liveness.pool import Helper


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be judged, and how. ``began_ns``: perf_counter_ns of the request's arrival.

    ``max_skew_ms`` and ``registrar``: the pipeline's own where None.
    """

    asked: Asked
    meta: Meta
    max_pixels: int
    max_age_ms: float
    began_ns: int
    explain: bool = False
    max_skew_ms: float | None = None
    registrar: Registrar | None = None


def modalities_of(loaded: Loaded) -> tuple[Modality, ...]:
    """What the model takes."""
    return cast("tuple[Modality, ...]", loaded.manifest.modalities)


def judge_upload(loaded: Loaded, parts: Mapping[str, bytes], order: Order, helper: Helper) -> LivenessResponse:
    """Decode and judge an uploaded pair; returns the answer's body.

    Both pictures are decoded at the same time: OpenCV lets go of the interpreter, so that on two cores a pair takes as
    long as its larger picture.

    Raises:
        InputError: the images or boxes cannot be used. EngineError: there is no score.
    """
    began = time.perf_counter_ns()
    meta, first, second = order.meta, *modalities_of(loaded)
    one, other = helper.both(_decoder(first, parts, order), _decoder(second, parts, order))
    images: dict[str, Any] = {first: one, second: other}
    times: dict[str, Any] = {f"{name}_time_ns": meta.time_ns(name) for name in (first, second)}
    clock = "none" if all(value is None for value in times.values()) else meta.clock
    pair = Pair(**images, **times, clock=clock)
    decoded = time.perf_counter_ns()
    timing = {"queue": (began - order.began_ns) / 1e6, "decode": (decoded - began) / 1e6}
    return _judge(loaded, pair, order, timing, helper)


def judge_captured(loaded: Loaded, pair: Pair, order: Order, helper: Helper) -> LivenessResponse:
    """Judge a pair of the rig; returns the answer's body.

    Raises:
        InputError: no face. EngineError: there is no score.
    """
    timing = {"wait": (time.perf_counter_ns() - order.began_ns) / 1e6}
    return _judge(loaded, pair, order, timing, helper)


def _decoder(modality: Modality, parts: Mapping[str, bytes], order: Order) -> Callable[[], NDArray[Any]]:
    if modality == "depth":
        return partial(decode_depth, parts[modality], max_pixels=order.max_pixels)
    return partial(decode, parts[modality], modality, max_pixels=order.max_pixels)


def _judge(loaded: Loaded, pair: Pair, order: Order, timing: dict[str, float], helper: Helper) -> LivenessResponse:
    now_ns, meta = now_of(pair.clock), order.meta
    given = {"rgb": meta.face_box, "ir": meta.ir_face_box, "depth": meta.depth_face_box}
    if meta.face_box is not None and "rgb" not in loaded.manifest.modalities:
        given["ir"] = meta.face_box
    boxes = [Box(*box) if box is not None else None for box in given.values()]
    pipeline = loaded.pipeline
    limits = replace(
        pipeline.limits,
        max_age_ms=order.max_age_ms,
        max_skew_ms=pipeline.limits.max_skew_ms if order.max_skew_ms is None else order.max_skew_ms,
    )
    pipeline = replace(pipeline, limits=limits, registrar=order.registrar or pipeline.registrar, both=helper.both)
    found = pipeline.assess(pair, *boxes, now_ns=now_ns)
    if pair.source == "camera":
        found = _answering_the_light(found, pair)
    known = [t for t in pair.times_ns if t is not None]
    age_ns = now_ns - min(known) if now_ns is not None and known else None
    body = answer(found, loaded, pair, replace(order.asked, age_ns=age_ns, clock=pair.clock))
    if order.explain:
        began = time.perf_counter_ns()
        body["explain"] = explain(found, loaded, pair)
        timing["explain"] = (time.perf_counter_ns() - began) / 1e6
    timing = {**timing, **found.timing_ms, "total": (time.perf_counter_ns() - order.began_ns) / 1e6}
    body["timing_ms"] = {name: round(value, 3) for name, value in timing.items()}
    return body


def _answering_the_light(found: Assessment, pair: Pair) -> Assessment:
    """``found``, not live where the face does not follow the rig's strobing illuminator: it shines by itself, or is fed
    in."""
    if "ir" not in found.boxes or ActiveLight().judge(pair, found.boxes["ir"]) != "mismatch":
        return found
    decision = "uncertain" if found.decision == "live" else found.decision
    return replace(found, decision=decision, reasons=tuple(dict.fromkeys((*found.reasons, "strobe_lost"))))


def now_of(clock: str) -> int | None:
    """Now, in nanoseconds of the clock that a pair's times come from; None for a clock that only the caller has."""
    if clock in ("caller", "none"):
        return None
    # A rig's clocks are all CLOCK_MONOTONIC.
    return time.time_ns() if clock == "unix" else time.monotonic_ns()


def explain(found: Assessment, loaded: Loaded, pair: Pair) -> dict[str, str]:
    """Modality → attention over the crop that the network saw, as PNG in base64."""
    pictures: dict[str, str] = {}
    for name, maps in zip(found.modalities, found.attention, strict=True):
        painted = overlay(crop(pair.image(name), found.boxes[name], loaded.pipeline.rule), maps)
        _, data = cv2.imencode(".png", cv2.cvtColor(painted, cv2.COLOR_RGB2BGR))
        pictures[name] = base64.b64encode(data.tobytes()).decode()
    return pictures
