"""Metadata of USB cameras: bytes that follow the specifications, and bytes that do not."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.capture.v4l2.uvc_metadata import UVCM, UvcMetadata, parse_metadata
from runtime.core.errors import CameraData

NS = 123_456_789_012_345


def block(
    tail: bytes = b"",
    *,
    ns: int = NS,
    sof: int = 77,
    pts: int | None = None,
    scr: tuple[int, int] | None = None,
    flags: int = 0,
) -> bytes:
    """Return a block as the kernel writes it: time and frame number in host order, then a copy of the header."""
    fields = b""
    if pts is not None:
        flags |= 0x04
        fields += struct.pack("<I", pts)
    if scr is not None:
        flags |= 0x08
        fields += struct.pack("<IH", *scr)
    return struct.pack("=QHBB", ns, sof, 2 + len(fields) + len(tail), flags | 0x80) + fields + tail


def record(identifier: int, payload: bytes) -> bytes:
    return struct.pack("<II", identifier, 8 + len(payload)) + payload


def illumination(on: bool) -> bytes:
    return record(6, struct.pack("<II", int(on), 0))


def statistics(exposure_100ns: int, flags: int = 1) -> bytes:
    fields = struct.pack("<IIQQiIIIIIIIQQ", flags, 0, exposure_100ns, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, (30 << 32) | 1)
    return record(3, fields)


def test_formats_are_spelt_as_the_kernel_does() -> None:
    assert struct.pack("<I", UVCM) == b"UVCM"


def test_headers_alone() -> None:
    data = block(pts=0xFFFFFFFE, scr=(5, 0x0F23)) + block(ns=NS + 9, sof=78) + block(flags=0x40)
    assert parse_metadata(data) == UvcMetadata("unknown", None, error=True)
    assert parse_metadata(block(pts=1) + block()) == UvcMetadata("unknown", None, error=False)


@pytest.mark.parametrize("on", [True, False])
@pytest.mark.parametrize("fields", [{}, {"pts": 1}, {"scr": (1, 2)}, {"pts": 1, "scr": (1, 2)}])
def test_illumination_behind_any_standard_fields(on: bool, fields: dict[str, int]) -> None:
    found = parse_metadata(block(illumination(on), **fields))  # type: ignore[arg-type]
    assert found.lit == ("lit" if on else "dark")


def test_the_frames_exposure() -> None:
    found = parse_metadata(block(statistics(83_330) + illumination(True), pts=1, scr=(1, 1)))
    assert found.exposure_ns == 8_333_000
    assert found.lit == "lit"
    assert parse_metadata(block(statistics(83_330, flags=4))).exposure_ns is None
    assert parse_metadata(block(statistics(2**63))).exposure_ns is None


def test_records_spread_over_headers() -> None:
    blob = record(0x80000001, bytes(range(40))) + statistics(50_000) + illumination(False)
    parts = [blob[:50], blob[50:110], blob[110:]]
    found = parse_metadata(b"".join(block(part, pts=9, scr=(k, k)) for k, part in enumerate(parts)))
    assert (found.lit, found.exposure_ns) == ("dark", 5_000_000)


def test_records_repeated_with_padding() -> None:
    tail = illumination(True) + bytes(5)
    found = parse_metadata(block(tail, pts=1) * 3)
    assert found.lit == "lit"


def test_what_contradicts_itself_is_unknown() -> None:
    assert parse_metadata(block(illumination(True)) + block(illumination(False))).lit == "unknown"


def test_a_vendors_own_records_are_no_illumination() -> None:
    assert parse_metadata(block(b"\xff" * 60, pts=1)) == UvcMetadata()
    own = record(0x80000001, bytes([1] * 40))
    assert parse_metadata(block(own, pts=1)) == UvcMetadata()
    assert parse_metadata(block(own + illumination(False), pts=1)).lit == "dark"


def test_nothing_is_nothing() -> None:
    assert parse_metadata(b"") == UvcMetadata()


def test_a_record_too_short_for_its_kind() -> None:
    assert parse_metadata(block(record(6, b"\x01"))).lit == "unknown"
    assert parse_metadata(block(record(3, b"\x01\0\0\0"))).exposure_ns is None


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (block(pts=1)[:-1], "in a buffer of"),
        (block()[:11], "too few for a block"),
        (struct.pack("=QHBB", NS, 1, 1, 0), "header of 1 bytes"),
        (struct.pack("=QHBB", NS, 1, 2, 0x0C), "too short for its fields"),
        (bytes(1 << 21), "no camera sends that much"),
    ],
)
def test_what_is_no_metadata(data: bytes, says: str) -> None:
    with pytest.raises(CameraData, match=says):
        parse_metadata(data)


@given(st.binary(max_size=400))
def test_garbage_is_garbage_at_worst(data: bytes) -> None:
    try:
        found = parse_metadata(data)
    except CameraData:
        return
    # 12 bytes are the least for a block, and a record of either kind needs 12 or 24 more.
    assert found.lit == "unknown" or len(data) >= 24
    assert found.exposure_ns is None or len(data) >= 36


@pytest.mark.parametrize("on", [True, False])
def test_no_cut_turns_a_state_round(on: bool) -> None:
    whole = block(statistics(1000) + illumination(on), pts=1, scr=(2, 3)) + block(pts=1, scr=(3, 4))
    ends = set()
    for cut in range(len(whole) + 1):
        try:
            ends.add(parse_metadata(whole[:cut]).lit)
        except CameraData:
            ends.add("unknown")
    assert ends == {"lit" if on else "dark", "unknown"}
