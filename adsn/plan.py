"""Which data an export or an evaluation uses: a TOML file with one table a set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Discriminator, Field, Tag, ValidationError

from adsn.data import SyntheticSpec
from adsn.recipe import DataSection, Section, describe, read_toml
from runtime.errors import ConfigError
from runtime.preprocess import CropRule

if TYPE_CHECKING:
    from adsn.datasets import ListedPairs

DEFAULT_PLAN = Path(__file__).parent / "recipes" / "evaluation.toml"


class ListedSection(Section):
    """A split of a data set on disk, see `adsn.datasets`. ``root``: its folder, from where the command runs."""

    dataset: Literal["casia-surf", "cefa", "wmca", "recordings"]
    root: Path
    split: Literal["train", "dev", "test"]
    protocol: str | None = None
    form: str | None = None
    frames: int | None = Field(default=None, ge=1)
    max_skipped: float = Field(default=0.05, ge=0, le=1)

    def open(self, modalities: Sequence[str], size: int) -> ListedPairs:
        """Read its lists.

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
            rule=CropRule(size=size),
            max_skipped=self.max_skipped,
            **options,
        )


def kind_of(section: object) -> str:
    """Which of the two sections a table is: one with ``dataset`` is on disk."""
    named = section.get("dataset") if isinstance(section, dict) else getattr(section, "dataset", None)
    return "rendered" if named is None else "listed"


AnySection = Annotated[
    Annotated[DataSection, Tag("rendered")] | Annotated[ListedSection, Tag("listed")], Discriminator(kind_of)
]


class DataPlan(Section):
    """``[calibration]``: activation ranges. ``[dev]``: the threshold. ``[test.NAME]``: what is reported.

    Each is rendered (`adsn.recipe.DataSection`) or, with a key ``dataset``, read from disk (`ListedSection`).
    """

    calibration: AnySection
    dev: AnySection
    test: dict[str, AnySection] = Field(min_length=1)

    def spec(self, name: str, section: DataSection, size: int) -> SyntheticSpec:
        return SyntheticSpec(name=name, rule=CropRule(size=size), **section.model_dump())


def read_plan(path: Path) -> DataPlan:
    """Read and check a plan.

    Raises:
        ConfigError: missing, no TOML, wrong entries, or a test set that shares identities with another use.
    """
    try:
        plan = DataPlan.model_validate(read_toml(path))
    except ValidationError as error:
        raise ConfigError(describe(path, error)) from error
    for name, test in plan.test.items():
        for other, section in (("calibration", plan.calibration), ("dev", plan.dev)):
            if isinstance(test, ListedSection) or isinstance(section, ListedSection):
                # Lists of public sets are disjoint by themselves; a rendered person is in none of them.
                if test == section:
                    raise ConfigError(f"{path}: test.{name} and {other} are the same data.")
                continue
            if max(test.subjects[0], section.subjects[0]) < min(test.subjects[1], section.subjects[1]):
                raise ConfigError(
                    f"{path}: test.{name} and {other} share identities; a test must hold new people only."
                )
    return plan
