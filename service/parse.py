"""A request's parts: strict multipart, in memory only.

Uploads are never spooled to temporary files, as web frameworks do with large ones: a face would lie on the disk.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from runtime.values import Box
from service.problems import RequestError

IMAGES = ("rgb", "ir")
PARTS = (*IMAGES, "meta")
MAX_META_BYTES = 4096

Numbers = Annotated[list[float], Field(min_length=4, max_length=4)]
Nanoseconds = Annotated[int, Field(ge=0, lt=1 << 63)]


class Meta(BaseModel):
    """The optional ``meta`` part: JSON."""

    model_config = ConfigDict(extra="forbid", strict=True)

    face_box: Numbers | None = Field(default=None, description="Face in pixels of the RGB image: x, y, width, height.")
    ir_face_box: Numbers | None = Field(
        default=None, description="Face in pixels of the IR image: x, y, width, height."
    )
    rgb_timestamp_ns: Nanoseconds | None = Field(default=None, description="Mid-exposure of the RGB image.")
    ir_timestamp_ns: Nanoseconds | None = Field(
        default=None, description="Mid-exposure of the IR image, on the same clock."
    )
    session_id: str | None = Field(default=None, max_length=128, description="The caller's own; returned as it is.")

    def boxes(self) -> tuple[Box | None, Box | None]:
        """The two face boxes, where given."""
        rgb, ir = (Box(*box) if box is not None else None for box in (self.face_box, self.ir_face_box))
        return rgb, ir


def malformed(message: str) -> RequestError:
    return RequestError(400, "malformed_request", message)


def split_multipart(body: bytes, content_type: str) -> dict[str, bytes]:
    """The parts of a multipart body by name.

    Raises:
        RequestError: 415 no multipart, 400 not readable, 422 a part missing, unknown or twice.
    """
    kind, options = parse_options_header(content_type)
    if kind != b"multipart/form-data" or not options.get(b"boundary"):
        raise RequestError(
            415, "unsupported_media", "send multipart/form-data with the parts rgb and ir, and meta where wanted."
        )
    parts: dict[str, bytes] = {}
    header: list[bytes] = [b"", b""]
    disposition = b""
    chunks: list[bytes] = []
    finished = False

    def begin() -> None:
        nonlocal disposition
        disposition = b""
        chunks.clear()

    def header_field(data: bytes, start: int, end: int) -> None:
        header[0] += data[start:end]

    def header_value(data: bytes, start: int, end: int) -> None:
        header[1] += data[start:end]

    def header_end() -> None:
        nonlocal disposition
        if header[0].lower() == b"content-disposition":
            disposition = header[1]
        header[:] = [b"", b""]

    def part_data(data: bytes, start: int, end: int) -> None:
        chunks.append(data[start:end])

    def part_end() -> None:
        name = parse_options_header(disposition)[1].get(b"name", b"").decode("utf-8", "replace")
        if name not in PARTS:
            raise RequestError(
                422, "unknown_part", f"there is no part called {name[:40]!r}; there are {', '.join(PARTS)}."
            )
        if name in parts:
            raise RequestError(422, "unknown_part", f"the part {name!r} was sent twice.")
        parts[name] = b"".join(chunks)

    def end() -> None:
        nonlocal finished
        finished = True

    parser = MultipartParser(
        options[b"boundary"],
        {
            "on_part_begin": begin,
            "on_part_data": part_data,
            "on_part_end": part_end,
            "on_header_field": header_field,
            "on_header_value": header_value,
            "on_header_end": header_end,
            "on_end": end,
        },
    )
    try:
        parser.write(body)
        parser.finalize()
    except FormParserError as error:
        raise malformed("the multipart body is not well formed.") from error
    if not finished:
        raise malformed("the multipart body ends early: its closing boundary is missing.")
    for name in IMAGES:
        if not parts.get(name):
            raise RequestError(422, "missing_part", f"the part {name!r} is missing or empty; send both rgb and ir.")
    return parts


def read_meta(data: bytes | None) -> Meta:
    """The ``meta`` part, or an empty one.

    Raises:
        RequestError: 400, naming the first wrong entry.
    """
    if not data:
        return Meta()
    if len(data) > MAX_META_BYTES:
        raise malformed(f"meta is larger than {MAX_META_BYTES} bytes.")
    try:
        return Meta.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        raise malformed(f"meta: {'.'.join(map(str, first['loc'])) or 'the JSON'}: {first['msg']}") from error
