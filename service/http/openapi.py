"""The OpenAPI document: FastAPI's part, plus the plain ASGI routes that FastAPI cannot describe."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import TypeAdapter

from service.http.problem_document import Problem
from service.http.problems import MEDIA_TYPE

SchemaAmendment = Callable[[dict[str, Any]], None]
"""Function that adds a description of a route that FastAPI cannot describe to the OpenAPI document."""

REFERENCE = "#/components/schemas/{model}"

MEANINGS = {
    400: "The request cannot be read",
    401: "An API key is required",
    403: "The key lacks the required role",
    404: "Not found",
    408: "The request did not arrive in time",
    409: "The nonce was used before, or the Idempotency-Key belongs to another request",
    413: "The body or an image is too large",
    415: "The body is neither multipart nor JSON, or a part is not an image",
    422: "A part is missing or unusable, or no face was found",
    429: "Too many requests with this key; see Retry-After",
    500: "Unexpected error",
    503: "The service is starting or busy, has no cameras, or got no score; see Retry-After",
    504: "The cameras delivered no pair in time",
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the ``responses`` entries for errors with these statuses, for a route or for the OpenAPI document."""
    content = {MEDIA_TYPE: {"schema": reference(Problem)}}
    again = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds to wait."}}
    return {
        status: {
            "description": MEANINGS[status],
            "content": content,
            **({"headers": again} if status in (429, 503, 504) else {}),
        }
        for status in statuses
    }


def reference(model: type) -> dict[str, str]:
    """Return a reference to ``model``, which `add_model` puts into the document."""
    return {"$ref": REFERENCE.format(model=model.__name__)}


def add_model(document: dict[str, Any], model: type) -> None:
    """Add the schema of ``model`` and those of its members to ``document``.

    ``model``: a pydantic model or a `TypedDict`.
    """
    schema = TypeAdapter(model).json_schema(ref_template=REFERENCE)
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    schemas |= {**schema.pop("$defs", {}), model.__name__: schema}


def install(app: FastAPI, schema_amendments: Iterable[SchemaAmendment], *, keyed: bool) -> None:
    """Make ``app`` create its OpenAPI document once, on first use. ``keyed``: whether callers need a key."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            made = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
            add_model(made, Problem)
            for amend in schema_amendments:
                amend(made)
            if keyed:
                made["components"]["securitySchemes"] = {
                    "bearer": {"type": "http", "scheme": "bearer"},
                    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
                }
                for operations in made["paths"].values():
                    for operation in operations.values():
                        if "401" in operation["responses"]:
                            operation["security"] = [{"bearer": []}, {"header": []}]
            app.openapi_schema = made
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]  # the way documented by FastAPI
