"""Which data an export or an evaluation uses: a TOML file with one table a set."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import Field, ValidationError

from adsn.datasets.pairs import SyntheticSpec
from adsn.datasets.sections import AnySection, DataSection, ListedSection, TableModel
from adsn.training.recipe import describe, read_toml
from runtime.core.errors import ConfigError
from runtime.imaging.crop import CropRule

FACE_MODEL = "ADSN_FACE_MODEL"
DEFAULT_PLAN = Path(__file__).parents[1] / "recipes" / "evaluation.toml"


class DataPlan(TableModel):
    """``[calibration]``: activation ranges. ``[dev]``: the threshold. ``[test.NAME]``: what is reported.

    ``max_bpcer``: the threshold is the strictest one with at most this BPCER on ``dev``.

    Each is rendered (`adsn.training.recipe.DataSection`) or, with a key ``dataset``, read from disk (`ListedSection`).
    """

    max_bpcer: float = Field(default=0.01, gt=0, lt=1)
    calibration: AnySection
    dev: AnySection
    test: dict[str, AnySection] = Field(min_length=1)

    def spec(self, name: str, section: DataSection, rule: CropRule) -> SyntheticSpec:
        """Return the specification of a rendered set whose crops are cut by ``rule``."""
        return SyntheticSpec(name=name, rule=rule, **section.model_dump())


def default_plan() -> tuple[DataPlan, str]:
    """Return the shipped plan, and a note for people where this machine changes it.

    Half of its heads are scan-derived. Where no face model is set, all heads are analytic instead.
    """
    plan = read_plan(DEFAULT_PLAN)
    if os.environ.get(FACE_MODEL):
        return plan, ""
    tests = {name: _analytic(section) for name, section in plan.test.items()}
    changes = {"calibration": _analytic(plan.calibration), "dev": _analytic(plan.dev), "test": tests}
    note = (
        f"{FACE_MODEL} is not set: the shipped plan renders analytic heads only, so its figures are not those of the "
        "model card."
    )
    return plan.model_copy(update=changes), note


def _analytic(section: DataSection | ListedSection) -> DataSection | ListedSection:
    return section.model_copy(update={"shapes": ("analytic",)}) if isinstance(section, DataSection) else section


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
