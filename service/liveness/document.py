"""``POST /liveness`` in the OpenAPI document: FastAPI cannot describe a plain ASGI route."""

from __future__ import annotations

from typing import Any

from service.http.openapi import add_model, problems, reference
from service.http.parsing import CameraRequest, Meta
from service.liveness.contract import LivenessResponse
from service.liveness.route import MAX_KEY_CHARS

MEANINGS = {
    "rgb": "Colour: JPEG, PNG, WebP or BMP, 8 bits.",
    "ir": "Infrared: the same, grey or grey stored as colour.",
    "depth": "Depth: 16-bit grey PNG, millimetres, 0 where nothing was measured.",
}
PARAMETERS: list[dict[str, Any]] = [
    {
        "name": "explain",
        "in": "query",
        "required": False,
        "schema": {"type": "boolean", "default": False},
        "description": "Add pictures of where the network looked.",
    },
    {
        "name": "Idempotency-Key",
        "in": "header",
        "required": False,
        "schema": {"type": "string", "minLength": 1, "maxLength": MAX_KEY_CHARS, "pattern": "^[!-~]+$"},
        "description": "The same request with the same key is judged once; its answer is given again.",
    },
]
STATUSES = (400, 401, 403, 408, 409, 413, 415, 422, 429, 500, 503, 504)


def describe(document: dict[str, Any]) -> None:
    """Add the route to an OpenAPI document."""
    for model in (LivenessResponse, Meta, CameraRequest):
        add_model(document, model)
    document["paths"]["/liveness"] = {
        "post": {
            "operationId": "judge",
            "tags": ["liveness"],
            "summary": "Judge a pair of images",
            "description": (
                "Judge one pair: the two pictures that the model takes as multipart/form-data, or as application/json "
                "the attached cameras' next pair. A spoof is a 200, and so is a pair too poor to judge (`uncertain`, "
                "with reasons). Only `live` may open anything."
            ),
            "parameters": PARAMETERS,
            "requestBody": {"required": True, "content": _bodies()},
            "responses": _responses(),
        }
    }


def _bodies() -> dict[str, Any]:
    image = {"type": "string", "format": "binary"}
    properties: dict[str, Any] = {name: {**image, "description": meaning} for name, meaning in MEANINGS.items()}
    properties["meta"] = reference(Meta)
    return {
        "multipart/form-data": {
            "schema": {"type": "object", "properties": properties, "additionalProperties": False},
            "encoding": {"meta": {"contentType": "application/json"}},
        },
        "application/json": {"schema": reference(CameraRequest)},
    }


def _responses() -> dict[str, Any]:
    judged = {
        "description": "Judged",
        "content": {"application/json": {"schema": reference(LivenessResponse)}},
        "headers": {
            "X-Request-ID": {"schema": {"type": "string"}, "description": "As `request_id`."},
            "Idempotent-Replayed": {
                "schema": {"type": "string", "enum": ["true"]},
                "description": "The answer was given before, to the same Idempotency-Key.",
            },
        },
    }
    return {"200": judged, **{str(status): entry for status, entry in problems(*STATUSES).items()}}
