"""Text files that people write: editors of some systems put a byte-order mark before UTF-8, which no parser expects."""

from __future__ import annotations

import codecs

ENCODING = "utf-8-sig"
"""What users' text is decoded with: UTF-8, with a byte-order mark or without."""


def without_mark(data: bytes) -> bytes:
    """``data`` without the byte-order mark of UTF-8, for parsers that take bytes."""
    return data.removeprefix(codecs.BOM_UTF8)
