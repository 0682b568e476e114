"""Data tables in recipes and plans: sets that are rendered, path-traced or read from disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    model_validator,
)

from adsn.datasets.pairs import SyntheticSpec
from runtime.imaging.crop import CropRule
from synthetic import PATH_TRACED_SPECIES, SPECIES

if TYPE_CHECKING:
    from adsn.datasets import ListedPairs
    from adsn.datasets.shards import ShardPairs


class TableModel(BaseModel):
    """Base of all tables; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def attack_species(name: str) -> str:
    """Return ``name`` if the renderers support this attack species."""
    if name in PATH_TRACED_SPECIES and name not in SPECIES:
        raise ValueError(
            f"only the path tracer renders {name!r}: render a set with python -m adsn.cli.render and name it with "
            f'dataset = "pathtraced"; the fast renderer has {", ".join(SPECIES[1:])}'
        )
    if name not in SPECIES[1:]:
        raise ValueError(f"no attack species {name!r}; the choices are {', '.join(SPECIES[1:])}")
    return name


Species = Annotated[str, AfterValidator(attack_species)]


class SourceSection(TableModel):
    """Base of all sources. ``weight``: relative share in a batch if several sources are mixed."""

    weight: float = Field(default=1.0, gt=0)


class DataSection(SourceSection):
    """``[data.train]`` and ``[data.dev]``: a rendered set, see `adsn.datasets.pairs.SyntheticSpec`. ``shapes`` with
    ``"scan"`` needs the ICT Face Model, see `synthetic.people.scan`."""

    family: Literal["A", "B"]
    subjects: tuple[int, int]
    bona_fide: int = Field(ge=1)
    per_attack: int = Field(ge=1)
    seed: int = Field(ge=0)
    frames: int = Field(default=1, ge=1)
    box_jitter: float = Field(default=0.05, ge=0, le=0.2)
    shapes: tuple[Literal["analytic", "scan"], ...] = Field(default=("analytic",), min_length=1)
    species: tuple[Species, ...] = Field(default=tuple(SPECIES[1:]), min_length=1)
    extra: dict[Species, Annotated[int, Field(ge=0)]] = {}

    @model_validator(mode="after")
    def extra_of_species(self) -> DataSection:
        absent = sorted(set(self.extra) - set(self.species))
        if absent:
            raise ValueError(f"extra: {', '.join(absent)} not in species")
        return self

    def spec(self, name: str, rule: CropRule) -> SyntheticSpec:
        """Return the specification of the set; ``rule`` cuts its crops."""
        return SyntheticSpec(name=name, rule=rule, **self.model_dump(exclude={"weight"}))


class PathTracedSection(SourceSection):
    """Path-traced pairs written by ``python -m adsn.cli.render``.

    ``root``: folder with one file per subject, or its parent, relative to the working directory. ``subjects``: first
    and one past the last subject number.
    """

    dataset: Literal["pathtraced"]
    root: Path
    subjects: tuple[int, int]
    box_jitter: float = Field(default=0.05, ge=0, le=0.2)

    def open(self, name: str, rule: CropRule) -> ShardPairs:
        """Open the set; ``rule`` cuts its crops.

        Raises:
            DatasetError: there is no file, or a file is damaged.
        """
        from adsn.datasets.shards import ShardPairs, shard_folder

        return ShardPairs(
            shard_folder(self.root), name=name, subjects=self.subjects, box_jitter=self.box_jitter, rule=rule
        )


class ListedSection(SourceSection):
    """A split of a data set on disk, see `adsn.datasets`. ``root``: its folder, relative to the working directory."""

    dataset: Literal["casia-surf", "cefa", "wmca", "recordings"]
    root: Path
    split: Literal["train", "dev", "test"]
    protocol: str | None = None
    form: str | None = None
    frames: int | None = Field(default=None, ge=1)
    max_skipped: float = Field(default=0.05, ge=0, le=1)

    def open(self, modalities: Sequence[str], rule: CropRule) -> ListedPairs:
        """Open the split; ``rule`` cuts its crops.

        Raises:
            DatasetError: the folder does not have the layout that the reader expects. The message names the place.
        """
        from adsn.datasets import open_dataset

        options = self.model_dump(exclude={"dataset", "root", "split", "max_skipped", "weight"})
        return open_dataset(
            self.dataset,
            self.root,
            split=self.split,
            modalities=modalities,
            rule=rule,
            max_skipped=self.max_skipped,
            **options,
        )


def section_kind(section: object) -> str:
    """Return the kind of a table according to its key ``dataset``: ``rendered``, ``pathtraced`` or ``listed``."""
    named = section.get("dataset") if isinstance(section, dict) else getattr(section, "dataset", None)
    return {None: "rendered", "pathtraced": "pathtraced"}.get(named, "listed")


AnySection = Annotated[
    Annotated[DataSection, Tag("rendered")]
    | Annotated[PathTracedSection, Tag("pathtraced")]
    | Annotated[ListedSection, Tag("listed")],
    Discriminator(section_kind),
]


def as_sections(value: object) -> object:
    """Wrap a single table in a list."""
    return value if isinstance(value, list | tuple) else [value]


Sources = Annotated[tuple[AnySection, ...], BeforeValidator(as_sections), Field(min_length=1)]
"""One table, or an array of tables whose sets are mixed."""


def shared_people(a: Sequence[AnySection], b: Sequence[AnySection]) -> tuple[AnySection, AnySection] | None:
    """Return a section of ``a`` and a section of ``b`` that share people, or None.

    Splits of public sets are disjoint, so only identical splits share people. The people of the two renderers are
    different.
    """
    for one in a:
        for other in b:
            if isinstance(one, ListedSection) or type(one) is not type(other):
                if one == other:
                    return one, other
                continue
            assert not isinstance(other, ListedSection)
            same_place = not isinstance(one, PathTracedSection) or one.root == getattr(other, "root", None)
            if same_place and max(one.subjects[0], other.subjects[0]) < min(one.subjects[1], other.subjects[1]):
                return one, other
    return None
