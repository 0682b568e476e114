"""Decoding of image files, with checks of their header and integrity.

Unknown formats, images above the size limit and truncated files are refused before decoding. Decoders silently fill
missing data with grey, and a score of grey is meaningless.

Pixels are used as stored: the EXIF orientation is ignored, because face boxes are given in stored pixels.
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
"""Largest difference between the channels of a colour file that is accepted as grey. Cameras and encoders deliver IR as
colour; JPEG's chroma rounding alone causes a few steps."""
STRIP = 256
"""Rows of an image that are checked at a time."""
MIN_EDGE = 16
"""Minimum length of the shorter edge, in pixels: no camera that resolves a face delivers less."""
MAX_ASPECT = 4
"""Maximum ratio of the longer edge to the shorter. The widest cameras give 32:9, which is 3.6. Longer images are
refused as resource attacks: working sizes follow from one edge."""


DECODES_TO_RGB: int | None = getattr(cv2, "IMREAD_COLOR_RGB", None)
"""OpenCV's flag for colour in RGB order; None before 4.11, where the whole image is reordered afterwards."""

REDUCED: Mapping[int, int] = {
    1: 0,
    2: cv2.IMREAD_REDUCED_GRAYSCALE_2,
    4: cv2.IMREAD_REDUCED_GRAYSCALE_4,
    8: cv2.IMREAD_REDUCED_GRAYSCALE_8,
}
"""Reduction → OpenCV's flag for it, which combines with the flags for colour. libjpeg then transforms only the low
frequencies of each block, which takes a fraction of the time and averages away as much noise as shrinking would."""

ACCEPTED: Mapping[Modality, tuple[tuple[int, ...], int, str]] = {
    "rgb": ((3,), 8, "8-bit colour with 3 channels, without transparency"),
    "ir": ((1, 3), 8, "8-bit grey (or grey stored as colour), without transparency"),
    "depth": ((1,), 16, "16-bit grey, in millimetres, 0 where nothing was measured"),
}
"""Modality → channels, bits, and a description of both."""


def check_shape(width: int, height: int, what: str) -> None:
    """Refuse an image shape that no camera gives. ``what``: name of the image, for the message.

    Raises:
        WrongShape: an edge below `MIN_EDGE`, or an aspect ratio above `MAX_ASPECT`.
    """
    short, long = sorted((width, height))
    if short < MIN_EDGE or long > MAX_ASPECT * short:
        raise WrongShape(
            f"{what}: no camera delivers images of {width}×{height} pixels. Each edge must be at least {MIN_EDGE} "
            f"pixels, and the longer at most {MAX_ASPECT} times the shorter. Send the image as the camera delivered it."
        )


def check_alike(first: ImageInfo, second: ImageInfo, what: str) -> None:
    """Refuse two images whose shapes differ too much for one rig. ``what``: name of the two, for the message.

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
    """Refuse images that must not be decoded, from the header alone.

    Raises:
        ImageTooLarge: more than ``max_pixels``. WrongShape: see `check_shape`. WrongChannels: not what the modality
            takes.
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
    """Refuse images that together would need more than ``max_bytes`` for decoding.

    Raises:
        ImageTooLarge: decoding needs more than ``max_bytes``.
    """
    # An upload is in memory twice: as the request's body and as its parts.
    needed = sum(2 * len(data) + info.decode_bytes for data, info in files.values())
    if needed > max_bytes:
        sizes = " and ".join(f"{m} {info.width}×{info.height}" for m, (_, info) in files.items())
        raise ImageTooLarge(
            f"decoding the pictures ({sizes} pixels) takes {needed >> 20} MiB, more than the {max_bytes >> 20} "
            "accepted. Send smaller pictures, and JPEG that is not progressive."
        )


def read_header(data: bytes, modality: Modality, *, max_pixels: int) -> ImageInfo:
    """Read and check a file's header: `inspect`, then `check`.

    Raises:
        NotAnImage, TruncatedImage, ImageTooLarge, WrongShape, WrongChannels: see there.
    """
    info = inspect(data)
    check(info, modality, max_pixels)
    return info


def decode_depth(data: bytes, *, max_pixels: int) -> DepthMap:
    """Decode a 16-bit PNG of millimetres: float32 [H, W, 1], 0 = missing.

    Raises:
        NotAnImage, TruncatedImage, ImageTooLarge, WrongShape, WrongChannels: see `inspect` and `check`. JPEG, WebP and
            BMP have no 16-bit form, so they are refused.
    """
    return pixels_of_depth(data, read_header(data, "depth", max_pixels=max_pixels))


def decode(data: bytes, modality: Literal["rgb", "ir"], *, max_pixels: int) -> Image:
    """Decode a file's pixels: uint8 [H, W, 3] in RGB order, or uint8 [H, W, 1] for IR.

    Raises:
        NotAnImage, TruncatedImage, ImageTooLarge, WrongShape, WrongChannels: see `inspect` and `check`.
    """
    return pixels_of(data, modality, read_header(data, modality, max_pixels=max_pixels))


def pixels_of_depth(data: bytes, info: ImageInfo) -> DepthMap:
    """Decode as `decode_depth` does, with the header already read.

    Raises:
        TruncatedImage: it does not decode.
    """
    pixels = _pixels(data, info, cv2.IMREAD_UNCHANGED)
    if pixels.dtype != np.uint16 or pixels.ndim != 2:
        raise truncated(info.format.upper())
    return pixels.astype(np.float32)[:, :, None]


def pixels_of(data: bytes, modality: Literal["rgb", "ir"], info: ImageInfo, reduction: int = 1) -> Image:
    """Decode as `decode` does, with the header already read. ``reduction``: 2, 4 or 8 divides both edges of a JPEG
    image; other formats gain nothing from it.

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
    """Return the green channel of an IR image stored as colour, uint8 [H, W, 3] → [H, W].

    Raises:
        WrongChannels: see `require_grey`.
    """
    require_grey(pixels, "ir")
    return np.asarray(cv2.extractChannel(pixels, 1), np.uint8)


def require_grey(pixels: Image, modality: Modality) -> None:
    """Refuse an image, uint8 [H, W, 3], whose channels differ: it is a colour image.

    Raises:
        WrongChannels: the channels differ by more than `GREY_TOLERANCE`.
    """
    apart = 0
    # In strips: four temporary planes would take more memory than the image itself.
    for top in range(0, pixels.shape[0], STRIP):
        first, green, last = cv2.split(pixels[top : top + STRIP])
        apart = max(apart, int(cv2.absdiff(first, green).max()), int(cv2.absdiff(last, green).max()))
    if apart > GREY_TOLERANCE:
        kind = "infrared camera's grey" if modality == "ir" else "depth camera's grey"
        raise WrongChannels(
            f"{modality}: a colour picture (its channels differ by up to {apart}); this part takes the {kind} "
            "picture. Were the two parts swapped?"
        )
