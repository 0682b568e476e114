"""Read the header of an image file and check its structure, without decoding any pixel."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field
from typing import Literal

from runtime.core.errors import NotAnImage, TruncatedImage
from runtime.imaging.jpeg import Damaged, Jpeg, read_jpeg

Format = Literal["jpeg", "png", "webp", "bmp"]
TEXT = (b"data:image/", b"/9j/", b"iVBORw0KGgo", b"UklGR")
"""Prefixes of base64 text that contains an image: a data URL, or the encoded start of a JPEG, PNG or WebP file."""


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """Contents of the header of an image file.

    ``channels``: 1 grey, 2 grey with alpha, 3 colour, 4 colour with alpha or CMYK. ``coefficients``: number of
    coefficients that a decoder keeps until the last scan, 0 if there is only one scan. ``jpeg``: structure of a JPEG
    file.
    """

    format: Format
    width: int
    height: int
    channels: int
    bit_depth: int
    coefficients: int = 0
    jpeg: Jpeg | None = field(default=None, compare=False, repr=False)

    @property
    def decode_bytes(self) -> int:
        """Peak memory for decoding in bytes, including the image itself."""
        picture = self.width * self.height * self.channels * self.bit_depth // 8
        # OpenCV returns a copy of the image, and depth is converted to float32. A coefficient takes two bytes. The WebP
        # decoder keeps four bytes per pixel.
        copied = picture * (2 if self.bit_depth == 16 else 1)
        kept = 4 * self.width * self.height if self.format == "webp" else 2 * self.coefficients
        if self.coefficients:
            # The test for complete data decodes a quarter of the pixels.
            kept += picture // 2
        return picture + max(copied, kept)


def inspect(data: bytes) -> ImageInfo:
    """Read the structure of a file without decoding any pixel.

    Raises:
        NotAnImage: the file is not JPEG, PNG, WebP or BMP, or is an unsupported variant. TruncatedImage: the file ends
            early, or its structure is damaged.
    """
    if data[:3] == b"\xff\xd8\xff":
        return _jpeg(data)
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return _png(data)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _webp(data)
    if data[:2] == b"BM":
        return _bmp(data)
    if data.startswith(TEXT):
        raise NotAnImage("the image is base64 text. Send the bytes of the file itself.")
    raise NotAnImage("the file is not a JPEG, PNG, WebP or BMP image. Send one of these formats.")


def truncated(format_name: str) -> TruncatedImage:
    return TruncatedImage(f"the {format_name} file ends before its picture does, or is damaged. Send it again, whole.")


def _jpeg(data: bytes) -> ImageInfo:
    try:
        found = read_jpeg(data)
    except Damaged as error:
        raise truncated("JPEG") from error
    return ImageInfo("jpeg", found.width, found.height, len(found.factors), found.depth, found.coefficients, found)


PNG_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}
"""Colour type → number of channels. A palette counts as colour, because its entries are colours."""
ANIMATION = (b"acTL", b"fcTL", b"fdAT")
"""Types of animation chunks. Animations are refused, because the default image that a decoder without animation support
shows may be a different one."""


def _png(data: bytes) -> ImageInfo:
    """Read a PNG file (ISO/IEC 15948): chunks of length, type, content and CRC, from IHDR to IEND."""
    at, info, has_alpha_palette = 8, None, False
    while True:
        head = data[at : at + 8]
        if len(head) < 8:
            raise truncated("PNG")
        length, kind = struct.unpack(">I4s", head)
        end = at + 12 + length
        if end > len(data) or zlib.crc32(data[at + 4 : end - 4]) != struct.unpack(">I", data[end - 4 : end])[0]:
            raise truncated("PNG")
        if kind in ANIMATION:
            raise NotAnImage("the PNG file is an animation. Send a single image.")
        if (kind == b"IHDR") != (at == 8):
            raise truncated("PNG")
        if kind == b"IHDR":
            if length != 13:
                raise truncated("PNG")
            width, height, depth, color_type = struct.unpack(">IIBB", data[at + 8 : at + 18])
            if color_type not in PNG_CHANNELS:
                raise NotAnImage(f"the PNG file has the unknown colour type {color_type}.")
            info = ImageInfo("png", width, height, PNG_CHANNELS[color_type], 8 if color_type == 3 else depth)
        has_alpha_palette |= kind == b"tRNS"
        at = end
        if kind == b"IEND":
            break
    if info is None or info.width == 0 or info.height == 0:
        raise truncated("PNG")
    if has_alpha_palette and info.channels in (1, 3):
        info = ImageInfo("png", info.width, info.height, info.channels + 1, info.bit_depth)
    return info


def _webp(data: bytes) -> ImageInfo:
    """Read a WebP container of RIFF chunks. The type of the first chunk says whether it is lossy, lossless or
    extended."""
    if len(data) < 30 or 8 + struct.unpack("<I", data[4:8])[0] > len(data):
        raise truncated("WebP")
    kind = data[12:16]
    if kind == b"VP8 ":
        if data[23:26] != b"\x9d\x01\x2a":
            raise truncated("WebP")
        width, height = (v & 0x3FFF for v in struct.unpack("<HH", data[26:30]))
        return ImageInfo("webp", width, height, 3, 8)
    if kind == b"VP8L":
        bits = struct.unpack("<I", data[21:25])[0]
        return ImageInfo("webp", (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, 4 if bits >> 28 & 1 else 3, 8)
    if kind == b"VP8X":
        flags = data[20]
        if flags & 0x02 or _chunks(data) & {b"ANIM", b"ANMF"}:
            raise NotAnImage("the WebP file is an animation. Send a single image.")
        width, height = (int.from_bytes(data[i : i + 3], "little") + 1 for i in (24, 27))
        return ImageInfo("webp", width, height, 4 if flags & 0x10 else 3, 8)
    raise NotAnImage("the WebP file is of an unknown kind.")


def _chunks(data: bytes) -> set[bytes]:
    """Return the types of all chunks in a RIFF file, whatever its flags say."""
    at, end, kinds = 12, 8 + struct.unpack("<I", data[4:8])[0], set()
    while at + 8 <= end:
        kind, length = struct.unpack("<4sI", data[at : at + 8])
        kinds.add(kind)
        at += 8 + length + length % 2
    return kinds


def _bmp(data: bytes) -> ImageInfo:
    """Read an uncompressed Windows bitmap with BITMAPINFOHEADER or a later header. With 32 bits per pixel the fourth
    byte is unused."""
    if len(data) < 54:
        raise truncated("BMP")
    offset, header, width, height, _, bits, compression = struct.unpack("<IIiiHHI", data[10:34])
    if header < 40 or width <= 0 or height == 0 or compression != 0 or bits not in (8, 24, 32):
        raise NotAnImage("this kind of BMP file is not supported. Send an uncompressed BMP of 8, 24 or 32 bits.")
    entries = (struct.unpack("<I", data[46:50])[0] or 256) if bits == 8 else 0
    palette = 14 + header
    if entries > 256 or offset < palette + 4 * entries:
        raise NotAnImage(
            f"the BMP file says that its pixels begin at byte {offset}, inside its header or palette; it is damaged."
        )
    if offset + (width * bits + 31) // 32 * 4 * abs(height) > len(data):
        raise truncated("BMP")
    blue, green, red = (data[palette + k : palette + 4 * entries : 4] for k in range(3))
    grey = bits == 8 and blue == green == red
    return ImageInfo("bmp", width, abs(height), 1 if grey else 3, 8)
