"""Decoding of untrusted image files, crops and overlays."""

from typing import TYPE_CHECKING

from runtime.core.lazy import lazy_names

if TYPE_CHECKING:
    from runtime.imaging.crop import CropRule, coverage, crop_window
    from runtime.imaging.decode import decode_depth

__all__ = [
    "CropRule",
    "coverage",
    "crop_window",
    "decode_depth",
]

__getattr__ = lazy_names(
    __name__,
    {
        "crop": ("CropRule", "coverage", "crop_window"),
        "decode": ("decode_depth",),
    },
)
