"""Units of time, in nanoseconds: every time and duration whose name ends in ``_ns`` counts in them."""

from __future__ import annotations

MS = 1_000_000
SECOND = 1_000_000_000
