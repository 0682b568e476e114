"""Tables that recipes and plans share: which data to use, rendered or from disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

from runtime.imaging.crop import CropRule
from synthetic import SPECIES

if TYPE_CHECKING:
    from adsn.datasets import ListedPairs


class TableModel(BaseModel):
    """Base of all tables: unknown keys are mistakes."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def attack_species(name: str) -> str:
    """``name``, when the synthetic sensor renders such attacks."""
    if name not in SPECIES[1:]:
        raise ValueError(f"no attack species {name!r}; there are {', '.join(SPECIES[1:])}")
    return name


Species = Annotated[str, AfterValidator(attack_species)]


class DataSection(TableModel):
    """``[data.train]`` and ``[data.dev]``: a rendered set, see `adsn.datasets.pairs.SyntheticSpec`. ``species`` leaves
    some out; ``extra`` adds presentations of single species; ``shapes`` with ``"scan"`` needs the ICT Face Model, see
    `synthetic.people.scan`."""

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


class ListedSection(TableModel):
    """A split of a data set on disk, see `adsn.datasets`. ``root``: its folder, from where the command runs."""

    dataset: Literal["casia-surf", "cefa", "wmca", "recordings"]
    root: Path
    split: Literal["train", "dev", "test"]
    protocol: str | None = None
    form: str | None = None
    frames: int | None = Field(default=None, ge=1)
    max_skipped: float = Field(default=0.05, ge=0, le=1)

    def open(self, modalities: Sequence[str], rule: CropRule) -> ListedPairs:
        """Read its lists; crops will be cut by ``rule``.

        Raises:
            DatasetError: it is not laid out as its reader expects; says where.
        """
        from adsn.datasets import open_dataset

        options = self.model_dump(exclude={"dataset", "root", "split", "max_skipped"})
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
    """Which of the two sections a table is: one with ``dataset`` is on disk."""
    named = section.get("dataset") if isinstance(section, dict) else getattr(section, "dataset", None)
    return "rendered" if named is None else "listed"


AnySection = Annotated[
    Annotated[DataSection, Tag("rendered")] | Annotated[ListedSection, Tag("listed")], Discriminator(section_kind)
]
