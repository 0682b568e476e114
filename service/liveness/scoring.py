"""Score the images of a request, or a pair from the rig. Runs in a worker of `service.liveness.pool`."""

from __future__ import annotations

import base64
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import cv2

from runtime.core.values import Box, Modality, Pair
from runtime.geometry.box_mapping import BoxMapper
from runtime.imaging.decode import check_alike, check_memory
from runtime.imaging.encoded_image import EncodedImage
from runtime.imaging.overlay import displayable, overlay
from runtime.liveness.encoded_pair import EncodedPair, assess_encoded
from runtime.liveness.open import LoadedModel
from runtime.liveness.pair_pipeline import Assessment, Stopwatch
from service.http.parsing import Meta
from service.liveness.contract import LivenessResponse, ResponseContext, liveness_answer, modality_views
from service.liveness.pool import HelperThread


@dataclass(frozen=True, slots=True)
class ScoringRequest:
    """Options for scoring one request. ``began_ns``: perf_counter_ns when the request arrived."""

    response_context: ResponseContext
    meta: Meta
    max_pixels: int
    max_bytes: int
    began_ns: int
    explain: bool = False


class AdjustedModel:
    """The model in use, adjusted to the limits of one kind of input and to the geometry of the open cameras.

    The adjusted model is cached until the model or the cameras change. ``max_skew_ms``: limit of the skew; None for the
    default limit of the model.
    """

    def __init__(self, max_age_ms: float, max_skew_ms: float | None = None) -> None:
        self._max_age_ms, self._max_skew_ms = max_age_ms, max_skew_ms
        self._kept: tuple[LoadedModel, BoxMapper | None, LoadedModel] | None = None

    def of(self, loaded: LoadedModel, box_mapper: BoxMapper | None = None) -> LoadedModel:
        """Return a copy of ``loaded`` with the limits, and with ``box_mapper`` if given."""
        kept = self._kept
        if kept is None or kept[0] is not loaded or kept[1] is not box_mapper:
            kept = self._kept = (loaded, box_mapper, self._adjusted(loaded, box_mapper))
        return kept[2]

    def _adjusted(self, loaded: LoadedModel, box_mapper: BoxMapper | None) -> LoadedModel:
        pipeline = loaded.pipeline
        skew = pipeline.limits.max_skew_ms if self._max_skew_ms is None else self._max_skew_ms
        limits = replace(pipeline.limits, max_age_ms=self._max_age_ms, max_skew_ms=skew)
        adjusted = replace(pipeline, limits=limits, box_mapper=box_mapper or pipeline.box_mapper)
        return replace(loaded, pipeline=adjusted)


def modalities_of(loaded: LoadedModel) -> tuple[Modality, ...]:
    """Return the modalities that the model takes."""
    return cast("tuple[Modality, ...]", loaded.manifest.modalities)


def boxes_of(meta: Meta, modalities: Collection[Modality]) -> dict[Modality, Box]:
    """Return the boxes given in a request. If the model takes no RGB image, ``face_box`` refers to the IR image."""
    named: dict[Modality, Sequence[float] | None] = {
        "rgb": meta.face_box,
        "ir": meta.ir_face_box,
        "depth": meta.depth_face_box,
    }
    if meta.face_box is not None and "rgb" not in modalities:
        named["ir"] = meta.face_box
    return {modality: Box(*box) for modality, box in named.items() if box is not None}


def score_upload(
    loaded: LoadedModel, parts: Mapping[str, bytes], request: ScoringRequest, helper: HelperThread
) -> LivenessResponse:
    """Decode and score an uploaded pair, and return the body of the response.

    The two images are decoded in parallel. OpenCV releases the GIL, so on two cores decoding a pair takes only as long
    as decoding the larger image.

    Raises:
        InputError: the images or boxes cannot be used.
        EngineError: there is no score.
    """
    timing, stopwatch = {"queue": (time.perf_counter_ns() - request.began_ns) / 1e6}, Stopwatch()
    meta, (first, second) = request.meta, modalities_of(loaded)
    images = {m: EncodedImage.read(parts[m], m, max_pixels=request.max_pixels) for m in (first, second)}
    check_alike(images[first].info, images[second].info, f"{first} and {second}")
    check_memory({m: (image.data, image.info) for m, image in images.items()}, request.max_bytes)
    times: dict[str, Any] = {f"{name}_time_ns": meta.time_ns(name) for name in (first, second)}
    clock = "none" if all(value is None for value in times.values()) else meta.clock
    files, boxes = EncodedPair(images, {**times, "clock": clock}), boxes_of(meta, images)
    now_ns = now_of(clock)
    assessment, pair = assess_encoded(
        loaded.pipeline, files, boxes, now_ns=now_ns, run_both=helper.run_both, stopwatch=stopwatch
    )
    return _answer(loaded, pair, assessment, request, timing, now_ns)


def score_captured(loaded: LoadedModel, pair: Pair, request: ScoringRequest, helper: HelperThread) -> LivenessResponse:
    """Score a pair from the rig, and return the body of the response.

    Raises:
        InputError: no face was found.
        EngineError: there is no score.
    """
    timing = {"wait": (time.perf_counter_ns() - request.began_ns) / 1e6}
    boxes, now_ns = boxes_of(request.meta, modalities_of(loaded)), now_of(pair.clock)
    assessment = loaded.pipeline.assess(pair, boxes, now_ns=now_ns, run_both=helper.run_both)
    return _answer(loaded, pair, assessment, request, timing, now_ns)


def _answer(
    loaded: LoadedModel,
    pair: Pair,
    assessment: Assessment,
    request: ScoringRequest,
    timing: dict[str, float],
    now_ns: int | None,
) -> LivenessResponse:
    known = [t for t in pair.times_ns if t is not None]
    age_ns = now_ns - min(known) if now_ns is not None and known else None
    body = liveness_answer(assessment, loaded, pair, replace(request.response_context, age_ns=age_ns, clock=pair.clock))
    if request.explain:
        began = time.perf_counter_ns()
        body["explain"] = explain(assessment)
        timing["explain"] = (time.perf_counter_ns() - began) / 1e6
    timing = {**timing, **assessment.timing_ms, "total": (time.perf_counter_ns() - request.began_ns) / 1e6}
    body["timing_ms"] = {name: round(value, 3) for name, value in timing.items()}
    return body


def now_of(clock: str) -> int | None:
    """Return the current time of ``clock`` in nanoseconds, or None for a clock that only the caller can read."""
    if clock in ("caller", "none"):
        return None
    # All timestamps of a rig are CLOCK_MONOTONIC.
    return time.time_ns() if clock == "unix" else time.monotonic_ns()


def explain(assessment: Assessment) -> dict[str, str]:
    """Return modality → crop that the network got, with the attention drawn over it, as base64 PNG.

    The attention for an image that is not usable is meaningless, so its crop is shown without it.
    """
    pictures: dict[str, str] = {}
    views = modality_views(assessment, lambda score: None)
    for name, maps in zip(assessment.modalities, assessment.attention, strict=True):
        seen, view = assessment.crops[name], views[name]
        painted = overlay(seen, maps) if view is not None and view["usable"] else displayable(seen)
        _, data = cv2.imencode(".png", cv2.cvtColor(painted, cv2.COLOR_RGB2BGR))
        pictures[name] = base64.b64encode(data.tobytes()).decode()
    return pictures
