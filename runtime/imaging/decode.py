"""Decode image files after checks of their header and integrity.

Unknown formats, images above the size limit and truncated files are refused before decoding. Truncated files must be
refused because decoders silently fill missing data with grey, and the score of a grey area is meaningless.

Pixels are used as stored. The EXIF orientation is ignored, because callers give face boxes in stored pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from runtime.core.errors import ImageTooLarge, WrongChannels, WrongShape
from runtime.core.values import DepthMap, Image, Modality
from runtime.imaging.image_info import ImageInfo, inspect, truncated
from runtime.imaging.jpeg import ends_early

GREY_TOLERANCE = 12
"""Largest difference between the channels of a colour file that is accepted as grey. Some cameras and encoders deliver
IR as colour, and the rounding of JPEG chroma alone causes differences of a few grey levels."""
STRIP = 256
"""Number of image rows that are checked at a time."""
MIN_EDGE = 16
"""Minimum shorter edge in pixels. No camera that resolves a face delivers smaller images."""
MAX_ASPECT = 4
"""Maximum ratio of the longer edge to the shorter. The widest cameras deliver 32:9, which is 3.6. Longer images are
refused, because working sizes are derived from one edge and such an image could exhaust memory."""


DECODES_TO_RGB: int | None = getattr(cv2, "IMREAD_COLOR_RGB", None)
"""OpenCV's flag for decoding in RGB order. None before version 4.11, where the channels are reordered after
decoding."""

REDUCED: Mapping[int, int] = {
    1: 0,
    2: cv2.IMREAD_REDUCED_GRAYSCALE_2,
    4: cv2.IMREAD_REDUCED_GRAYSCALE_4,
    8: cv2.IMREAD_REDUCED_GRAYSCALE_8,
}
"""Reduction → OpenCV's flag for it, which can be combined with the flags for colour. With such a flag, libjpeg
transforms only the low frequencies of each block. That takes a fraction of the time and averages out as much noise as
shrinking the full image."""

ACCEPTED: Mapping[Modality, tuple[tuple[int, ...], int, str]] = {
    "rgb": ((3,), 8, "8-bit colour with 3 channels, without transparency"),
    "ir": ((1, 3), 8, "8-bit grey (or grey stored as colour), without transparency"),
    "depth": ((1,), 16, "16-bit grey, in millimetres, 0 where nothing was measured"),
}
"""Modality → accepted numbers of channels, bits per channel, and a description of both."""


def check_shape(width: int, height: int, what: str) -> None:
    """Check that a camera can produce an image of this shape. ``what``: name of the image in the message.

    Raises:
        WrongShape: an edge is below `MIN_EDGE`, or the aspect ratio is above `MAX_ASPECT`.
    """
    short, long = sorted((width, height))
    if short < MIN_EDGE or long > MAX_ASPECT * short:
        raise WrongShape(
            f"{what}: no camera delivers images of {width}×{height} pixels. Each edge must be at least {MIN_EDGE} "
            f"pixels, and the longer at most {MAX_ASPECT} times the shorter. Send the image as the camera delivered it."
        )


def check_alike(first: ImageInfo, second: ImageInfo, what: str) -> None:
    """Check that two images can come from one rig. ``what``: name of the two in the message.

    Raises:
        WrongShape: their aspect ratios differ by more than a factor of `MAX_ASPECT`.
    """
    one, other = first.width * second.height, second.width * first.height
    if max(one, other) > MAX_ASPECT * min(one, other):
        raise WrongShape(
            f"{what}: {first.width}×{first.height} and {second.width}×{second.height} pixels are not of one rig: their "
            f"aspect ratios differ by more than a factor of {MAX_ASPECT}. Send the two pictures as the cameras gave "
            "them."
        )


def check(info: ImageInfo, modality: Modality, max_pixels: int) -> None:
    """Check, from the header alone, that an image may be decoded.

    Raises:
        ImageTooLarge: it has more than ``max_pixels``. WrongShape: see `check_shape`. WrongChannels: the modality does
            not accept its channels or bits.
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
    check_shape(info.width, info.height, modality)


def check_memory(files: Mapping[Modality, tuple[bytes, ImageInfo]], max_bytes: int) -> None:
    """Check that decoding the images together needs at most ``max_bytes`` of memory.

    Raises:
        ImageTooLarge: decoding needs more memory.
    """
    # An upload is in memory twice: as the body of the request and as its parts.
    needed = sum(2 * len(data) + info.decode_bytes for data, info in files.values())
    if needed > max_bytes:
        sizes = " and ".join(f"{m} {info.width}×{info.height}" for m, (_, info) in files.items())
        raise ImageTooLarge(
            f"decoding the pictures ({sizes} pixels) takes {needed >> 20} MiB, more than the {max_bytes >> 20} "
            "accepted. Send smaller pictures, and JPEG that is not progressive."
        )


def read_header(data: bytes, modality: Modality, *, max_pixels: int) -> ImageInfo:
    """Read the header of a file with `inspect` and check it with `check`.

    Raises:
        NotAnImage, TruncatedImage, ImageTooLarge, WrongShape, WrongChannels: see `inspect` and `check`.
    """
    info = inspect(data)
    check(info, modality, max_pixels)
    return info


def decode_depth(data: bytes, *, max_pixels: int) -> DepthMap:
    """Decode a 16-bit PNG in millimetres to float32 [H, W, 1], where 0 means missing.

    Raises:
        NotAnImage, TruncatedImage, ImageTooLarge, WrongShape, WrongChannels: see `inspect` and `check`. JPEG, WebP and
            BMP have no 16-bit form, so they are refused.
    """
    return pixels_of_depth(data, read_header(data, "depth", max_pixels=max_pixels))


def decode(data: bytes, modality: Literal["rgb", "ir"], *, max_pixels: int) -> Image:
    """Decode the pixels of a file to uint8 [H, W, 3] in RGB order, or to uint8 [H, W, 1] for IR.

    Raises:
        NotAnImage, TruncatedImage, ImageTooLarge, WrongShape, WrongChannels: see `inspect` and `check`.
    """
    return pixels_of(data, modality, read_header(data, modality, max_pixels=max_pixels))


def pixels_of_depth(data: bytes, info: ImageInfo) -> DepthMap:
    """Decode like `decode_depth`, with the header already read.

    Raises:
        TruncatedImage: it does not decode.
    """
    pixels = _pixels(data, info, cv2.IMREAD_UNCHANGED)
    if pixels.dtype != np.uint16 or pixels.ndim != 2:
        raise truncated(info.format.upper())
    return pixels.astype(np.float32)[:, :, None]


def pixels_of(data: bytes, modality: Literal["rgb", "ir"], info: ImageInfo, reduction: int = 1) -> Image:
    """Decode like `decode`, with the header already read.

    ``reduction``: factor by which to reduce both edges of a JPEG image: 1, 2, 4 or 8. Other formats gain nothing from
    it.

    Raises:
        TruncatedImage: it does not decode. WrongChannels: a colour image given as IR.
    """
    direct = DECODES_TO_RGB if modality == "rgb" else None
    rgb_flag = cv2.IMREAD_COLOR if direct is None else direct
    pixels = _pixels(data, info, rgb_flag if info.channels == 3 else cv2.IMREAD_GRAYSCALE, reduction)
    if info.jpeg is not None and ends_early(data, info.jpeg, pixels, reduction):
        raise truncated("JPEG")
    if modality == "rgb":
        ordered = pixels if direct is not None else cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
        return ordered.astype(np.uint8, copy=False)
    if info.channels == 3:
        return grey_of(pixels.astype(np.uint8, copy=False))[:, :, None]
    return pixels.astype(np.uint8, copy=False)[:, :, None]


def _pixels(data: bytes, info: ImageInfo, flags: int, reduction: int = 1) -> NDArray[Any]:
    flags |= REDUCED[reduction] | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise truncated(info.format.upper()) from error
    if pixels is None or pixels.shape[:2] != (-(-info.height // reduction), -(-info.width // reduction)):
        raise truncated(info.format.upper())
    return pixels


def grey_of(pixels: Image) -> Image:
    """Return the green channel, uint8 [H, W], of an IR image stored as colour, uint8 [H, W, 3].

    Raises:
        WrongChannels: see `require_grey`.
    """
    require_grey(pixels, "ir")
    return np.asarray(cv2.extractChannel(pixels, 1), np.uint8)


def require_grey(pixels: Image, modality: Modality) -> None:
    """Check that the channels of an image, uint8 [H, W, 3], are equal, so that it is not a colour image.

    Raises:
        WrongChannels: the channels differ by more than `GREY_TOLERANCE`.
    """
    apart = 0
    # Work in strips, because four temporary planes would take more memory than the image itself.
    for top in range(0, pixels.shape[0], STRIP):
        first, green, last = cv2.split(pixels[top : top + STRIP])
        apart = max(apart, int(cv2.absdiff(first, green).max()), int(cv2.absdiff(last, green).max()))
    if apart > GREY_TOLERANCE:
        kind = "infrared camera's grey" if modality == "ir" else "depth camera's grey"
        raise WrongChannels(
            f"{modality}: a colour picture (its channels differ by up to {apart}); this part takes the {kind} "
            "picture. Were the two parts swapped?"
        )
