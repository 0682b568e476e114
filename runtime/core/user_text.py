"""Text written by users: remove byte-order marks, and suggest corrections for misspelt names.

Some editors write byte-order marks, and parsers reject them.
"""

from __future__ import annotations

import codecs
import difflib
from collections.abc import Sequence

ENCODING = "utf-8-sig"
"""Encoding of text files from users: UTF-8 with or without a byte-order mark."""


def without_mark(data: bytes) -> bytes:
    """Return ``data`` without a UTF-8 byte-order mark, for parsers that take bytes."""
    return data.removeprefix(codecs.BOM_UTF8)


def closest_name(name: str, names: Sequence[str], cutoff: float = 0.6) -> str:
    """Return ``did you mean …?`` with the most similar of ``names``, or an empty string if none is similar."""
    matches = difflib.get_close_matches(name, names, 1, cutoff)
    return f"did you mean {matches[0]}?" if matches else ""
