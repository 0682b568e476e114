"""Parse requests: strict multipart, in memory only.

Unlike in web frameworks, large uploads are never spooled to temporary files, because images of faces would end up on
the disk.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header
from starlette.datastructures import Headers

from runtime.core.user_text import closest_name, without_mark
from runtime.core.values import MODALITIES, Modality
from service.http.problems import RequestError

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

Model = TypeVar("Model", bound=BaseModel)
MAX_META_BYTES = 4096
MAX_JSON_BYTES = 16384
MAX_PART_HEADERS = 8
PICTURES_IN_JSON = re.compile(rb'"(?:rgb|ir|depth|images?|pictures?)"\s*:')

BoxNumbers = Annotated[list[float], Field(min_length=4, max_length=4)]
Nanoseconds = Annotated[int, Field(ge=0, lt=1 << 63)]
Clock = Literal["caller", "unix", "monotonic"]
"""Clock of the times: the caller's own, UTC since 1970, or CLOCK_MONOTONIC of the machine that runs the service."""


class RequestContext(BaseModel):
    """Members of every scoring request."""

    model_config = ConfigDict(extra="forbid", strict=True)

    session_id: str | None = Field(default=None, max_length=128, description="The caller's own id; returned unchanged.")
    nonce: str | None = Field(
        default=None,
        min_length=8,
        max_length=128,
        pattern=r"^[A-Za-z0-9._~+/=-]+$",
        description="Random text, new for every request; a second request with it is refused with 409. The attestation "
        "repeats it, which proves that it belongs to this request.",
    )


class Meta(RequestContext):
    """The optional ``meta`` part: JSON.

    Boxes are x, y, width and height in pixels of the image as stored; EXIF orientation is ignored.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "face_box": [200, 120, 180, 180],
                    "rgb_timestamp_ns": 1767225600000000000,
                    "ir_timestamp_ns": 1767225600004000000,
                    "clock": "unix",
                    "session_id": "door-7",
                    "nonce": "5f1c9a7e0b3d",
                }
            ]
        }
    )

    face_box: BoxNumbers | None = Field(
        default=None, description="Face in the colour image; for an IR-depth model, in the infrared image."
    )
    ir_face_box: BoxNumbers | None = Field(
        default=None, description="Face in the infrared image, if its box differs from face_box."
    )
    depth_face_box: BoxNumbers | None = Field(default=None, description="Face in the depth image.")
    rgb_timestamp_ns: Nanoseconds | None = Field(default=None, description="Mid-exposure of the colour image.")
    ir_timestamp_ns: Nanoseconds | None = Field(
        default=None, description="Mid-exposure of the infrared image, on the same clock."
    )
    depth_timestamp_ns: Nanoseconds | None = Field(
        default=None, description="Mid-exposure of the depth image, on the same clock."
    )
    clock: Clock = Field(
        default="caller",
        description="Clock of the timestamps. `caller`: any clock; only their difference is checked. `unix`: UTC since "
        "1970. `monotonic`: CLOCK_MONOTONIC of the service's machine. With the last two, a pair that is too old or "
        "from the future is `uncertain` with `pair_stale`.",
    )

    def time_ns(self, modality: Modality) -> int | None:
        """Return the mid-exposure time of an image, if given."""
        found: int | None = getattr(self, f"{modality}_timestamp_ns")
        return found


class CameraRequest(RequestContext):
    """``application/json``: check the attached rig's next pair."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"source": "camera", "timeout_ms": 1500}]})

    source: Literal["camera"]
    timeout_ms: int = Field(default=1500, ge=1, le=30_000, description="Time to wait for a pair, in milliseconds.")


def malformed_request(message: str) -> RequestError:
    return RequestError(400, "malformed_request", message)


def media_type(content_type: str) -> Literal["multipart", "json"]:
    """Return which of the two accepted media types a request has.

    Raises:
        RequestError: 415, the request has neither.
    """
    kind, options = parse_options_header(content_type)
    if kind == b"multipart/form-data" and options.get(b"boundary"):
        return "multipart"
    if kind == b"application/json":
        return "json"
    raise RequestError(
        415,
        "unsupported_media",
        "send multipart/form-data with a boundary and an image for each modality, or application/json to check the "
        "attached cameras' next pair.",
    )


def require_plain(headers: Headers) -> None:
    """Refuse a compressed body, because a small one can expand to a huge one.

    Raises:
        RequestError: 415, the body is compressed.
    """
    for value in headers.getlist("content-encoding"):
        if value.strip().lower() not in ("", "identity"):
            raise RequestError(415, "unsupported_media", "the body is compressed. Send it without Content-Encoding.")


def _delimited(body: bytes, boundary: bytes) -> bytes:
    """Return a multipart body in the form that the parser accepts.

    The preamble is removed, and so is the white space that RFC 2046 (section 5.1.1) allows after boundaries.
    """
    line = b"--" + boundary
    if not body.startswith(line):
        first = body.find(b"\r\n" + line)
        if first < 0:
            return body
        body = body[first + 2 :]
    if line + b" " in body or line + b"\t" in body or line + b"-- " in body or line + b"--\t" in body:
        body = re.sub(rb"((?:\A|\r\n)" + re.escape(line) + rb"(?:--)?)[ \t]+(?=\r\n|\Z)", rb"\1", body)
    return body


def split_multipart(
    body: bytes, content_type: str, modalities: Sequence[Modality] = ("rgb", "ir"), part_bytes: int = 1 << 30
) -> dict[str, bytes]:
    """Return the parts of a multipart body by name: one image for each of ``modalities``, and ``meta`` if given.

    Raises:
        RequestError: 400, the body cannot be parsed; 413, a part is larger than ``part_bytes``; 422, a part is missing,
            unknown or repeated.
    """
    _, options = parse_options_header(content_type)
    collector = _PartCollector((*modalities, "meta"), part_bytes)
    try:
        parser = MultipartParser(options[b"boundary"], collector.callbacks)
        parser.write(_delimited(body, options[b"boundary"]))
        parser.finalize()
    except FormParserError as error:
        raise malformed_request("the multipart body is malformed.") from error
    if not collector.finished:
        raise malformed_request("the multipart body ends early: its closing boundary is missing.")
    parts = collector.parts
    for name in modalities:
        if not parts.get(name):
            wanted = " and ".join(modalities)
            raise RequestError(422, "missing_part", f"the part {name!r} is missing or empty; send both {wanted}.")
    return parts


class _PartCollector:
    """Collector of the parts of a multipart body, as the parser reports them. ``known``: allowed names of parts."""

    def __init__(self, known: Sequence[str], part_bytes: int) -> None:
        self.parts: dict[str, bytes] = {}
        self.finished = False
        self._known, self._part_bytes = known, part_bytes
        self._field = self._value = self._disposition = b""
        self._headers = 0
        self._chunks: list[bytes] = []

    @property
    def callbacks(self) -> MultipartCallbacks:
        return {
            "on_part_begin": self._begin,
            "on_part_data": self._data,
            "on_part_end": self._end_part,
            "on_header_field": self._header_field,
            "on_header_value": self._header_value,
            "on_header_end": self._end_header,
            "on_end": self._end,
        }

    def _begin(self) -> None:
        self._disposition, self._headers = b"", 0
        self._chunks.clear()

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        self._headers += 1
        if self._headers > MAX_PART_HEADERS:
            raise malformed_request("a part has too many headers.")
        if self._field.lower() == b"content-disposition":
            self._disposition = self._value
        self._field = self._value = b""

    def _data(self, data: bytes, start: int, end: int) -> None:
        self._chunks.append(data[start:end])

    def _end_part(self) -> None:
        name = parse_options_header(self._disposition)[1].get(b"name", b"").decode("utf-8", "replace")
        if name not in self._known:
            unused = "this model takes no" if name in MODALITIES else "unknown part"
            raise RequestError(422, "unknown_part", f"{unused} {name[:40]!r}; it takes {', '.join(self._known)}.")
        if name in self.parts:
            raise RequestError(422, "unknown_part", f"the part {name!r} was sent twice.")
        self.parts[name] = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        if len(self.parts[name]) > self._part_bytes:
            raise RequestError(413, "body_too_large", f"the part {name!r} is larger than {self._part_bytes} bytes.")

    def _end(self) -> None:
        self.finished = True


def read_meta(data: bytes | None) -> Meta:
    """Parse the ``meta`` part. For None return an empty one.

    Raises:
        RequestError: 400. The message names the first invalid entry.
    """
    return _read(Meta, data, "meta", MAX_META_BYTES) if data else Meta()


def read_camera_request(data: bytes) -> CameraRequest:
    """Parse the body of a request to score the rig's next pair.

    Raises:
        RequestError: 400. The message names the first invalid entry.
    """
    # If the caller sends images as JSON, the error says how to upload them, not that the body is too long.
    if len(data) > MAX_JSON_BYTES or PICTURES_IN_JSON.search(data):
        raise malformed_request(
            "a JSON body cannot contain images. It requests the attached cameras' next pair, in at most "
            f"{MAX_JSON_BYTES} bytes. "
            "To upload a pair, send multipart/form-data with a part for each image; see /docs."
        )
    return _read(CameraRequest, data, "the body", MAX_JSON_BYTES)


def _read(model: type[Model], data: bytes, what: str, limit: int) -> Model:
    if len(data) > limit:
        raise malformed_request(f"{what} is larger than {limit} bytes.")
    try:
        return model.model_validate_json(without_mark(data))
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        key = ".".join(map(str, first["loc"]))
        told = first["msg"]
        if first["type"] == "extra_forbidden":
            names = list(model.model_fields)
            # Truncated, because the key in the caller's JSON may be as long as the whole body.
            key = key[:40]
            told = f"unknown key; {closest_name(key, names) or 'the keys are ' + ', '.join(names) + '.'}"
        raise malformed_request(f"{what}: {key or 'the JSON'}: {told}") from error
