"""Names of files that people put into folders: their order, their numbers, and which of them nobody put there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

DIGITS = re.compile(r"(\d+)")
LEFT_BEHIND = frozenset({"thumbs.db", "desktop.ini", "ehthumbs.db"})


def natural(name: str) -> list[tuple[int, int, str]]:
    """A key that sorts names as people count: 2 before 10, whatever stands around the numbers."""
    parts = DIGITS.split(name)
    # Equal numbers and equal texts are told apart by the name itself: 01 and 1 have an order too.
    return [(0, int(p), p) if k % 2 else (1, 0, p) for k, p in enumerate(parts)] + [(2, 0, name)]


def number_of(name: str) -> int | None:
    """The last number in a file's name without its ending, None where it has none."""
    found = DIGITS.findall(name.rpartition(".")[0] or name)
    return int(found[-1]) if found else None


def is_left_behind(path: Path) -> bool:
    """Whether a system left this file in a folder of pictures: ``._x`` of macOS, ``.DS_Store``, ``Thumbs.db``."""
    return path.name.startswith(".") or path.name.lower() in LEFT_BEHIND


def files_in(folder: Path) -> Iterator[Path]:
    """What people put into a folder, in natural order.

    Raises:
        OSError: it cannot be read.
    """
    yield from sorted((p for p in folder.iterdir() if not is_left_behind(p)), key=lambda p: natural(p.name))
