"""Text that people write: byte-order marks, which editors of some systems put before UTF-8, and misspelt names."""

from __future__ import annotations

import codecs
import difflib
from collections.abc import Sequence

ENCODING = "utf-8-sig"
"""What users' text is decoded with: UTF-8, with a byte-order mark or without."""


def without_mark(data: bytes) -> bytes:
    """``data`` without the byte-order mark of UTF-8, for parsers that take bytes."""
    return data.removeprefix(codecs.BOM_UTF8)


def closest_name(name: str, names: Sequence[str], cutoff: float = 0.6) -> str:
    """Return ``did you mean …?`` with the most similar of ``names``; empty where none is similar."""
    matches = difflib.get_close_matches(name, names, 1, cutoff)
    return f"did you mean {matches[0]}?" if matches else ""
