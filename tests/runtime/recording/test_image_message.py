"""Images as messages: they round-trip bit by bit, and damage raises the documented error."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from runtime.core.errors import (
    CameraData,
)
from runtime.core.values import Modality
from runtime.recording.image_message import decode_image, decode_jpeg, encode_image, encode_jpeg
from runtime.recording.reader import Recording
from tests.support.recordings import frame, record


@given(
    image=st.one_of(
        arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3))),
        arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(1))),
        arrays(
            np.float32,
            st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(1)),
            elements=st.one_of(st.integers(0, 70000), st.floats(0, 9000, width=32)),
        ),
    )
)
@settings(deadline=None)
def test_a_picture_comes_back_to_the_bit(image: np.ndarray[Any, Any]) -> None:
    modality: Modality = "depth" if image.dtype == np.float32 else "rgb" if image.shape[2] == 3 else "ir"
    data = encode_image(image, modality, 12_345_678_901_234)
    back = decode_image(data, modality)
    assert back.dtype == image.dtype
    assert np.array_equal(back, image)
    # As in CDR for any ROS 2 reader, the timestamp follows the four bytes of the encapsulation header.
    assert struct.unpack_from("<iI", data, 4) == (12_345, 678_901_234)


@given(st.data())
@settings(deadline=None)
def test_a_damaged_picture_is_an_error_of_ours(data: st.DataObject) -> None:
    whole = bytearray(encode_image(frame("ir", 0).image[:8, :8], "ir", 5))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, 60))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(whole)))
    for decoder in (decode_image, decode_jpeg):
        try:
            decoder(bytes(whole[:cut]), "ir")
        except CameraData:
            continue


def test_colour_as_jpeg_is_nearly_itself(tmp_path: Path) -> None:
    smooth = np.broadcast_to(np.arange(64, dtype=np.uint8)[None, :, None] * 3, (48, 64, 3)).copy()
    path = record(tmp_path / "r", [replace(frame("rgb", 0), image=smooth), frame("ir", 0)], jpeg=95)
    rgb, ir = list(Recording(path).frames())
    assert int(np.abs(rgb.image.astype(int) - smooth).max()) < 12
    assert np.array_equal(ir.image, frame("ir", 0).image)
    with pytest.raises(CameraData, match="only RGB"):
        decode_jpeg(encode_jpeg(smooth, 1, 90), "ir")
