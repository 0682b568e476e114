"""Requests of the client as bytes. They are created once, so that every attempt sends the same bytes."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypedDict

import httpx

from adsn.client.answers import Modality
from runtime.core.errors import InputError

Image = bytes | str | os.PathLike[str]
"""Bytes of an image file, or its path."""
MAX_KEY_CHARS = 128


class Meta(TypedDict, total=False):
    """Optional metadata of an upload; see docs/api.md. Boxes are x, y, width and height."""

    face_box: Sequence[float]
    ir_face_box: Sequence[float]
    depth_face_box: Sequence[float]
    rgb_timestamp_ns: int
    ir_timestamp_ns: int
    depth_timestamp_ns: int
    clock: Literal["caller", "unix", "monotonic"]
    session_id: str
    nonce: str


@dataclass(frozen=True, slots=True)
class PreparedRequest:
    """One request.

    ``nonce``: whether it has a nonce. ``keyed``: whether it has an idempotency key, so that the service assesses it
    only once. ``session_id``: value that the answer must repeat.
    """

    method: Literal["GET", "POST"]
    path: str
    content: bytes
    headers: Mapping[str, str]
    nonce: bool
    keyed: bool
    session_id: str | None


def new_nonce() -> str:
    """Return a nonce, which is random text that differs for every request."""
    return secrets.token_urlsafe(18)


def new_idempotency_key() -> str:
    """Return an idempotency key for one request."""
    return uuid.uuid4().hex


def get(path: str) -> PreparedRequest:
    """Return a request that changes nothing on the service."""
    return PreparedRequest("GET", path, b"", {}, False, False, None)


def upload(
    images: Mapping[Modality, Image | None], meta: Meta | None, *, explain: bool, idempotency_key: str | None
) -> PreparedRequest:
    """Return the request to assess uploaded images. Image files are read.

    Without ``idempotency_key`` a new key is created, except with ``explain``: the service would then store the images
    of its response with the key.
    """
    parts = {modality: _bytes(modality, image) for modality, image in images.items() if image is not None}
    files: dict[str, Any] = {name: (name, data, "application/octet-stream") for name, data in parts.items()}
    if meta:
        files["meta"] = (None, _json(meta), "application/json")
    # The boundary is derived from the content, because the service compares bodies: equal images must give equal bodies
    # in every process.
    digest = hashlib.sha256()
    for name, entry in files.items():
        digest.update(f"{name} {len(entry[1])}\0".encode())
        digest.update(entry[1])
    content_type = f"multipart/form-data; boundary=adsn-{digest.hexdigest()[:40]}"
    body = httpx.Request("POST", "http://localhost/", files=files, headers={"Content-Type": content_type}).read()
    key = idempotency_key if idempotency_key is not None or explain else new_idempotency_key()
    path = "/liveness?explain=true" if explain else "/liveness"
    given = meta or {}
    return _liveness(path, body, content_type, key, given.get("nonce"), given.get("session_id"))


def capture(timeout_ms: int, session_id: str | None, nonce: str | None, idempotency_key: str | None) -> PreparedRequest:
    """Return the request to assess the next pair from the cameras of the service."""
    entries = {"source": "camera", "timeout_ms": timeout_ms, "session_id": session_id, "nonce": nonce}
    body = _json({name: value for name, value in entries.items() if value is not None})
    key = new_idempotency_key() if idempotency_key is None else idempotency_key
    return _liveness("/liveness", body, "application/json", key, nonce, session_id)


def _liveness(
    path: str, body: bytes, content_type: str, key: str | None, nonce: str | None, session_id: str | None
) -> PreparedRequest:
    headers = {"Content-Type": content_type}
    if key is not None:
        if not (1 <= len(key) <= MAX_KEY_CHARS and key.isascii() and key.isprintable() and " " not in key):
            raise InputError(f"idempotency_key: {key!r}; expected 1 to {MAX_KEY_CHARS} printable ASCII characters.")
        headers["Idempotency-Key"] = key
    return PreparedRequest("POST", path, body, headers, nonce is not None, key is not None, session_id)


def _bytes(modality: Modality, image: Image) -> bytes:
    if isinstance(image, (bytes, bytearray, memoryview)):
        return bytes(image)
    if not isinstance(image, (str, os.PathLike)):
        raise InputError(
            f"{modality}: {type(image).__name__}; expected the path of an image file, or its bytes. The service "
            "takes image files: encode an array first, for example with cv2.imencode."
        )
    try:
        return Path(image).read_bytes()
    except OSError as error:
        raise InputError(f"{modality}: {image} cannot be read: {error.strerror}.") from error


def _json(entries: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(entries, separators=(",", ":"), allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise InputError(f"meta: {error}.") from error
