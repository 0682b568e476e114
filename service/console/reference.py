"""API reference page, generated from the OpenAPI document. It is self-contained and loads nothing from other sites.

It includes a form to try ``POST /liveness`` with two files. Pages that load scripts from a content delivery network
stay blank on kiosks and test benches without internet access, and elsewhere they reveal their visitors to that network.
"""

from __future__ import annotations

import json
from html import escape
from string import Template
from typing import Any

from fastapi import FastAPI
from starlette.responses import HTMLResponse, RedirectResponse, Response

from service.console.assets import asset, source_hash
from service.http.problem_catalogue import PROBLEMS

PAGE, STYLE, SCRIPT = Template(asset("reference.html")), asset("reference.css"), asset("reference.js")


CONTENT_SECURITY_POLICY = (
    f"default-src 'none'; style-src {source_hash(STYLE)}; script-src {source_hash(SCRIPT)}; connect-src 'self'; "
    "img-src data:; "
    "form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)


def reference_page(schema: dict[str, Any], keyed: bool) -> str:
    """Return the HTML of the page. ``keyed``: whether callers need an API key, so that the form asks for one."""
    operations = "".join(
        _operation(method, path, operation)
        for path, methods in schema["paths"].items()
        for method, operation in methods.items()
    )
    key = '<label>API key<input name="key" type="password" autocomplete="off"></label>' if keyed else ""
    notice, _, _ = schema["info"]["description"].partition(". ")
    warning = schema["info"]["description"][len(notice) + 2 :]
    errors = "".join(
        f'<tr id="{entry.code}"><th><code>{entry.code}</code></th>'
        f"<td>{' or '.join(map(str, entry.statuses))}</td><td>{escape(entry.title)}.</td>"
        f"<td>{escape(entry.remedy.replace('`', ''))}</td></tr>"
        for entry in PROBLEMS.values()
    )
    answer = _fields(schema["components"]["schemas"], "LivenessResponse")
    return PAGE.substitute(
        version=escape(schema["info"]["version"]),
        notice=escape(notice),
        warning=escape(warning),
        key=key,
        operations=operations,
        answer=answer,
        errors=errors,
        style=STYLE,
        script=SCRIPT,
    )


def _operation(method: str, path: str, operation: dict[str, Any]) -> str:
    rows = "".join(
        f"<tr><th>{escape(status)}</th><td>{escape(response['description'])}</td></tr>"
        for status, response in sorted(operation["responses"].items())
    )
    text = escape(operation.get("description", operation.get("summary", "")).replace("`", ""))
    return (
        f'<div class="card"><p><span class="method">{method.upper()}</span> <code>{escape(path)}</code></p>'
        f"<p>{text}</p>"
        f'<div class="scroll"><table><tbody>{rows}</tbody></table></div></div>'
    )


def _fields(schemas: dict[str, Any], name: str, prefix: str = "") -> str:
    """Return the table rows for the members of a model. Nested members have dotted names."""
    rows = []
    for member, field in schemas[name]["properties"].items():
        inner = field.get("$ref", field.get("items", {}).get("$ref", ""))
        shown = prefix + member + ("[]" if field.get("type") == "array" else "")
        meaning = escape(field.get("description", ""))
        rows.append(f"<tr><td><code>{escape(shown)}</code></td><td>{escape(_type(field))}</td><td>{meaning}</td></tr>")
        if inner:
            rows.append(_fields(schemas, inner.rpartition("/")[2], shown + "."))
    return "".join(rows)


def _type(field: dict[str, Any]) -> str:
    if "enum" in field:
        return " | ".join(field["enum"])
    if "const" in field:
        return json.dumps(field["const"])
    if "anyOf" in field:
        return " or ".join(_type(option) for option in field["anyOf"])
    return str(field.get("type", "object"))


def add_reference_routes(app: FastAPI, *, keyed: bool) -> None:
    """Add the route ``/docs``, and ``/``, which redirects to it."""

    @app.get("/", include_in_schema=False)
    async def root() -> Response:
        return RedirectResponse("/docs")

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        headers = {"Content-Security-Policy": CONTENT_SECURITY_POLICY}
        return HTMLResponse(reference_page(app.openapi(), keyed), headers=headers)
