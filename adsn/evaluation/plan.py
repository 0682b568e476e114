"""Plan of the data sets for an export or an evaluation: a TOML file with one table per set."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from pydantic import Field, ValidationError

from adsn.datasets.sections import (
    AnySection,
    DataSection,
    PathTracedSection,
    Sources,
    TableModel,
    shared_people,
)
from adsn.training.recipe import describe, read_toml
from runtime.core.errors import ConfigError

FACE_MODEL = "ADSN_FACE_MODEL"
DEFAULT_PLAN = Path(__file__).parents[1] / "recipes" / "evaluation.toml"


class DataPlan(TableModel):
    """``[calibration]``: activation ranges. ``[dev]``: the threshold. ``[test.NAME]``: what is reported.

    ``max_bpcer``: the threshold is the strictest one with at most this BPCER on ``dev``.

    The key ``dataset`` of a table says whether its set is rendered (`DataSection`), path-traced (`PathTracedSection`)
    or read from disk (`ListedSection`). Several tables ``[[calibration]]`` or ``[[dev]]`` are combined to one set.
    """

    max_bpcer: float = Field(default=0.01, gt=0, lt=1)
    calibration: Sources
    dev: Sources
    test: dict[str, AnySection] = Field(min_length=1)


def default_plan() -> tuple[DataPlan, str]:
    """Return the shipped plan, and a note for the user if it had to be changed on this machine.

    Half of its heads are scan-derived, and part of it is path-traced. Without the face model, all rendered heads are
    analytic. Without path-traced pairs in the folder named in the plan, that part is left out.
    """
    plan = read_plan(DEFAULT_PLAN)
    notes = []
    if not os.environ.get(FACE_MODEL):
        plan = _changed(plan, _analytic)
        notes.append(f"{FACE_MODEL} is not set: rendered heads are analytic only")
    absent = {
        str(section.root)
        for section in (*plan.calibration, *plan.dev, *plan.test.values())
        if isinstance(section, PathTracedSection) and not section.root.exists()
    }
    if absent:
        plan = _changed(plan, _present)
        notes.append(f"nothing path-traced in {', '.join(sorted(absent))}: that part of the shipped plan is left out")
    note = f"{'; '.join(notes)}. The figures are not those of the model card." if notes else ""
    return plan, note


def _changed(plan: DataPlan, change: Callable[[AnySection], AnySection | None]) -> DataPlan:
    """Return the plan with ``change`` applied to each section. A section for which it returns None is left out."""

    def kept(sections: tuple[AnySection, ...]) -> tuple[AnySection, ...]:
        return tuple(new for section in sections if (new := change(section)) is not None)

    tests = {name: new for name, section in plan.test.items() if (new := change(section)) is not None}
    return plan.model_copy(update={"calibration": kept(plan.calibration), "dev": kept(plan.dev), "test": tests})


def _analytic(section: AnySection) -> AnySection:
    return section.model_copy(update={"shapes": ("analytic",)}) if isinstance(section, DataSection) else section


def _present(section: AnySection) -> AnySection | None:
    return None if isinstance(section, PathTracedSection) and not section.root.exists() else section


def read_plan(path: Path) -> DataPlan:
    """Read and check a plan.

    Raises:
        ConfigError: the file is missing or not TOML, entries are invalid, or a test set shares people with another set.
    """
    try:
        plan = DataPlan.model_validate(read_toml(path))
    except ValidationError as error:
        raise ConfigError(describe(path, error)) from error
    for name, test in plan.test.items():
        for other, sections in (("calibration", plan.calibration), ("dev", plan.dev)):
            clash = shared_people((test,), sections)
            if clash is not None and clash[0] == clash[1]:
                raise ConfigError(f"{path}: test.{name} and {other} are the same data.")
            if clash is not None:
                raise ConfigError(
                    f"{path}: test.{name} and {other} share identities; a test set must contain new people only."
                )
    return plan
