"""Decoding of untrusted image files, crops, and overlays."""

from typing import TYPE_CHECKING

from runtime.core.lazy import attach

if TYPE_CHECKING:
    from runtime.imaging.crop import CropRule, coverage, crop_window
    from runtime.imaging.decode import decode_depth

__all__ = [
    "CropRule",
    "coverage",
    "crop_window",
    "decode_depth",
]

__getattr__ = attach(
    __name__,
    {
        "CropRule": "runtime.imaging.crop",
        "coverage": "runtime.imaging.crop",
        "crop_window": "runtime.imaging.crop",
        "decode_depth": "runtime.imaging.decode",
    },
)
