"""Image files: what they declare, whether they are whole, and their pixels.

Everything that can be refused is refused before a decoder sees it: unknown formats, pictures larger than the limit,
files that end early. Decoders fill what is missing with grey and say nothing, and a score of grey is no score.

The pixels are taken as stored: an EXIF orientation is ignored, because a face box is given in stored pixels.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from runtime.core.errors import ImageTooLarge, NotAnImage, TruncatedImage, WrongChannels
from runtime.core.values import DepthMap, Image, Modality

Format = Literal["jpeg", "png", "webp", "bmp"]

GREY_TOLERANCE = 12
"""Largest difference between the channels of a colour file that is accepted as a grey picture. Cameras and encoders
deliver infrared as colour; chroma rounding of JPEG alone causes a few steps."""


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """What a file's header declares. ``channels``: 1 grey, 2 grey with alpha, 3 colour, 4 colour with alpha or CMYK."""

    format: Format
    width: int
    height: int
    channels: int
    bit_depth: int


def inspect(data: bytes) -> ImageInfo:
    """Read a file's structure, without decoding any pixel.

    Raises:
        NotAnImage: none of JPEG, PNG, WebP and BMP, or a kind of those that is not accepted.
        TruncatedImage: the file ends before its picture does, or its structure is damaged.
    """
    if data[:3] == b"\xff\xd8\xff":
        return _jpeg(data)
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return _png(data)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _webp(data)
    if data[:2] == b"BM":
        return _bmp(data)
    raise NotAnImage("the file is no JPEG, PNG, WebP or BMP image. Send one of these formats.")


def _truncated(format_name: str) -> TruncatedImage:
    return TruncatedImage(f"the {format_name} file ends before its picture does, or is damaged. Send it again, whole.")


def _jpeg(data: bytes) -> ImageInfo:
    """ITU-T T.81: segments of marker, length and content up to the scan; the picture ends with EOI."""
    at, info = 2, None
    while True:
        # Any number of fill bytes may stand before a marker.
        while data[at : at + 1] == b"\xff" and data[at + 1 : at + 2] == b"\xff":
            at += 1
        head = data[at : at + 4]
        if len(head) < 4 or head[0] != 0xFF:
            raise _truncated("JPEG")
        marker, length = head[1], struct.unpack(">H", head[2:])[0]
        if length < 2 or at + 2 + length > len(data):
            raise _truncated("JPEG")
        # SOF0 to SOF15, without DHT, JPG and DAC, which share the range.
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            if length < 8:
                raise _truncated("JPEG")
            depth, height, width, channels = struct.unpack(">BHHB", data[at + 4 : at + 10])
            info = ImageInfo("jpeg", width, height, channels, depth)
        if marker == 0xDA:
            break
        at += 2 + length
    # Inside a scan an FF is always followed by 00 or a restart marker, so FF D9 can only be the end.
    if info is None or info.width == 0 or info.height == 0 or data.find(b"\xff\xd9", at + 2 + length) < 0:
        raise _truncated("JPEG")
    return info


PNG_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}
"""Colour type → channels. A palette is colour: that is what its entries are."""


def _png(data: bytes) -> ImageInfo:
    """PNG (ISO/IEC 15948): chunks of length, type, content and CRC, from IHDR to IEND."""
    at, info, has_alpha_palette = 8, None, False
    while True:
        head = data[at : at + 8]
        if len(head) < 8:
            raise _truncated("PNG")
        length, kind = struct.unpack(">I4s", head)
        end = at + 12 + length
        if end > len(data) or zlib.crc32(data[at + 4 : end - 4]) != struct.unpack(">I", data[end - 4 : end])[0]:
            raise _truncated("PNG")
        if kind == b"IHDR":
            if length != 13:
                raise _truncated("PNG")
            width, height, depth, colour = struct.unpack(">IIBB", data[at + 8 : at + 18])
            if colour not in PNG_CHANNELS:
                raise NotAnImage(f"the PNG file has the unknown colour type {colour}.")
            info = ImageInfo("png", width, height, PNG_CHANNELS[colour], 8 if colour == 3 else depth)
        has_alpha_palette |= kind == b"tRNS"
        at = end
        if kind == b"IEND":
            break
    if info is None or info.width == 0 or info.height == 0:
        raise _truncated("PNG")
    if has_alpha_palette and info.channels in (1, 3):
        info = ImageInfo("png", info.width, info.height, info.channels + 1, info.bit_depth)
    return info


def _webp(data: bytes) -> ImageInfo:
    """WebP container: RIFF chunks; the first one says lossy, lossless or extended."""
    if len(data) < 30 or 8 + struct.unpack("<I", data[4:8])[0] > len(data):
        raise _truncated("WebP")
    kind = data[12:16]
    if kind == b"VP8 ":
        if data[23:26] != b"\x9d\x01\x2a":
            raise _truncated("WebP")
        width, height = (v & 0x3FFF for v in struct.unpack("<HH", data[26:30]))
        return ImageInfo("webp", width, height, 3, 8)
    if kind == b"VP8L":
        bits = struct.unpack("<I", data[21:25])[0]
        return ImageInfo("webp", (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, 4 if bits >> 28 & 1 else 3, 8)
    if kind == b"VP8X":
        flags = data[20]
        if flags & 0x02:
            raise NotAnImage("the WebP file is an animation. Send a single picture.")
        width, height = (int.from_bytes(data[i : i + 3], "little") + 1 for i in (24, 27))
        return ImageInfo("webp", width, height, 4 if flags & 0x10 else 3, 8)
    raise NotAnImage("the WebP file is of an unknown kind.")


def _bmp(data: bytes) -> ImageInfo:
    """Windows bitmap with BITMAPINFOHEADER or a later header, uncompressed."""
    if len(data) < 54:
        raise _truncated("BMP")
    offset, header, width, height, _, bits, compression = struct.unpack("<IIiiHHI", data[10:34])
    if header < 40 or width <= 0 or height == 0 or compression != 0 or bits not in (8, 24, 32):
        raise NotAnImage("the BMP file is of a kind that is not accepted; uncompressed 8, 24 or 32 bits are.")
    if offset + (width * bits + 31) // 32 * 4 * abs(height) > len(data):
        raise _truncated("BMP")
    return ImageInfo("bmp", width, abs(height), {8: 1, 24: 3, 32: 4}[bits], 8)


ACCEPTED: Mapping[Modality, tuple[tuple[int, ...], int, str]] = {
    "rgb": ((3,), 8, "8-bit colour with 3 channels, without transparency"),
    "ir": ((1, 3), 8, "8-bit grey (or grey stored as colour), without transparency"),
    "depth": ((1,), 16, "16-bit grey, in millimetres, 0 where nothing was measured"),
}
"""Modality → channels, bits, and both in words."""


def check(info: ImageInfo, modality: Modality, max_pixels: int) -> None:
    """Refuse, from the header alone, what must not be decoded.

    Raises:
        ImageTooLarge: more than ``max_pixels``. WrongChannels: not what the modality takes.
    """
    if info.width * info.height > max_pixels:
        raise ImageTooLarge(
            f"{modality}: the file declares {info.width}×{info.height} pixels, more than the "
            f"{max_pixels / 1e6:g} million accepted. Send a smaller picture."
        )
    channels, bits, wanted = ACCEPTED[modality]
    if info.channels not in channels or info.bit_depth != bits:
        raise WrongChannels(
            f"{modality}: the {info.format.upper()} file has {info.channels} channel(s) of {info.bit_depth} bits; "
            f"this part takes {wanted}."
        )


def decode_depth(data: bytes, *, max_pixels: int) -> DepthMap:
    """A 16-bit PNG of millimetres: float32 [H, W, 1], 0 = missing.

    Raises:
        NotAnImage, TruncatedImage, ImageTooLarge, WrongChannels: see `inspect` and `check`. JPEG, WebP and BMP have no
            16 bits, so they are wrong here.
    """
    info = inspect(data)
    check(info, "depth", max_pixels)
    pixels = _pixels(data, info, cv2.IMREAD_UNCHANGED)
    if pixels.dtype != np.uint16 or pixels.ndim != 2:
        raise _truncated(info.format.upper())
    return pixels.astype(np.float32)[:, :, None]


def decode(data: bytes, modality: Literal["rgb", "ir"], *, max_pixels: int) -> Image:
    """A file's pixels: uint8 [H, W, 3] in RGB order, or uint8 [H, W, 1] for infrared.

    Raises:
        NotAnImage, TruncatedImage, ImageTooLarge, WrongChannels: see `inspect` and `check`.
    """
    info = inspect(data)
    check(info, modality, max_pixels)
    pixels = _pixels(data, info, cv2.IMREAD_COLOR if info.channels == 3 else cv2.IMREAD_GRAYSCALE)
    if modality == "rgb":
        return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)
    if info.channels == 3:
        return grey_of(pixels.astype(np.uint8, copy=False))[:, :, None]
    return pixels.astype(np.uint8, copy=False)[:, :, None]


def _pixels(data: bytes, info: ImageInfo, flags: int) -> NDArray[Any]:
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        raise _truncated(info.format.upper()) from error
    if pixels is None or pixels.shape[:2] != (info.height, info.width):
        raise _truncated(info.format.upper())
    return pixels


def grey_of(pixels: Image) -> Image:
    """Return the green channel of an IR picture stored as colour, uint8 [H, W, 3] → [H, W].

    Raises:
        WrongChannels: see `require_grey`.
    """
    require_grey(pixels, "ir")
    return np.asarray(pixels[:, :, 1])


def require_grey(pixels: Image, modality: Modality) -> None:
    """Refuse a picture, uint8 [H, W, 3], whose channels differ: it is a colour picture.

    Raises:
        WrongChannels: the channels differ by more than `GREY_TOLERANCE`.
    """
    first, green, last = cv2.split(pixels)
    apart = max(int(cv2.absdiff(first, green).max()), int(cv2.absdiff(last, green).max()))
    if apart > GREY_TOLERANCE:
        kind = "infrared camera's grey" if modality == "ir" else "depth camera's grey"
        raise WrongChannels(
            f"{modality}: a colour picture (its channels differ by up to {apart}); this part takes the {kind} "
            "picture. Were the two parts swapped?"
        )
