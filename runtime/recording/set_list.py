"""``recordings.csv``, the list of a set of extracted recordings: one line a presentation."""

from __future__ import annotations

LIST = "recordings.csv"
COLUMNS = ("presentation", "subject", "species", "sensor", "split")
