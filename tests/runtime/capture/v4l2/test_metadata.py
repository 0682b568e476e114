"""Illumination from a camera's metadata node, with a fake kernel."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import pytest

from runtime.capture.uri import parse_uri
from runtime.capture.v4l2 import abi
from runtime.capture.v4l2.source import open_v4l2
from runtime.core.errors import (
    CameraUnsupported,
)
from runtime.core.units import MS
from tests.support.fake_v4l2 import GREY, META, FakeControl, FakeFrame, FakeKernel, FakeNode, grey


def hello(records: Sequence[FakeFrame], frames: Sequence[FakeFrame], **more: Any) -> tuple[FakeKernel, FakeNode]:
    meta = FakeNode(card="Test Meta", caps=META, formats={"UVCH": {}, "UVCM": {}}, frames=list(records), **more)
    picture = FakeNode(card="Test IR", formats=GREY, frames=list(frames))
    return FakeKernel({"/dev/video0": picture, "/dev/video1": meta}), meta


def record(lit: bool, exposure_ms: float | None = None) -> bytes:
    """Return a payload header with Microsoft's records for illumination (6) and, if given, exposure (3)."""
    items = struct.pack("<IIII", 6, 16, lit, 0)
    if exposure_ms is not None:
        items += struct.pack("<IIIIQ", 3, 24, 1, 0, round(exposure_ms * 10_000))
    return struct.pack("<QHBB", 0, 0, 2 + len(items), 0x80) + items


def test_metadata_tells_which_frames_were_lit() -> None:
    frames = grey(5)
    # The first image has no record, as on real cameras; the record of the fourth has another timestamp.
    records = [FakeFrame(record(i % 2 == 1), f.at_ns, f.sequence) for i, f in enumerate(frames)][1:]
    records[2].timestamp_ns = 5
    kernel, meta = hello(records, frames)
    source = open_v4l2(parse_uri("v4l2:/dev/video0"), "ir", 0, kernel=kernel)
    starts = [card for card, call in kernel.calls if call == "STREAMON"]
    assert starts == ["Test Meta", "Test IR"], "cameras send nothing to a metadata node started later"
    assert [f.lit for f in (source.read(1) for _ in range(5)) if f] == ["unknown", "lit", "dark", "unknown", "dark"]
    assert len(meta.queued) == 8
    source.close()
    assert not kernel.by_fd
    assert kernel.mapped == 0


def test_damaged_metadata_costs_no_picture() -> None:
    frames = grey(3)
    records = [FakeFrame(record(True), f.at_ns, f.sequence) for f in frames]
    records[0].claims = 9999
    records[1].flags |= abi.FLAG_ERROR
    kernel, _ = hello(records, frames)
    source = open_v4l2(parse_uri("v4l2:/dev/video0"), "ir", 0, kernel=kernel)
    assert [f.lit for f in (source.read(1) for _ in range(3)) if f] == ["unknown", "unknown", "lit"]


def test_metadata_is_taken_where_it_is_and_demanded_where_it_is_named() -> None:
    plain = FakeKernel(
        {"/dev/video0": FakeNode(formats=GREY), "/dev/video1": FakeNode(caps=META, formats={"UVCH": {}})}
    )
    source = open_v4l2(parse_uri("v4l2:/dev/video0"), "ir", 0, kernel=plain)
    source.close()
    with pytest.raises(CameraUnsupported, match=r"delivers no illumination metadata .* it delivers UVCH"):
        open_v4l2(parse_uri("v4l2:/dev/video0?metadata=/dev/video1"), "ir", 0, kernel=plain)
    assert not plain.by_fd
    kernel, _ = hello([], [])
    open_v4l2(parse_uri("v4l2:/dev/video0?metadata=off"), "ir", 0, kernel=kernel)
    open_v4l2(parse_uri("v4l2:/dev/video0"), "rgb", 0, kernel=_colour()).close()
    assert "Test Meta" not in {card for card, call in kernel.calls if call == "STREAMON"}


def _colour() -> FakeKernel:
    return FakeKernel({"/dev/video0": FakeNode()})


def test_the_metadata_of_another_camera_is_not_taken() -> None:
    kernel, meta = hello([], [], bus="usb-0000:00:14.0-9")
    open_v4l2(parse_uri("v4l2:/dev/video0"), "ir", 0, kernel=kernel)
    assert not meta.streaming
    apart = FakeKernel({"/dev/video0": FakeNode(formats=GREY), "/dev/video1": FakeNode(caps=0), "/dev/video2": meta})
    meta.bus = apart.by_path["/dev/video0"].bus
    open_v4l2(parse_uri("v4l2:/dev/video0"), "ir", 0, kernel=apart)
    assert meta.streaming, "other nodes of the same device may lie between"
    both = FakeKernel(
        {
            "/dev/video0": FakeNode(card="Colour"),
            "/dev/video1": FakeNode(card="Infrared", formats=GREY),
            "/dev/video2": FakeNode(card="Infrared meta", caps=META, formats={"UVCM": {}}),
        }
    )
    open_v4l2(parse_uri("v4l2:/dev/video0?metadata=auto"), "rgb", 0, kernel=both)
    assert not both.by_path["/dev/video2"].streaming


def test_an_exposure_that_the_camera_tells_with_the_frame_counts_before_the_control() -> None:
    frames = grey(2)
    records = [FakeFrame(record(True, 8.0), frames[0].at_ns, 0), FakeFrame(b"junk", frames[1].at_ns, 1)]
    kernel, _ = hello(records, frames)
    node = kernel.by_path["/dev/video0"]
    node.controls = {abi.CID_EXPOSURE_ABSOLUTE: FakeControl(100)}
    source = open_v4l2(parse_uri("v4l2:/dev/video0"), "ir", 0, kernel=kernel)
    assert [f.exposure_ns for f in (source.read(1), source.read(1)) if f] == [8 * MS, 10 * MS]
