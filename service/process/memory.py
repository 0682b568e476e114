"""Memory settings: keep freed memory in the process, because the next pair needs the same amount again."""

from __future__ import annotations

import ctypes
import gc
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
KEPT_BYTES = 16 << 20
LARGEST_BYTES = 8 << 20
"""Largest block that is kept, large enough for a 1920×1080 image. Larger blocks are returned to the system at once.
Otherwise the memory of a few 16-megapixel images from one caller would stay in every arena forever."""


def keep_freed_memory() -> bool:
    """Make glibc keep the blocks of freed images instead of returning and requesting them repeatedly.

    By default glibc takes blocks as large as a decoded image directly from the kernel, which must zero some hundred
    pages each time. Returns whether the setting took effect; with a different C library it does not.
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
    """Exclude the existing objects from garbage collection. They stay alive, so scanning them would be a waste of
    time."""
    gc.collect()
    gc.freeze()
