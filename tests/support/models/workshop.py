"""A tiny trained network and its export."""

from __future__ import annotations

from pathlib import Path

import pytest

from adsn.cli.train import open_set
from adsn.evaluation.plan import read_plan
from adsn.training.recipe import read_recipe
from adsn.training.train import Trainer
from export.build import ExportOptions, ExportResult, ExportSource, build
from tests.support.models.recipes import RECIPE

PLAN = """
[[calibration]]
family = "A"
subjects = [0, 8]
bona_fide = 4
per_attack = 2
seed = 5
[[calibration]]
family = "B"
subjects = [0, 8]
bona_fide = 4
per_attack = 2
seed = 5
[[dev]]
family = "A"
subjects = [8, 40]
bona_fide = 300
per_attack = 4
seed = 6
[[dev]]
family = "B"
subjects = [8, 40]
bona_fide = 300
per_attack = 2
seed = 8
[test.held-out]
family = "B"
subjects = [50, 60]
bona_fide = 12
per_attack = 4
seed = 7
"""


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a tiny trained checkpoint, a plan, and a cache."""
    folder = tmp_path_factory.mktemp("workshop")
    (folder / "recipe.toml").write_text(RECIPE)
    (folder / "plan.toml").write_text(PLAN)
    recipe = read_recipe(folder / "recipe.toml")
    from rich.progress import Progress

    with Progress(disable=True) as progress:
        train = open_set(recipe.spec("train"), folder / "cache", progress, 1)
        dev = open_set(recipe.spec("dev"), folder / "cache", progress, 1)
    Trainer(recipe, train, dev, folder).run()
    return folder


@pytest.fixture(scope="session")
def built(workshop: Path) -> ExportResult:
    source = ExportSource(
        workshop / "checkpoint.safetensors", read_plan(workshop / "plan.toml"), workshop / "cache", workers=1
    )
    options = ExportOptions(
        artifacts=("int8-cpu", "int8-trt", "int8-trt11"), min_samples=20, sensitivity=True, version="0.0.1"
    )
    return build(source, options)
