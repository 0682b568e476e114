"""Read the operator's own image files: folders played like cameras, and images of a calibration board.

More formats are accepted than for uploads, but as with uploads the header decides whether a file is decoded.
"""

from __future__ import annotations

import re
import struct
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from runtime.core.errors import ImageTooLarge, InputError, NotAnImage, TruncatedImage
from runtime.imaging.decode import check_shape
from runtime.imaging.image_info import inspect
from runtime.imaging.jpeg import ends_early

MAX_BYTES = 256 << 20
MAX_PIXELS = 1 << 26
"""Maximum number of pixels. It allows 64-megapixel cameras, because these files are trusted."""
NETPBM = re.compile(rb"P[2356](?:\s+|#[^\n]*\n)*(\d{1,9})(?:\s+|#[^\n]*\n)+(\d{1,9})\s")
WIDTH, LENGTH = 256, 257
"""TIFF tags of the image's width and length (height)."""


def read_picture(path: Path) -> NDArray[Any]:
    """Read an image as OpenCV stores it: uint8 or uint16 [H, W] or, in BGR order, [H, W, C].

    Raises:
        InputError: the file cannot be read, is not an image, has several frames, is damaged, or has an unsupported
            shape or size. The message names the file.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}.") from error
    try:
        return _decode(data)
    except InputError as error:
        raise type(error)(f"{path}: {error.message}") from error


def _decode(data: bytes) -> NDArray[Any]:
    if len(data) > MAX_BYTES:
        raise ImageTooLarge(f"the file is larger than {MAX_BYTES >> 20} MiB.")
    jpeg = None
    if data[:4] in (b"II*\0", b"MM\0*"):
        width, height = tiff_size(data)
    elif data[:1] == b"P":
        width, height = netpbm_size(data)
    else:
        info = inspect(data)
        width, height, jpeg = info.width, info.height, info.jpeg
    if width * height > MAX_PIXELS:
        raise ImageTooLarge(f"the file declares {width}×{height} pixels, more than the {MAX_PIXELS} accepted.")
    check_shape(width, height, "the picture")
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        pixels = None
    if pixels is None or pixels.shape[:2] != (height, width) or pixels.dtype not in (np.uint8, np.uint16):
        raise TruncatedImage("the file does not decode to the image that it declares; it is damaged.")
    if jpeg is not None and ends_early(data, jpeg, np.asarray(pixels, np.uint8)):
        raise TruncatedImage("the JPEG file lacks a part of its image; it is damaged.")
    return np.asarray(pixels)


def tiff_size(data: bytes) -> tuple[int, int]:
    """Return the width and height that a TIFF file declares.

    Raises:
        NotAnImage: the file contains several images. TruncatedImage: its first directory is incomplete.
    """
    order = "<" if data[:2] == b"II" else ">"
    sizes: dict[int, int] = {}
    try:
        (at,) = struct.unpack_from(order + "I", data, 4)
        (entries,) = struct.unpack_from(order + "H", data, at)
        for place in range(at + 2, at + 2 + 12 * entries, 12):
            tag, kind = struct.unpack_from(order + "HH", data, place)
            if tag in (WIDTH, LENGTH):
                (sizes[tag],) = struct.unpack_from(order + ("H" if kind == 3 else "I"), data, place + 8)
        (following,) = struct.unpack_from(order + "I", data, at + 2 + 12 * entries)
    except struct.error as error:
        raise TruncatedImage("the TIFF file ends inside its directory.") from error
    if following:
        raise NotAnImage("the TIFF file contains several images. Save a single one.")
    if len(sizes) != 2:
        raise TruncatedImage("the TIFF file declares no size.")
    return sizes[WIDTH], sizes[LENGTH]


def netpbm_size(data: bytes) -> tuple[int, int]:
    """Return the width and height that a PGM or PPM file declares.

    Raises:
        NotAnImage: the file is neither.
    """
    found = NETPBM.match(data[:4096])
    if found is None:
        raise NotAnImage("the file is not an image in a supported format: JPEG, PNG, WebP, BMP, TIFF, PGM or PPM.")
    return int(found[1]), int(found[2])
