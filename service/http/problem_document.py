"""Models of problem documents, for the OpenAPI document."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class CameraView(BaseModel):
    """How a camera is, in a problem."""

    modality: Literal["rgb", "ir", "depth"]
    state: Literal["opening", "running", "stalled", "lost", "closed"]
    error: str = Field(default="", description="Code of its last error.")


class Problem(BaseModel):
    """RFC 9457 problem document."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "examples": [
                {
                    "type": "urn:adsn:problem:missing_part",
                    "title": "A part is missing",
                    "status": 422,
                    "detail": "the part 'ir' is missing or empty; send both rgb and ir.",
                    "instance": "/liveness",
                    "code": "missing_part",
                    "retryable": False,
                    "help": "/docs#missing_part",
                    "request_id": "0f3c9b1e5a7d2c4b6e8f0a1b",
                }
            ]
        },
    )
    type: str
    title: str
    status: int
    detail: str = Field(description="What happened and what to do next, for people.")
    instance: str
    code: str = Field(description="Stable, for programs; see docs/errors.md.")
    retryable: bool = Field(description="Whether the same request may succeed later.")
    help: str = Field(description="Where in the service's own pages it is explained.")
    request_id: str
    decision: Literal["uncertain"] | None = Field(default=None, description="For callers that read nothing else.")
    reasons: list[str] | None = None
    cameras: list[CameraView] | None = Field(default=None, description="Of a problem with cameras.")
    advice: str | None = Field(default=None, description="Why cameras give no pairs.")
