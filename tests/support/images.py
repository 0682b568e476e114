"""Image files for tests, made by code."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray


def encode(pixels: NDArray[Any], suffix: str = ".jpg") -> bytes:
    """``pixels`` [H, W] or [H, W, C] in OpenCV's channel order, as a file."""
    good, data = cv2.imencode(suffix, pixels)
    assert good
    return data.tobytes()


def textured(level: int, shape: tuple[int, ...] = (480, 640, 3), spread: int = 40) -> NDArray[np.uint8]:
    """A picture of mean ``level`` with enough structure to pass the gates."""
    rng = np.random.default_rng(level)
    noise = cv2.resize(rng.uniform(-spread, spread, (12, 16)).astype(np.float32), (shape[1], shape[0]))
    grey = np.clip(level + noise, 0, 255).astype(np.uint8)
    return np.repeat(grey[:, :, None], shape[2], axis=2) if len(shape) == 3 else grey


def rgb_file(level: int = 120, suffix: str = ".jpg") -> bytes:
    return encode(textured(level), suffix)


def ir_file(level: int = 180, suffix: str = ".png") -> bytes:
    return encode(textured(level, (480, 640)), suffix)


def chunk(kind: bytes, content: bytes) -> bytes:
    """A PNG chunk."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def bomb(width: int = 60000, height: int = 60000, colour: int = 2) -> bytes:
    """A PNG of a few hundred bytes that declares billions of pixels, and is otherwise well formed."""
    header = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    body = zlib.compress(bytes(100_000), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
