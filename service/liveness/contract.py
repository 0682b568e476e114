"""The response of ``POST /liveness``, version 1.0: its members, and how to create it from an assessment.

The types are dictionaries, so that a single definition serves the OpenAPI document, mypy and the response itself.
Creating and validating pydantic models would take more time than parsing the request.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, with_config
from typing_extensions import NotRequired, TypedDict

from runtime.core.units import MS
from runtime.core.values import Pair
from runtime.liveness.open import LoadedModel
from runtime.liveness.pair_pipeline import Assessment
from runtime.liveness.quality import rgb_is_dark

CONTRACT_VERSION: Literal["1.0"] = "1.0"
Score = Annotated[float, Field(ge=0, le=1)]
CLOSED = ConfigDict(extra="forbid")
ABSENT = {"default": None}
"""OpenAPI annotation of a member that may be absent."""


@with_config(CLOSED)
class OperatingPointView(TypedDict):
    """The threshold in use, and how it was set."""

    name: Annotated[str, Field(examples=["default"])]
    target: Annotated[
        str,
        Field(description="Error rate that the threshold was set for.", examples=["APCER of the worst species <= 1 %"]),
    ]
    measured_on: Annotated[
        str, Field(description="Data that the threshold was set on.", examples=["3,000 rendered presentations"])
    ]


@with_config(CLOSED)
class ModalityView(TypedDict):
    """Result of one image."""

    score: Annotated[Score | None, Field(description="The same output from this modality alone; null when hidden.")]
    usable: Annotated[
        bool, Field(description="Whether its quality gates passed and, of RGB, the face is bright enough to be seen.")
    ]


@with_config(CLOSED)
class IrView(ModalityView):
    """Result of the infrared image."""

    illuminated: Annotated[bool, Field(description="Whether the infrared illuminator lit the face.")]


@with_config(CLOSED)
class ModalitiesView(TypedDict):
    """Result of each modality on its own; modalities that the model does not take are absent."""

    rgb: NotRequired[Annotated[ModalityView | None, Field(json_schema_extra=ABSENT)]]
    ir: NotRequired[Annotated[IrView | None, Field(json_schema_extra=ABSENT)]]
    depth: NotRequired[Annotated[ModalityView | None, Field(json_schema_extra=ABSENT)]]


@with_config(CLOSED)
class FaceView(TypedDict):
    """The assessed face."""

    bbox: Annotated[
        list[float],
        Field(
            min_length=4,
            max_length=4,
            description="x, y, width and height in pixels of the colour image; for an IR-depth model, of the infrared "
            "image.",
            examples=[[200.0, 120.0, 180.0, 180.0]],
        ),
    ]
    confidence: Annotated[
        float | None, Field(description="The detector's confidence; null if the caller sent the box.")
    ]
    count: Annotated[int, Field(ge=1, description="Number of faces found.")]


@with_config(CLOSED)
class CheckView(TypedDict):
    """One quality gate."""

    name: Annotated[str, Field(examples=["ir.illumination"])]
    value: Annotated[
        float | None, Field(description="Measured value; null if it could not be measured.", examples=[92.1])
    ]
    range: Annotated[
        list[float | None],
        Field(
            min_length=2,
            max_length=2,
            description="Lowest and highest accepted value; null: no limit.",
            examples=[[12, None]],
        ),
    ]
    status: Literal["pass", "fail", "unknown"]


@with_config(CLOSED)
class PairView(TypedDict):
    """Origin and timing of the two images."""

    skew_ms: Annotated[
        float | None, Field(description="Difference of the two timestamps, in milliseconds; null if one is unknown.")
    ]
    age_ms: Annotated[
        float | None,
        Field(description="Age of the older image at scoring, in milliseconds; null if its clock is unknown."),
    ]
    clock: Annotated[
        str,
        Field(
            description="Clock of the timestamps: `caller`, `unix` or `monotonic` for an upload, or the rig's "
            "timestamp source; `none` without timestamps.",
            examples=["kernel_soe"],
        ),
    ]
    epoch: Annotated[int, Field(description="Number of times that the cameras' streams were reopened; 0 for uploads.")]
    source: Literal["upload", "camera"]


@with_config(CLOSED)
class ModelView(TypedDict):
    """The model that scored the pair."""

    name: Annotated[str, Field(examples=["adsn-rgb-ir"])]
    version: Annotated[str, Field(examples=["0.1.0"])]
    sha256: Annotated[str, Field(description="SHA-256 of the model file that ran.")]
    precision: Literal["fp32", "int8"]
    backend: Annotated[str, Field(examples=["onnx-cpu"])]
    degraded: Annotated[bool, Field(description="Whether a fallback runs instead of the configured engine.")]


@with_config(CLOSED)
class LivenessResponse(TypedDict):
    """The result for one pair. ``spoof`` and ``uncertain`` are results, not errors; only ``live`` may open anything."""

    contract_version: Literal["1.0"]
    request_id: Annotated[str, Field(description="The request's id, also in the X-Request-ID header and in the log.")]
    session_id: Annotated[str | None, Field(description="The caller's own id, returned unchanged.")]
    decision: Literal["live", "spoof", "uncertain"]
    score: Annotated[
        Score | None, Field(description="Network output, 0 to 1; higher means more like bona fide; null when hidden.")
    ]
    threshold: Annotated[float | None, Field(description="Scores at or above it can be live; null when hidden.")]
    operating_point: OperatingPointView
    reasons: Annotated[
        list[str],
        Field(description="Stable reason codes, see docs/decisions.md; empty when live.", examples=[["ir_unlit"]]),
    ]
    modalities: ModalitiesView
    face: FaceView
    quality: list[CheckView]
    pair: PairView
    model: ModelView
    timing_ms: Annotated[
        dict[str, float],
        Field(
            description="Stage → milliseconds. Stages may overlap; `total` is the elapsed time.",
            examples=[{"inference": 3.8, "total": 8.4}],
        ),
    ]
    captured_at: Annotated[str, Field(description="Capture time of the pair, UTC; if unknown, its arrival time.")]
    attestation: NotRequired[
        Annotated[
            str | None,
            Field(
                json_schema_extra=ABSENT,
                description="Signed summary of this response (compact JWS, EdDSA), if a signing key is configured.",
            ),
        ]
    ]
    explain: NotRequired[
        Annotated[
            dict[str, str] | None,
            Field(
                json_schema_extra=ABSENT,
                description="With ?explain=true: modality → the network's attention over the crop, as base64 PNG.",
            ),
        ]
    ]


@dataclass(frozen=True, slots=True)
class ResponseContext:
    """Values needed for the response in addition to the assessment.

    ``received_ns``: time.time_ns when the request arrived. ``age_ns``: age of the pair.
    """

    request_id: str
    session_id: str | None
    expose_score: bool
    received_ns: int
    age_ns: int | None = None
    clock: str = "none"


UNLIT = {"ir_unlit", "ir_flat", "strobe_lost"}


def liveness_answer(
    assessment: Assessment, loaded: LoadedModel, pair: Pair, response_context: ResponseContext
) -> LivenessResponse:
    """Return the body of a response with status 200. Its ``timing_ms`` is empty; the caller fills it in."""

    def shown(value: float) -> float | None:
        return round(value, 6) if response_context.expose_score else None

    point = loaded.pipeline.point
    info = loaded.pipeline.engine.info
    box = assessment.face.box
    return {
        "contract_version": CONTRACT_VERSION,
        "request_id": response_context.request_id,
        "session_id": response_context.session_id,
        "decision": assessment.decision,
        "score": shown(assessment.score),
        "threshold": shown(point.threshold),
        "operating_point": {"name": point.name, "target": point.target, "measured_on": point.measured_on},
        "reasons": list(assessment.reasons),
        "modalities": modality_views(assessment, shown),
        "face": {
            "bbox": [round(v, 2) for v in (box.x, box.y, box.w, box.h)],
            "confidence": assessment.face.confidence,
            "count": assessment.face.count,
        },
        "quality": [
            {
                "name": c.name,
                "value": None if c.value is None else round(c.value, 4),
                "range": [c.low, c.high],
                "status": c.status,
            }
            for c in assessment.checks
        ],
        "pair": {
            "skew_ms": None if pair.skew_ns is None else pair.skew_ns / MS,
            "age_ms": None if response_context.age_ns is None else round(response_context.age_ns / MS, 3),
            "clock": response_context.clock,
            "epoch": pair.generation,
            "source": pair.source,
        },
        "model": {
            "name": loaded.manifest.name,
            "version": loaded.manifest.version,
            "sha256": loaded.model_sha256,
            "precision": info.precision,
            "backend": info.backend,
            "degraded": info.degraded,
        },
        "timing_ms": {},
        "captured_at": _utc(response_context.received_ns - (response_context.age_ns or 0)),
    }


def modality_views(assessment: Assessment, shown: Callable[[float], float | None]) -> ModalitiesView:
    """Return the score of each modality and whether its image is usable.

    ``shown``: function that returns the value to report for a score, or None if scores are hidden.
    """
    failed = {check.reason for check in assessment.checks if check.status == "fail"} | set(assessment.reasons)
    views: ModalitiesView = {}
    for name, score in zip(assessment.modalities, assessment.stream_scores, strict=True):
        gates = {reason for reason in failed if reason.startswith(f"{name}_") and not reason.endswith("_spoof")}
        if name == "ir":
            views["ir"] = {"score": shown(score), "usable": not gates, "illuminated": not failed & UNLIT}
        else:
            dark = name == "rgb" and rgb_is_dark(assessment.checks)
            views[name] = {"score": shown(score), "usable": not gates and not dark}
    return views


def _utc(unix_ns: int) -> str:
    seconds, rest = divmod(unix_ns, 1_000_000_000)
    text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{text}.{rest // MS:03}Z"
