"""Memory settings: keep freed memory in the process, because the next pair needs the same amount."""

from __future__ import annotations

import ctypes
import gc
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
KEPT_BYTES = 16 << 20
LARGEST_BYTES = 8 << 20
"""Fits a 1920×1080 image. Larger blocks go back to the system at once; otherwise a few 16-megapixel images of one
caller would stay in every arena for ever."""


def keep_freed_memory() -> bool:
    """Make glibc keep the blocks of freed images instead of returning and requesting them repeatedly.

    A decoded image is larger than the blocks that glibc takes from its heap by default, so each one costs the kernel
    some hundred zeroed pages. With another C library nothing happens. Return whether the setting took effect.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    settings = ((M_MMAP_THRESHOLD, LARGEST_BYTES), (M_TRIM_THRESHOLD, KEPT_BYTES), (M_ARENA_MAX, 4))
    return all([mallopt(name, value) == 1 for name, value in settings])


def freeze_collector() -> None:
    """Exclude the objects loaded so far from garbage collection: they stay, so scanning them is wasted time."""
    gc.collect()
    gc.freeze()
