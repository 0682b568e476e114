"""What the C library does with memory that was freed: keep it, because the next pair needs the same again."""

from __future__ import annotations

import ctypes
import gc
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
KEPT_BYTES = 16 << 20
LARGEST_BYTES = 8 << 20
"""A picture of 1920×1080 fits. What is larger goes back to the system at once: kept as well, one caller's few pictures
of 16 million pixels would stay for ever, in each of the arenas."""


def keep_freed_memory() -> bool:
    """Have glibc hold on to the blocks of freed pictures instead of giving them back and asking again.

    A decoded picture is larger than what glibc takes from its heap by default, so each one costs the kernel some
    hundred zeroed pages. Where the C library is another, nothing happens. Returns whether it took.
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
    """Tell Python's collector that what has been loaded by now stays: it need not be looked through again and again."""
    gc.collect()
    gc.freeze()
