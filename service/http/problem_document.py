"""Problem documents (RFC 9457): models for the OpenAPI document, and the bodies of responses."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, with_config
from typing_extensions import NotRequired, TypedDict

from runtime.pairing.feed import FeedStatus
from service.http.problem_catalogue import PROBLEMS


@with_config(ConfigDict(extra="ignore"))  # otherwise it would inherit the configuration of `Problem`
class CameraView(TypedDict):
    """Status of one camera."""

    modality: Literal["rgb", "ir", "depth"]
    state: Literal["opening", "running", "stalled", "lost", "closed"]
    error: NotRequired[Annotated[str, Field(json_schema_extra={"default": ""}, description="Code of its last error.")]]


def camera_views(status: FeedStatus) -> list[CameraView]:
    """Return the cameras of a rig as shown in problem documents, ``/readyz`` and ``/info``."""
    return [
        {"modality": camera.modality, "state": camera.state, "error": camera.last_error_code}
        for camera in status.cameras
    ]


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
    detail: str = Field(description="What happened and what to do, for people.")
    instance: str
    code: str = Field(description="Stable code, for programs; see docs/errors.md.")
    retryable: bool = Field(description="Whether the same request may succeed later.")
    help: str = Field(description="Path of the explanation in the service's own pages.")
    request_id: str
    decision: Literal["uncertain"] | None = Field(
        default=None, description="Set for callers that read only the decision."
    )
    reasons: list[str] | None = None
    cameras: list[CameraView] | None = Field(
        default=None, description="Status of the cameras, if they cause the problem."
    )
    advice: str | None = Field(default=None, description="Why the cameras deliver no pairs.")


def problem_body(status: int, code: str, detail: str, request_id: str, path: str = "", **extra: Any) -> dict[str, Any]:
    """Return the body of a problem document. ``extra``: further members."""
    entry = PROBLEMS.get(code, PROBLEMS["error"])
    body = {
        "type": f"urn:adsn:problem:{code}",
        "title": entry.title,
        "status": status,
        "detail": detail,
        "instance": path,
        "code": code,
        "retryable": entry.retryable,
        "help": f"/docs#{code}",
        "request_id": request_id,
        **extra,
    }
    if path.startswith("/v2"):
        # Clients of the Open Inference Protocol expect the error in this member.
        body["error"] = detail
    return body
