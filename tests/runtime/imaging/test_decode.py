"""Image files: whole ones decode to their pixels, everything else is a clear error and never a crash."""

from __future__ import annotations

import contextlib
from typing import Any, Literal

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtime.core.errors import AdsnError, ImageTooLarge, NotAnImage, TruncatedImage, WrongChannels
from runtime.imaging.decode import ImageInfo, decode, decode_depth, inspect
from tests.support.images import bomb, encode, ir_file, rgb_file, textured

LIMIT = 16_000_000
SUFFIXES = (".jpg", ".png", ".bmp", ".webp")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_headers(suffix: str) -> None:
    info = inspect(rgb_file(suffix=suffix))
    assert info == ImageInfo(info.format, 640, 480, 3, 8)
    assert info.format == {".jpg": "jpeg"}.get(suffix, suffix[1:])


@pytest.mark.parametrize("suffix", [".png", ".bmp"])
def test_lossless_colour_comes_back_in_rgb_order(suffix: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    assert np.array_equal(decode(encode(pixels[:, :, ::-1], suffix), "rgb", max_pixels=LIMIT), pixels)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp"])
def test_grey(suffix: str) -> None:
    pixels = textured(120, (60, 80))
    found = decode(encode(pixels, suffix), "ir", max_pixels=LIMIT)
    assert found.shape == (60, 80, 1)
    assert np.abs(found[:, :, 0].astype(int) - pixels).max() <= 6


def test_infrared_stored_as_colour_is_its_grey() -> None:
    pixels = textured(120, (60, 80, 3))
    assert np.array_equal(decode(encode(pixels, ".png"), "ir", max_pixels=LIMIT)[:, :, 0], pixels[:, :, 1])


def test_a_colour_picture_is_no_infrared() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    with pytest.raises(WrongChannels, match="swapped"):
        decode(encode(pixels, ".png"), "ir", max_pixels=LIMIT)


def test_progressive_and_restart_marker_jpegs_are_whole() -> None:
    for flags in (
        [cv2.IMWRITE_JPEG_PROGRESSIVE, 1],
        [cv2.IMWRITE_JPEG_RST_INTERVAL, 4],
        [cv2.IMWRITE_JPEG_OPTIMIZE, 1],
    ):
        _, data = cv2.imencode(".jpg", textured(120), flags)
        assert decode(data.tobytes(), "rgb", max_pixels=LIMIT).shape == (480, 640, 3)


def test_exif_orientation_is_ignored() -> None:
    whole = rgb_file()
    # A minimal APP1 segment that says "rotate by 90 degrees".
    tiff = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
    body = b"Exif\0\0" + tiff
    rotated = whole[:2] + b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body + whole[2:]
    turned = cv2.imdecode(np.frombuffer(rotated, np.uint8), cv2.IMREAD_COLOR)
    assert turned is not None
    assert turned.shape == (640, 480, 3), "the tag is one that decoders obey"
    assert decode(rotated, "rgb", max_pixels=LIMIT).shape == (480, 640, 3)


def test_bombs_are_refused_from_their_header() -> None:
    with pytest.raises(ImageTooLarge, match="60000"):
        decode(bomb(), "rgb", max_pixels=LIMIT)
    with pytest.raises(ImageTooLarge):
        decode(rgb_file(), "rgb", max_pixels=640 * 480 - 1)
    assert decode(rgb_file(), "rgb", max_pixels=640 * 480).shape == (480, 640, 3)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_truncation_is_an_error(suffix: str) -> None:
    whole = encode(textured(100, (40, 60, 3)), suffix)
    for length in range(len(whole) - 2):
        with pytest.raises((TruncatedImage, NotAnImage)):
            decode(whole[:length], "rgb", max_pixels=LIMIT)


def test_what_comes_after_the_picture_does_no_harm() -> None:
    # Some cameras pad their files.
    assert decode(rgb_file() + bytes(100), "rgb", max_pixels=LIMIT).shape == (480, 640, 3)


@pytest.mark.parametrize(
    "data", [b"", b"\xff", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF\0\0\0\0WEBP", b"BM", b"GIF89a"]
)
def test_stumps(data: bytes) -> None:
    with pytest.raises((NotAnImage, TruncatedImage)):
        inspect(data)


SEEDS = [encode(textured(100, (24, 32, 3)), s) for s in SUFFIXES] + [encode(textured(100, (24, 32)), ".png")]


@settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_damaged_files_never_crash(data: Any) -> None:
    content = bytearray(data.draw(st.sampled_from(SEEDS)))
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content)))]
    modalities: tuple[Literal["rgb"], Literal["ir"]] = ("rgb", "ir")
    for modality in modalities:
        with contextlib.suppress(AdsnError):
            found = decode(bytes(content), modality, max_pixels=100_000)
            assert found.dtype == np.uint8
            assert found.ndim == 3


@settings(max_examples=200, deadline=None)
@given(st.sampled_from([b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF", b"BM", b""]), st.binary(max_size=200))
def test_noise_never_crashes(start: bytes, rest: bytes) -> None:
    with pytest.raises(AdsnError):
        decode(start + rest, "rgb", max_pixels=100_000)


def test_infrared_and_colour_of_the_fixtures() -> None:
    assert decode(ir_file(), "ir", max_pixels=LIMIT).shape == (480, 640, 1)


def test_depth_is_millimetres_of_a_16_bit_png() -> None:
    stored = np.array([[0, 1, 600], [65535, 40000, 2]], np.uint16)
    found = decode_depth(encode(stored, ".png"), max_pixels=100)
    assert found.shape == (2, 3, 1)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found[:, :, 0], stored)


@pytest.mark.parametrize(
    "data",
    [encode(np.zeros((4, 4), np.uint8), ".png"), encode(np.zeros((4, 4, 3), np.uint16), ".png"), encode(textured(90))],
    ids=["8 bits", "colour", "jpeg"],
)
def test_other_files_are_no_depth(data: bytes) -> None:
    with pytest.raises(WrongChannels, match="depth"):
        decode_depth(data, max_pixels=1 << 24)


def test_depth_of_too_many_pixels_is_not_decoded() -> None:
    with pytest.raises(ImageTooLarge):
        decode_depth(bomb(), max_pixels=1 << 24)
