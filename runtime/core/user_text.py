"""Users' text files. Some editors write a byte-order mark before UTF-8, which parsers do not expect."""

from __future__ import annotations

import codecs

ENCODING = "utf-8-sig"
"""Encoding of users' text files: UTF-8 with or without a byte-order mark."""


def without_mark(data: bytes) -> bytes:
    """Return ``data`` without a UTF-8 byte-order mark, for parsers that take bytes."""
    return data.removeprefix(codecs.BOM_UTF8)
