"""File names in users' folders: natural order, numbers in names, and files created by operating systems."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

DIGITS = re.compile(r"(\d+)")
LEFT_BEHIND = frozenset({"thumbs.db", "desktop.ini", "ehthumbs.db"})


def natural(name: str) -> list[tuple[int, int, str]]:
    """Return a sort key that orders numbers inside names by value: 2 before 10."""
    parts = DIGITS.split(name)
    # The name itself breaks ties, so that 01 and 1 have a fixed order.
    return [(0, int(p), p) if k % 2 else (1, 0, p) for k, p in enumerate(parts)] + [(2, 0, name)]


def number_of(name: str) -> int | None:
    """Return the last number in a file name without its extension, or None if it contains no number."""
    found = DIGITS.findall(name.rpartition(".")[0] or name)
    return int(found[-1]) if found else None


def is_left_behind(path: Path) -> bool:
    """Return whether an operating system left this file behind (``._x`` of macOS, ``.DS_Store``, ``Thumbs.db``)."""
    return path.name.startswith(".") or path.name.lower() in LEFT_BEHIND


def files_in(folder: Path) -> Iterator[Path]:
    """Yield the entries of a folder in natural order, without those that operating systems leave behind.

    Raises:
        OSError: the folder cannot be read.
    """
    yield from sorted((p for p in folder.iterdir() if not is_left_behind(p)), key=lambda p: natural(p.name))
