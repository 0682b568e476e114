"""The answer of ``POST /liveness``, version 1.0: its models, and how an assessment becomes one."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from runtime.assemble import Loaded
from runtime.pipeline import Assessment
from runtime.quality import NANOSECONDS_PER_MS
from runtime.values import Pair
from service.parse import Meta

CONTRACT_VERSION: Literal["1.0"] = "1.0"


class Part(BaseModel):
    """Base: no undeclared members."""

    model_config = ConfigDict(extra="forbid")


class OperatingPointView(Part):
    """Which threshold decided, and how it was set."""

    name: str
    target: str
    measured_on: str


class RgbView(Part):
    """The colour image's share."""

    score: float | None = Field(
        ge=0, le=1, description="Probability of bona fide from this modality alone; null when hidden."
    )
    usable: bool = Field(description="Whether its quality gates passed.")


class IrView(RgbView):
    """The infrared image's share."""

    illuminated: bool = Field(description="Whether the infrared illuminator lit the face.")


class ModalitiesView(Part):
    """Each modality by itself."""

    rgb: RgbView
    ir: IrView


class FaceView(Part):
    """The judged face."""

    bbox: list[float] = Field(min_length=4, max_length=4, description="x, y, width, height in pixels of the RGB image.")
    confidence: float | None = Field(description="The detector's own measure; null when the caller gave the box.")
    count: int = Field(ge=1, description="Faces seen.")


class CheckView(Part):
    """One quality gate."""

    name: str
    value: float | None = Field(description="What was measured; null when nothing could be.")
    range: list[float | None] = Field(min_length=2, max_length=2, description="Accepted low and high end; null: open.")
    status: Literal["pass", "fail", "unknown"] = Field(description="unknown: not measured, which is no pass of it.")


class PairView(Part):
    """Where the two images came from and how far apart they were taken."""

    skew_ms: float | None = Field(description="Difference of the two timestamps; null when the caller gave none.")
    clock: str
    epoch: int
    source: Literal["upload", "camera"]


class ModelView(Part):
    """What judged."""

    name: str
    version: str
    sha256: str
    precision: Literal["fp32", "int8"]
    backend: str
    degraded: bool = Field(description="Less than what was configured is running.")


class LivenessResponse(Part):
    """An answer. A spoof is an answer, and so is ``uncertain``; only ``live`` may open anything."""

    contract_version: Literal["1.0"]
    request_id: str
    session_id: str | None
    decision: Literal["live", "spoof", "uncertain"]
    score: float | None = Field(ge=0, le=1, description="Probability of bona fide; higher is live; null when hidden.")
    threshold: float | None = Field(description="Live at or above it; null when hidden.")
    operating_point: OperatingPointView
    reasons: list[str] = Field(description="Stable codes; empty when live.")
    modalities: ModalitiesView
    face: FaceView
    quality: list[CheckView]
    pair: PairView
    model: ModelView
    timing_ms: dict[str, float]
    captured_at: str = Field(description="When the answer was made, UTC.")


class Problem(BaseModel):
    """RFC 9457 problem document."""

    model_config = ConfigDict(extra="allow")
    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str = Field(description="Stable, for programs.")
    retryable: bool = Field(description="Whether the same request may succeed later.")
    request_id: str


UNLIT = {"ir_unlit", "ir_flat"}


def answer(
    found: Assessment,
    loaded: Loaded,
    pair: Pair,
    meta: Meta,
    *,
    request_id: str,
    expose_score: bool,
    timing_ms: dict[str, float],
) -> dict[str, Any]:
    """The JSON body of a 200, as `LivenessResponse` describes it; a test holds every answer against that model."""

    def shown(value: float) -> float | None:
        return round(value, 6) if expose_score else None

    failed = {check.reason for check in found.checks if check.status == "fail"}
    point = loaded.pipeline.point
    info = loaded.pipeline.engine.info
    box = found.face.box
    return {
        "contract_version": CONTRACT_VERSION,
        "request_id": request_id,
        "session_id": meta.session_id,
        "decision": found.decision,
        "score": shown(found.score),
        "threshold": shown(point.threshold),
        "operating_point": {"name": point.name, "target": point.target, "measured_on": point.measured_on},
        "reasons": list(found.reasons),
        "modalities": {
            "rgb": {
                "score": shown(found.stream_scores[0]),
                "usable": not any(reason.startswith("rgb_") for reason in failed),
            },
            "ir": {
                "score": shown(found.stream_scores[1]),
                "usable": not any(reason.startswith("ir_") for reason in failed),
                "illuminated": not failed & UNLIT,
            },
        },
        "face": {
            "bbox": [round(v, 2) for v in (box.x, box.y, box.w, box.h)],
            "confidence": found.face.confidence,
            "count": found.face.count,
        },
        "quality": [
            {
                "name": c.name,
                "value": None if c.value is None else round(c.value, 4),
                "range": [c.low, c.high],
                "status": c.status,
            }
            for c in found.checks
        ],
        "pair": {
            "skew_ms": None if pair.skew_ns is None else pair.skew_ns / NANOSECONDS_PER_MS,
            "clock": "caller" if pair.skew_ns is not None else "none",
            "epoch": 0,
            "source": "upload",
        },
        "model": {
            "name": loaded.manifest.name,
            "version": loaded.manifest.version,
            "sha256": loaded.model_sha256,
            "precision": info.precision,
            "backend": info.backend,
            "degraded": info.degraded,
        },
        "timing_ms": {name: round(value, 3) for name, value in timing_ms.items()},
        "captured_at": datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
    }
