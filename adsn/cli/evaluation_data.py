"""Open the data sets of ``adsn-eval``: those of a plan, or one folder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rich.progress import Progress

from adsn.cli.train import open_plan, open_section
from runtime.core.errors import ConfigError

if TYPE_CHECKING:
    from adsn.datasets.pairs import PairDataset
    from adsn.datasets.sections import AnySection
    from adsn.evaluation.plan import DataPlan
    from runtime.imaging.crop import CropRule


@dataclass(frozen=True, slots=True)
class TestSet:
    """A set to evaluate. ``pairs``: samples to score. ``pictures``: the same samples with the images that the crops are
    cut from, if these exist."""

    # Prevents pytest from collecting this class because of its name.
    __test__ = False

    name: str
    pairs: PairDataset
    pictures: PairDataset


@dataclass(frozen=True, slots=True)
class DataOptions:
    """Data options of the command. ``subjects``: range ``FIRST:LAST`` for a folder of path-traced pairs."""

    data: Path | None
    dev: bool
    subjects: str | None
    cache: Path
    workers: int


def open_sets(
    options: DataOptions, modalities: tuple[str, ...], rule: CropRule, progress: Progress
) -> Iterator[TestSet]:
    """Open the sets one after the other.

    Raises:
        ConfigError: the folder contains no data, or the range is invalid.
        DatasetError: a data set cannot be read; see its reader.
    """
    if options.data is not None and options.data.is_dir():
        yield _open_folder(options.data, options, modalities, rule)
        return
    if options.subjects is not None:
        raise ConfigError("--subjects chooses from a folder of path-traced pairs: name one with --data FOLDER.")
    yield from _planned(options, modalities, rule, progress)


def _planned(
    options: DataOptions, modalities: tuple[str, ...], rule: CropRule, progress: Progress
) -> Iterator[TestSet]:
    from adsn.datasets.pairs import SyntheticPairs
    from adsn.datasets.sections import DataSection

    plan = open_plan(options.data, progress.console)
    for name, section in sections_of(plan, dev=options.dev):
        pairs = open_section(name, section, modalities, rule, options.cache, progress, options.workers)
        # The cache contains only crops. If the images of a rendered pair are needed, it is rendered again.
        rendered = SyntheticPairs(section.spec(name, rule)) if isinstance(section, DataSection) else None
        yield TestSet(name, pairs, rendered or pairs)


def sections_of(plan: DataPlan, *, dev: bool) -> list[tuple[str, AnySection]]:
    """Return the plan's test sets by name, or the sources of its dev set."""
    if not dev:
        return list(plan.test.items())
    return [(f"dev-{k + 1}" if k else "dev", section) for k, section in enumerate(plan.dev)]


def _open_folder(folder: Path, options: DataOptions, modalities: tuple[str, ...], rule: CropRule) -> TestSet:
    from adsn.datasets.base import DatasetError
    from adsn.datasets.recordings import open_recordings
    from adsn.datasets.shards import ShardPairs, shard_folder

    pairs: PairDataset
    if (folder / "recordings.csv").exists():
        if options.subjects is not None:
            raise ConfigError("--subjects is for path-traced pairs; recordings.csv says who is in which split.")
        split: Literal["dev", "test"] = "dev" if options.dev else "test"
        pairs = open_recordings(folder, split=split, modalities=modalities, rule=rule)
    elif options.dev:
        raise ConfigError("a folder of path-traced pairs has no dev set: choose people with --subjects FIRST:LAST.")
    else:
        try:
            pairs = ShardPairs(shard_folder(folder), subjects=_range(options.subjects), rule=rule)
        except DatasetError as error:
            raise ConfigError(f"--data {folder}: no recordings.csv is there, and {error}") from error
    return TestSet(pairs.name, pairs, pairs)


def _range(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    first, _, last = text.partition(":")
    if not (first.isdecimal() and last.isdecimal() and int(first) < int(last)):
        raise ConfigError(f"--subjects {text}: expected FIRST:LAST, the first number and one past the last.")
    return int(first), int(last)
