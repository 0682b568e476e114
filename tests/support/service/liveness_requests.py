"""Requests of POST /liveness, and checks of their responses."""

from __future__ import annotations

import json
from typing import Any

import httpx

from tests.support.images import ir_file, rgb_file

BOX = [200.0, 120.0, 200.0, 200.0]


def meta(**entries: Any) -> bytes:
    return json.dumps({"face_box": BOX, **entries}).encode()


def pair(ir_level: int = 180, **entries: Any) -> dict[str, bytes]:
    return {"rgb": rgb_file(), "ir": ir_file(ir_level), "meta": meta(**entries)}


def check_problem(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert body["code"] == code
    assert body["status"] == status
    assert body["request_id"] == response.headers["x-request-id"]
    assert body["type"].endswith(code)
    assert body["title"]
    assert len(body["detail"]) > 10
    assert "score" not in body
    assert body.get("decision") != "live"
    return body


HEAD = "POST /liveness HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\n"
