"""Lines of a page in Markdown."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table."""
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]


def paragraph(*parts: str) -> list[str]:
    """Return the lines of a paragraph, wrapped, and an empty one."""
    return [*textwrap.wrap(" ".join(parts), 118), ""]
