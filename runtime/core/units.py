"""Units of time in nanoseconds, in which all times and durations called ``…_ns`` count."""

from __future__ import annotations

MS = 1_000_000
SECOND = 1_000_000_000
