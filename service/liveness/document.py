"""OpenAPI description of ``POST /liveness``, because FastAPI cannot describe a plain ASGI route."""

from __future__ import annotations

from typing import Any

from service.http.openapi import add_model, problems, reference
from service.http.parsing import CameraRequest, Meta
from service.liveness.contract import LivenessResponse
from service.liveness.route import MAX_KEY_CHARS

MEANINGS = {
    "rgb": "Colour image: JPEG, PNG, WebP or BMP, 8 bits.",
    "ir": "Infrared image: JPEG, PNG, WebP or BMP, 8 bits, grey or grey stored as colour.",
    "depth": "Depth image: 16-bit grey PNG in millimetres; 0 means no measurement.",
}
PARAMETERS: list[dict[str, Any]] = [
    {
        "name": "explain",
        "in": "query",
        "required": False,
        "schema": {"type": "boolean", "default": False},
        "description": "Add images of the network's attention.",
    },
    {
        "name": "Idempotency-Key",
        "in": "header",
        "required": False,
        "schema": {"type": "string", "minLength": 1, "maxLength": MAX_KEY_CHARS, "pattern": "^[!-~]+$"},
        "description": "Repeating the same request with the same key returns the first response again.",
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
            "summary": "Check a pair of images",
            "description": (
                "Checks one pair. Send the two images that the model takes as multipart/form-data, or request the "
                "attached cameras' next pair with application/json. `spoof` and `uncertain` (the pair is too poor to "
                "decide, with reasons) are also returned with status 200. Only `live` may open anything."
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
    scored = {
        "description": "The decision, its score and its reasons",
        "content": {"application/json": {"schema": reference(LivenessResponse)}},
        "headers": {
            "X-Request-ID": {"schema": {"type": "string"}, "description": "Same as `request_id`."},
            "Idempotent-Replayed": {
                "schema": {"type": "string", "enum": ["true"]},
                "description": "The response repeats an earlier one with the same Idempotency-Key.",
            },
        },
    }
    return {"200": scored, **{str(status): entry for status, entry in problems(*STATUSES).items()}}
