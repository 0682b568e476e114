"""Print the contents of data sets as a table: presentations and people of each split and species."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from rich.console import Console
from rich.table import Table

from runtime.core.species import BONA_FIDE


@dataclass(slots=True)
class SpeciesCount:
    """Contents of a set for one species: samples, presentations and people."""

    pairs: int = 0
    presentations: set[tuple[str, str]] = field(default_factory=set)
    people: set[str] = field(default_factory=set)


class Rows(Protocol):
    """A set that lists its samples without their images."""

    def rows(self) -> Sequence[Mapping[str, Any]]: ...
    def __len__(self) -> int: ...


def counts_of(dataset: Rows) -> dict[str, SpeciesCount]:
    """Return species → count, bona fide first, then by name."""
    found: dict[str, SpeciesCount] = {}
    for row in dataset.rows():
        count = found.setdefault(row["species"], SpeciesCount())
        count.pairs += 1
        # Presentations of two people may have the same name.
        count.presentations.add((row["subject"], row["presentation"]))
        count.people.add(row["subject"])
    return dict(sorted(found.items(), key=lambda item: (item[0] != BONA_FIDE, item[0])))


def show_data(console: Console, splits: Mapping[str, Rows]) -> None:
    """Print the numbers of presentations, people and pairs of each split and species."""
    table = Table("split", "species", title="training data", title_justify="left")
    for heading in ("presentations", "people", "pairs"):
        table.add_column(heading, justify="right")
    for split, dataset in splits.items():
        counts = counts_of(dataset)
        for species, count in counts.items():
            row = len(count.presentations), len(count.people), count.pairs
            table.add_row(split, species, *map(str, row))
        people = set[str]().union(*(count.people for count in counts.values()))
        presentations = sum(len(count.presentations) for count in counts.values())
        table.add_row(split, "all", str(presentations), str(len(people)), str(len(dataset)), end_section=True)
    console.print(table)
