"""Incomplete JPEG files are detected, and complete ones of every kind pass."""

from __future__ import annotations

import random
from typing import Any, Literal

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from runtime.capture.v4l2.formats import FORMATS, Decoder
from runtime.core.errors import CameraData, TruncatedImage
from runtime.imaging.decode import decode
from runtime.imaging.jpeg import MOST_SCANS, Damaged, ends_early, read_jpeg
from tests.support.images import encode

LIMIT = 16_000_000
FULL = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444
KINDS: dict[str, list[int]] = {
    "plain": [],
    "coarse": [cv2.IMWRITE_JPEG_QUALITY, 40],
    "fine": [cv2.IMWRITE_JPEG_QUALITY, 98],
    "optimised": [cv2.IMWRITE_JPEG_OPTIMIZE, 1],
    "full colour": [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, FULL],
    "restarts": [cv2.IMWRITE_JPEG_RST_INTERVAL, 4],
    "progressive": [cv2.IMWRITE_JPEG_PROGRESSIVE, 1],
    "progressive restarts": [cv2.IMWRITE_JPEG_PROGRESSIVE, 1, cv2.IMWRITE_JPEG_RST_INTERVAL, 4],
}


def picture(height: int = 240, width: int = 320) -> NDArray[np.uint8]:
    rng = np.random.default_rng(9)
    smooth = cv2.resize(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8), (width, height))
    return np.asarray(np.clip(smooth + rng.normal(0, 6, smooth.shape), 0, 255), np.uint8)


def jpeg(kind: str, pixels: NDArray[np.uint8] | None = None) -> bytes:
    good, data = cv2.imencode(".jpg", picture() if pixels is None else pixels, KINDS[kind])
    assert good
    return data.tobytes()


def refused(data: bytes, modality: Literal["rgb", "ir"] = "rgb") -> bool:
    try:
        decode(data, modality, max_pixels=LIMIT)
    except TruncatedImage:
        return True
    return False


def beginning(data: bytes) -> int:
    """Return the position of the data of the first scan."""
    at = data.index(b"\xff\xda")
    return at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [(240, 320), (235, 313), (16, 16), (17, 33)])
def test_whole_files_pass(kind: str, size: tuple[int, int]) -> None:
    pixels = picture(*size)
    assert not refused(jpeg(kind, pixels))
    assert not refused(jpeg(kind, pixels[:, :, 1].copy()), "ir")
    # Decoders fill missing data with plain grey, but an image may really be plain grey.
    assert not refused(jpeg(kind, np.full((*size, 3), 128, np.uint8)))
    half = pixels.copy()
    half[size[0] // 2 :] = 128
    assert not refused(jpeg(kind, half))


@pytest.mark.parametrize("kind", KINDS)
def test_files_that_were_cut_and_closed(kind: str) -> None:
    data = jpeg(kind)
    start = beginning(data)
    for part in (0.0, 0.1, 0.5, 0.9, 0.97):
        cut = data[: start + round((len(data) - start) * part)] + b"\xff\xd9"
        assert refused(cut), part
    assert refused(data[:-2])


@pytest.mark.parametrize("kind", ["coarse", "optimised", "full colour", "restarts", "progressive restarts"])
def test_most_files_that_lack_a_kilobyte_inside(kind: str) -> None:
    data = jpeg(kind)
    start, rng = beginning(data), random.Random(3)
    places = [rng.randrange(start, len(data) - 1002) for _ in range(40)]
    found = sum(refused(data[:at] + data[at + 1000 :]) for at in places)
    assert found >= 0.9 * len(places)


def test_restart_markers_that_are_missing_twice_or_out_of_order() -> None:
    data = jpeg("restarts")
    marks = [at for at in range(beginning(data), len(data) - 1) if data[at] == 0xFF and 0xD0 <= data[at + 1] <= 0xD7]
    first, second = marks[3], marks[4]
    assert refused(data[:first] + data[second:])
    assert refused(data[:second] + data[first:])
    assert refused(data[: first + 1] + b"\xd7" + data[first + 2 :])
    plain = jpeg("plain")
    middle = (beginning(plain) + len(plain)) // 2
    assert refused(plain[:middle] + b"\xff\xd0" + plain[middle:])


def test_a_progressive_file_needs_all_of_its_scans() -> None:
    data = jpeg("progressive")
    scans = [at for at in range(len(data) - 1) if data[at : at + 2] == b"\xff\xda"]
    assert len(scans) > 3
    for scan in scans[1:]:
        with pytest.raises(Damaged):
            read_jpeg(data[:scan] + b"\xff\xd9")


def test_scans_that_come_again_or_never_end(monkeypatch: pytest.MonkeyPatch) -> None:
    data = jpeg("progressive")
    at = data.index(b"\xff\xda")
    scan = data[at : data.index(b"\xff\xc4", at)]
    with pytest.raises(Damaged):
        read_jpeg(data[:at] + scan + data[at:])
    scans = read_jpeg(data).scans
    assert scans <= MOST_SCANS
    monkeypatch.setattr("runtime.imaging.jpeg.MOST_SCANS", scans - 1)
    with pytest.raises(Damaged):
        read_jpeg(data)


def wrong_structures() -> dict[str, bytes]:
    data = jpeg("plain")
    frame = data.index(b"\xff\xc0")
    end = frame + 2 + int.from_bytes(data[frame + 2 : frame + 4], "big")
    scan = data.index(b"\xff\xda")
    return {
        "frame twice": data[:end] + data[frame:end] + data[end:],
        "no frame": data[:frame] + data[end:],
        "factor 0": data[: frame + 11] + b"\0" + data[frame + 12 :],
        "other component": data[: scan + 5] + b"\x09" + data[scan + 6 :],
        "interval of 3 bytes": data[:frame] + b"\xff\xdd\0\x05abc" + data[frame:],
    }


WRONG = wrong_structures()


@pytest.mark.parametrize("change", WRONG)
def test_structures_that_are_none(change: str) -> None:
    with pytest.raises(Damaged):
        read_jpeg(WRONG[change])


def test_what_is_whole_costs_no_second_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    data = jpeg("plain")
    pixels: Any = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    monkeypatch.setattr("runtime.imaging.jpeg.cv2.imdecode", None)
    assert not ends_early(data, read_jpeg(data), pixels)


def test_a_camera_s_frame_that_lacks_a_part_is_counted_as_damaged() -> None:
    data = jpeg("plain")
    decoder = Decoder(FORMATS["MJPG"], 320, 240, 0, "rgb", name="camera")
    assert decoder.decode(np.frombuffer(data, np.uint8)).shape == (240, 320, 3)
    cut = data[: len(data) // 2] + b"\xff\xd9"
    with pytest.raises(CameraData, match=r"part of the JPEG image is missing\. Check the USB cable"):
        decoder.decode(np.frombuffer(cut, np.uint8))


def test_a_webp_cut_and_closed_is_refused_by_its_decoder() -> None:
    data = encode(picture(), ".webp")
    body = data[: len(data) - 2 * (len(data) // 8)]
    closed = b"RIFF" + (len(body) - 8).to_bytes(4, "little") + body[8:16]
    closed += (len(body) - 20).to_bytes(4, "little") + body[20:]
    with pytest.raises(TruncatedImage):
        decode(closed, "rgb", max_pixels=LIMIT)
