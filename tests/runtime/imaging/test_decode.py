"""Image files: complete ones are decoded to their pixels, and all others give a clear error and never a crash."""

from __future__ import annotations

import contextlib
import struct
from typing import Any, Literal

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from runtime.core.errors import AdsnError, ImageTooLarge, NotAnImage, TruncatedImage, WrongChannels, WrongShape
from runtime.core.values import Modality
from runtime.imaging.decode import check_alike, check_memory, decode, decode_depth, pixels_of
from runtime.imaging.image_info import ImageInfo, inspect
from tests.support.images import bomb, chunk, encode, ir_file, rgb_file, textured

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


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp"])
def test_colour_is_the_same_whether_opencv_orders_it_or_not(suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Smooth, so that chroma decoding does not matter; red, green and blue differ.
    picture = np.stack([textured(level, (48, 64)) for level in (40, 120, 200)], 2)
    direct = decode(encode(picture, suffix), "rgb", max_pixels=LIMIT)
    assert direct[:, :, 0].mean() > direct[:, :, 1].mean() > direct[:, :, 2].mean()
    monkeypatch.setattr("runtime.imaging.decode.DECODES_TO_RGB", None)
    assert np.array_equal(direct, decode(encode(picture, suffix), "rgb", max_pixels=LIMIT))


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
    assert pixels_of(rotated, "rgb", inspect(rotated), 4).shape == (120, 160, 3)


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
    stored = np.zeros((20, 30), np.uint16)
    stored[:2, :3] = [[0, 1, 600], [65535, 40000, 2]]
    found = decode_depth(encode(stored, ".png"), max_pixels=600)
    assert found.shape == (20, 30, 1)
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


@pytest.mark.parametrize(
    ("width", "height", "good"),
    [
        (640, 480, True),
        (480, 640, True),
        (16, 16, True),
        (64, 16, True),
        (3840, 1080, True),
        (15, 15, False),
        (65, 16, False),
        (4, 20_000, False),
        (65_000, 2, False),
        (1, 1, False),
    ],
)
def test_shapes_of_cameras_and_no_others(width: int, height: int, good: bool) -> None:
    pictures: dict[Literal["rgb", "ir"], Any] = {
        "ir": np.full((height, width), 90, np.uint8),
        "rgb": np.full((height, width, 3), 90, np.uint8),
    }
    for modality, pixels in pictures.items():
        data = encode(pixels, ".png")
        if good:
            assert decode(data, modality, max_pixels=LIMIT).shape[:2] == (height, width)
        else:
            with pytest.raises(WrongShape, match=f"{modality}: .*{width}×{height} .* 16 pixels.* 4 times"):
                decode(data, modality, max_pixels=LIMIT)
    depth = encode(np.full((height, width), 600, np.uint16), ".png")
    if good:
        assert decode_depth(depth, max_pixels=LIMIT).shape == (height, width, 1)
    else:
        with pytest.raises(WrongShape, match="depth"):
            decode_depth(depth, max_pixels=LIMIT)


def shaped(width: int, height: int, channels: int = 3, coefficients: int = 0) -> ImageInfo:
    return ImageInfo("jpeg", width, height, channels, 8, coefficients)


def test_two_pictures_that_no_rig_takes_together() -> None:
    check_alike(shaped(640, 480), shaped(480, 640), "rgb and ir")
    check_alike(shaped(1920, 1080), shaped(1080, 1920), "rgb and ir")
    check_alike(shaped(640, 480), shaped(64, 48), "rgb and ir")
    for wide, tall in ((shaped(2000, 800), shaped(800, 2000)), (shaped(800, 2000), shaped(2000, 800))):
        with pytest.raises(WrongShape, match=r"rgb and ir: .*not of one rig.*factor of 4"):
            check_alike(wide, tall, "rgb and ir")


def test_memory_is_reckoned_before_anything_is_decoded() -> None:
    colour, infrared = shaped(3840, 2160), shaped(1280, 800, 1)
    limit = 56 << 20
    check_memory({"rgb": (bytes(2_000_000), colour), "ir": (bytes(500_000), infrared)}, limit)
    too_much: list[dict[Modality, tuple[bytes, ImageInfo]]] = [
        {"rgb": (b"", shaped(4032, 3024)), "ir": (b"", infrared)},
        {"rgb": (bytes(6_000_000), colour), "ir": (b"", infrared)},
        {"rgb": (b"", shaped(3840, 2160, 3, 3 * 3840 * 2160)), "ir": (b"", infrared)},
    ]
    for files in too_much:
        with pytest.raises(ImageTooLarge, match=r"MiB, more than the 56 accepted"):
            check_memory(files, limit)


def test_a_jpeg_of_several_scans_keeps_its_coefficients() -> None:
    picture, pixels = textured(120), 640 * 480
    half, full = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444
    for factor, progressive, expected in (
        (half, 0, 0), (full, 0, 0), (half, 1, pixels * 3 // 2), (full, 1, pixels * 3),
    ):  # fmt: skip
        flags = [cv2.IMWRITE_JPEG_PROGRESSIVE, progressive, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, factor]
        info = inspect(cv2.imencode(".jpg", picture, flags)[1].tobytes())
        assert info.coefficients == expected
        kept = 2 * expected + (3 * pixels // 2 if expected else 0)
        assert info.decode_bytes == 3 * pixels + max(3 * pixels, kept)


def animated_png(shown: NDArray[Any], first: NDArray[Any]) -> bytes:
    """Return an APNG with default image ``shown`` and first frame ``first``."""
    data, frame = encode(shown, ".png"), encode(first, ".png")
    at = data.index(b"IDAT") - 4
    body = frame[frame.index(b"IDAT") - 4 : -12]
    size = struct.unpack(">I", body[:4])[0]
    height, width = shown.shape[:2]
    control = struct.pack(">IIIIIHHBB", 0, width, height, 0, 0, 1, 10, 0, 0)
    moving = chunk(b"acTL", struct.pack(">II", 1, 0))
    tail = chunk(b"fcTL", control) + chunk(b"fdAT", struct.pack(">I", 1) + body[8 : 8 + size])
    return data[:at] + moving + data[at:-12] + tail + data[-12:]


@pytest.mark.parametrize("kept", [b"acTL", b"fcTL", b"fdAT"])
def test_no_chunk_of_an_animation_is_passed_over(kept: bytes) -> None:
    data = animated_png(np.full((40, 50, 3), 90, np.uint8), np.full((40, 50, 3), 200, np.uint8))
    for other in {b"acTL", b"fcTL", b"fdAT"} - {kept}:
        at = data.index(other) - 4
        data = data[:at] + data[at + 12 + struct.unpack(">I", data[at : at + 4])[0] :]
    with pytest.raises(NotAnImage, match=r"PNG file is an animation\. Send a single image"):
        decode(data, "rgb", max_pixels=LIMIT)


@pytest.mark.parametrize("flagged", [True, False])
def test_an_animated_webp_is_refused_whatever_its_flags_say(flagged: bool) -> None:
    still = encode(np.full((40, 50, 3), 90, np.uint8), ".webp")
    frame = bytes(6) + struct.pack("<I", 49)[:3] + struct.pack("<I", 39)[:3] + bytes(4) + still[12:]
    chunks = b"VP8X" + struct.pack("<I", 10) + bytes([2 * flagged, 0, 0, 0]) + struct.pack("<I", 49)[:3]
    chunks += struct.pack("<I", 39)[:3] + b"ANIM" + struct.pack("<I", 6) + bytes(6)
    chunks += (b"ANMF" + struct.pack("<I", len(frame)) + frame) * 2
    with pytest.raises(NotAnImage, match="WebP file is an animation"):
        inspect(b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WEBP" + chunks)


def test_formats_of_several_pictures_are_none_of_those_accepted() -> None:
    frames = [np.full((40, 50, 3), level, np.uint8) for level in (90, 200)]
    for suffix in (".gif", ".tiff"):
        animation = cv2.imencodemulti(suffix, frames)[1].tobytes()
        for data in (animation, encode(frames[0], suffix)):
            with pytest.raises(NotAnImage, match="not a JPEG, PNG, WebP or BMP"):
                inspect(data)


def palette_bmp(palette: NDArray[np.uint8], indices: NDArray[np.uint8], entries: int = 0, offset: int = 0) -> bytes:
    """Return an 8-bit bitmap with a palette [N, 3], BGR. ``offset``: declared start of its pixels."""
    height, width = indices.shape
    table = np.concatenate([palette, np.zeros((len(palette), 1), np.uint8)], 1).tobytes()
    begin = 54 + len(table)
    info = struct.pack("<IiiHHIIiiII", 40, width, -height, 1, 8, 0, 0, 0, 0, entries, 0)
    head = b"BM" + struct.pack("<IHHI", begin + indices.size, 0, 0, offset or begin)
    return head + info + table + np.ascontiguousarray(indices).tobytes()


def test_a_bitmap_with_a_palette_is_grey_only_where_its_palette_is() -> None:
    indices = np.random.default_rng(4).integers(0, 256, (40, 48), dtype=np.uint8)
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
    grey = palette_bmp(ramp, indices)
    assert inspect(grey).channels == 1
    assert np.array_equal(decode(grey, "ir", max_pixels=LIMIT)[:, :, 0], indices)
    coloured = ramp.copy()
    coloured[:, 0] = 255 - coloured[:, 0]
    data = palette_bmp(coloured, indices)
    assert inspect(data).channels == 3
    assert np.array_equal(decode(data, "rgb", max_pixels=LIMIT), coloured[indices][:, :, ::-1])
    with pytest.raises(WrongChannels, match="swapped"):
        decode(data, "ir", max_pixels=LIMIT)
    few = palette_bmp(coloured[:16], indices % 16, entries=16)
    assert np.array_equal(decode(few, "rgb", max_pixels=LIMIT), coloured[indices % 16][:, :, ::-1])


def test_bitmaps_of_32_bits_are_colour() -> None:
    pixels = np.random.default_rng(6).integers(0, 256, (40, 48, 3), dtype=np.uint8)
    filled = np.concatenate([pixels[:, :, ::-1], np.full((40, 48, 1), 77, np.uint8)], 2)
    info = struct.pack("<IiiHHIIiiII", 40, 48, -40, 1, 32, 0, 0, 0, 0, 0, 0)
    data = b"BM" + struct.pack("<IHHI", 54 + filled.size, 0, 0, 54) + info + filled.tobytes()
    assert np.array_equal(decode(data, "rgb", max_pixels=LIMIT), pixels)


@pytest.mark.parametrize("offset", [1, 14, 53, 54, 54 + 4 * 256 - 1])
def test_a_bitmap_whose_pixels_lie_in_its_header_or_palette(offset: int) -> None:
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
    data = palette_bmp(ramp, np.zeros((40, 48), np.uint8), offset=offset)
    with pytest.raises(NotAnImage, match=f"byte {offset}, inside its header or palette"):
        inspect(data)


def test_a_png_has_one_header_and_it_comes_first() -> None:
    data = encode(textured(120, (40, 50)), ".png")
    header = data[8:33]
    for damaged in (data[:33] + header + data[33:], data[:8] + chunk(b"tEXt", b"a\0b") + data[8:]):
        with pytest.raises(TruncatedImage):
            inspect(damaged)
