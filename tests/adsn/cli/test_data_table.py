"""The table that adsn-train prints first counts presentations and people, not only pairs."""

from __future__ import annotations

import io
from collections.abc import Sequence

from rich.console import Console

from adsn.cli.data_table import counts_of, show_data


class Listed:
    """A set of samples without images: (species, subject, presentation) each."""

    def __init__(self, rows: Sequence[tuple[str, str, str]]) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def rows(self) -> list[dict[str, str]]:
        return [dict(zip(("species", "subject", "presentation"), row, strict=True)) for row in self._rows]


ROWS = [
    ("print_matte", "p2", "visit-1"),
    ("bona_fide", "p1", "visit-1"),
    ("bona_fide", "p1", "visit-1"),
    ("bona_fide", "p1", "visit-2"),
    ("bona_fide", "p2", "visit-1"),
]


def test_pairs_of_one_presentation_count_once_and_people_by_name() -> None:
    counts = counts_of(Listed(ROWS))
    assert list(counts) == ["bona_fide", "print_matte"]
    one = counts["bona_fide"]
    assert (one.pairs, len(one.presentations), len(one.people)) == (4, 3, 2)


def test_the_table_has_a_line_for_each_split_and_species() -> None:
    out = io.StringIO()
    show_data(Console(file=out, width=100), {"train": Listed(ROWS), "dev": Listed(ROWS[:2])})
    lines = [line.replace("│", " ").split() for line in out.getvalue().splitlines()]
    assert ["train", "bona_fide", "3", "2", "4"] in lines
    assert ["train", "print_matte", "1", "1", "1"] in lines
    assert ["train", "all", "4", "2", "5"] in lines
    assert ["dev", "all", "2", "2", "2"] in lines
