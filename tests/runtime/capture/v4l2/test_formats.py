"""Images from the bytes of drivers: every format, padding, bit depths, and invalid bytes."""

from __future__ import annotations

import logging
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from runtime.capture.pixels import WATCHED
from runtime.capture.v4l2.formats import FORMATS, Decoder
from runtime.core.errors import CameraData
from runtime.core.values import Modality

WIDTH, HEIGHT = 8, 6


def flat(data: NDArray[Any], padding: int = 0) -> NDArray[np.uint8]:
    """Return the bytes of an array as a driver lays them out: each row is followed by ``padding`` bytes of 0xEE."""
    rows = np.ascontiguousarray(data).view(np.uint8).reshape(data.shape[0], -1)
    return np.pad(rows, ((0, 0), (0, padding)), constant_values=0xEE).reshape(-1)


def decoder(name: str, modality: Modality, padding: int = 0, **more: Any) -> Decoder:
    stride = WIDTH * FORMATS[name].bytes + padding
    return Decoder(FORMATS[name], WIDTH, HEIGHT, stride, modality, name="/dev/video0", **more)


COLOUR = np.empty((HEIGHT, WIDTH, 3), np.uint8)
COLOUR[:] = (200, 60, 30)


def packed(name: str) -> NDArray[np.uint8]:
    if name == "RGB3":
        return COLOUR
    if name == "BGR3":
        return COLOUR[..., ::-1]
    # BT.601 in the video range, written out so that the test does not compare the library with itself.
    r, g, b = (float(v) for v in COLOUR[0, 0])
    y = 16 + (65.481 * r + 128.553 * g + 24.966 * b) / 255
    u = 128 + (-37.797 * r - 74.203 * g + 112 * b) / 255
    v = 128 + (112 * r - 93.786 * g - 18.214 * b) / 255
    if name == "NV12":
        planes = np.empty((HEIGHT * 3 // 2, WIDTH), np.uint8)
        planes[:HEIGHT], planes[HEIGHT:, ::2], planes[HEIGHT:, 1::2] = round(y), round(u), round(v)
        return planes
    both = np.empty((HEIGHT, WIDTH // 2, 4), np.uint8)
    both[:] = np.round((y, u, y, v) if name == "YUYV" else (u, y, v, y))
    return both.reshape(HEIGHT, -1)


@pytest.mark.parametrize("padding", [0, 24])
@pytest.mark.parametrize("name", ["YUYV", "UYVY", "NV12", "RGB3", "BGR3"])
def test_colour(name: str, padding: int) -> None:
    data = flat(packed(name), padding)
    picture = decoder(name, "rgb", padding).decode(data)
    assert picture.shape == (HEIGHT, WIDTH, 3)
    assert picture.dtype == np.uint8
    np.testing.assert_allclose(picture, COLOUR, atol=3)
    assert not np.shares_memory(picture, data)
    grey = decoder(name, "ir", padding).decode(data)
    assert grey.shape == (HEIGHT, WIDTH, 1)
    assert grey.dtype == np.uint8
    assert np.ptp(grey) == 0
    assert not np.shares_memory(grey, data)


@pytest.mark.parametrize("padding", [0, 16])
def test_grey(padding: int) -> None:
    pixels = np.arange(HEIGHT * WIDTH, dtype=np.uint8).reshape(HEIGHT, WIDTH)
    data = flat(pixels, padding)
    picture = decoder("GREY", "ir", padding).decode(data)
    assert np.array_equal(picture[:, :, 0], pixels)
    assert not np.shares_memory(picture, data)


@pytest.mark.parametrize("padding", [0, 16])
@pytest.mark.parametrize(
    ("name", "bits", "value", "grey"),
    [
        ("Y10", None, 1023, 255),
        ("Y10", None, 512, 128),
        ("Y10", None, 3, 0),
        ("Y12", None, 4095, 255),
        ("Y14", None, 8192, 128),
        ("Y16", None, 0x80FF, 128),
        # 10-bit values in 16 bits: the high byte would be 3.
        ("Y16", 10, 1023, 255),
        ("Y16", 12, 2048, 128),
        ("Y16", 8, 200, 200),
    ],
)
def test_infrared_of_more_bits(name: str, bits: int | None, value: int, grey: int, padding: int) -> None:
    data = flat(np.full((HEIGHT, WIDTH), value, "<u2"), padding)
    picture = decoder(name, "ir", padding, bits=bits).decode(data)
    assert picture.shape == (HEIGHT, WIDTH, 1)
    assert picture.dtype == np.uint8
    assert np.unique(picture).tolist() == [grey]


def test_values_beyond_the_declared_bits_are_refused() -> None:
    data = flat(np.full((HEIGHT, WIDTH), 3000, "<u2"))
    with pytest.raises(CameraData, match=r"3000 does not fit the 10 bits .* bits=12"):
        decoder("Y10", "ir").decode(data)


@pytest.mark.parametrize(("value", "bits", "spoken"), [(1000, None, True), (60_000, None, False), (1000, 10, False)])
def test_a_dim_y16_stream_is_spoken_of_once(
    value: int, bits: int | None, spoken: bool, caplog: pytest.LogCaptureFixture
) -> None:
    reader = decoder("Y16", "ir", bits=bits)
    data = flat(np.full((HEIGHT, WIDTH), value, "<u2"))
    with caplog.at_level(logging.WARNING):
        for _ in range(3 * WATCHED):
            reader.decode(data)
    assert [r.message for r in caplog.records if "bits=10 or more" in r.message] == [r.message for r in caplog.records]
    assert len(caplog.records) == spoken


@pytest.mark.parametrize(("unit", "expected"), [(1.0, 1234.0), (0.1, 123.4), (0.25, 308.5)])
def test_depth_is_millimetres(unit: float, expected: float) -> None:
    values = np.full((HEIGHT, WIDTH), 1234, "<u2")
    values[0, 0] = 0
    depth = decoder("Z16", "depth", unit_mm=unit).decode(flat(values))
    assert depth.shape == (HEIGHT, WIDTH, 1)
    assert depth.dtype == np.float32
    assert depth[0, 0, 0] == 0
    assert depth[1, 1, 0] == pytest.approx(expected)


@pytest.mark.parametrize("name", ["GREY", "Y10", "YUYV", "NV12", "BGR3"])
def test_too_few_bytes_are_no_picture(name: str) -> None:
    reader = decoder(name, "ir", padding=8)
    whole = np.zeros(reader.needed, np.uint8)
    # A driver may omit the padding of the last row.
    assert reader.decode(whole).shape == (HEIGHT, WIDTH, 1)
    with pytest.raises(CameraData, match=f"cut off: {reader.needed - 1} bytes"):
        reader.decode(whole[:-1])
    with pytest.raises(CameraData, match="empty"):
        reader.decode(whole[:0])


def jpeg(width: int = 64, height: int = 48) -> bytes:
    noise = np.random.default_rng(1).integers(0, 255, (height, width, 3), np.uint8)
    return cv2.imencode(".jpg", cv2.blur(noise, (9, 9)))[1].tobytes()


def without_tables(data: bytes) -> bytes:
    """Return the JPEG without its Huffman tables, as many USB cameras send it."""
    kept, at = data[:2], 2
    while data[at + 1] != 0xDA:
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        kept += b"" if data[at + 1] == 0xC4 else data[at:end]
        at = end
    return kept + data[at:]


@pytest.mark.parametrize("modality", ["rgb", "ir"])
def test_jpeg(modality: Modality) -> None:
    data = jpeg()
    reader = Decoder(FORMATS["MJPG"], 64, 48, 0, modality)
    picture = reader.decode(np.frombuffer(data, np.uint8))
    assert picture.shape == (48, 64, 3 if modality == "rgb" else 1)
    if modality == "rgb":
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        assert decoded is not None
        assert np.array_equal(picture[..., ::-1], decoded)
    bare = without_tables(data)
    assert len(bare) < len(data)
    assert np.array_equal(picture, reader.decode(np.frombuffer(bare, np.uint8)))


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (jpeg()[:-100], "not a complete JPEG"),
        (jpeg()[:40], "not a complete JPEG"),
        (b"\0" * 100, "not a complete JPEG"),
        (cv2.imencode(".png", np.zeros((48, 64), np.uint8))[1].tobytes(), "a PNG of 64×48"),
        (jpeg(32, 48), "JPEG of 32×48, but the camera agreed to JPEG of 64×48"),
    ],
)
def test_what_is_no_jpeg_of_the_agreed_size(data: bytes, told: str) -> None:
    with pytest.raises(CameraData, match=told):
        Decoder(FORMATS["MJPG"], 64, 48, 0, "rgb").decode(np.frombuffer(data, np.uint8))
