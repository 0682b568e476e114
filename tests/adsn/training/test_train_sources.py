"""Training on recordings, path-traced sets and mixtures of sources."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from rich.progress import Progress

from adsn.cli.train import open_part
from adsn.datasets import DatasetError, open_recordings
from adsn.datasets.cache import store
from adsn.evaluation.plan import DEFAULT_PLAN, read_plan
from adsn.network.checkpoint import load_checkpoint
from adsn.training.recipe import read_recipe
from adsn.training.train import Trainer
from export.card import trained_species
from export.manifest import summary_of
from runtime.core.errors import ConfigError
from runtime.imaging.crop import CropRule
from tests.support.models.dataset_trees import picture
from tests.support.models.recipes import RECIPE


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    """Eight people recorded on one's own rig, four in each split, with one image missing."""
    rows = ["presentation,subject,species,sensor,split"]
    for i in range(8):
        kind, split = ("bona_fide" if i % 2 else "print_matte"), ("train" if i < 4 else "dev")
        rows.append(f"p{i},person{i},{kind},rig,{split}")
        for number in range(6):
            picture(tmp_path / "own" / f"p{i}" / f"{number:04d}-rgb.png", 40 + 20 * i, channels=3)
            picture(tmp_path / "own" / f"p{i}" / f"{number:04d}-ir.png", 200 - 20 * i)
    (tmp_path / "own" / "recordings.csv").write_text("\n".join(rows) + "\n")
    (tmp_path / "own" / "p0" / "0003-ir.png").unlink()
    return tmp_path / "own"


def on_disk(recordings: Path) -> str:
    """The tiny recipe with data from disk."""
    tables = "".join(
        f'[data.{split}]\ndataset = "recordings"\nroot = "{recordings}"\nsplit = "{split}"\n'
        for split in ("train", "dev")
    )
    return RECIPE[: RECIPE.index("[data.train]")] + tables + RECIPE[RECIPE.index("[train]") :]


def test_training_on_recordings(recordings: Path, tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text(on_disk(recordings))
    code = "from adsn.cli.train import main; main()"
    command = [sys.executable, "-c", code, str(path), "--out", str(tmp_path / "run"), "--cache", str(tmp_path / "c")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False,
                          env={**os.environ, "COLUMNS": "200"})  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "train: 1 of 24 skipped: no ir" in done.stdout
    record = json.loads((tmp_path / "run" / "train.json").read_text())
    assert record["data"]["own-train"]["pairs"] == 23
    assert record["recipe"]["data"]["train"][0]["dataset"] == "recordings"
    # A model trained on images of people must not call itself synthetic.
    _, training = load_checkpoint(tmp_path / "run" / "checkpoint.safetensors")
    plan = read_plan(DEFAULT_PLAN)
    assert summary_of(training, plan) == (
        "Trained on recordings, tested on synthetic: what it does elsewhere nobody has measured."
    )


def test_training_on_two_sources(recordings: Path, tmp_path: Path) -> None:
    head, rest = RECIPE.split("[data.dev]")
    rendered = head.replace("[data.train]", "[[data.train]]")
    listed = f'[[data.train]]\nweight = 3.0\ndataset = "recordings"\nroot = "{recordings}"\nsplit = "train"\n'
    path = tmp_path / "both.toml"
    path.write_text(f"{rendered}{listed}[data.dev]{rest}")
    recipe = read_recipe(path)
    with Progress(disable=True) as progress:
        train = open_part(recipe, "train", tmp_path / "cache", progress, 1)
        dev = open_part(recipe, "dev", tmp_path / "cache", progress, 1)
    assert len(train) == 52 + 23
    trainer = Trainer(recipe, train, dev, tmp_path / "run")
    firsts = [batch.label.numpy() for batch, _ in trainer.batches(0)]
    assert len(firsts) == (52 + 23) // 8
    chances = trainer.chances
    assert chances is not None
    assert float(chances[52:].sum()) == pytest.approx(0.75)
    trainer.run()
    _, training = load_checkpoint(tmp_path / "run" / "checkpoint.safetensors")
    assert training["data"]["tiny-train"]["pairs"] == 75
    assert training["data"]["tiny-train"]["species"] == dict(sorted(Counter(train.species()).items()))
    assert trained_species(training) == sorted(set(train.species()) - {"bona_fide"})
    assert summary_of(training, read_plan(DEFAULT_PLAN)).startswith("Trained on recordings")


def test_sources_that_share_people_with_dev_are_refused(tmp_path: Path) -> None:
    head, rest = RECIPE.split("[data.dev]")
    more = 'family = "B"\nsubjects = [9, 30]\nbona_fide = 4\nper_attack = 1\nseed = 5\n'
    path = tmp_path / "both.toml"
    path.write_text(f"{head.replace('[data.train]', '[[data.train]]')}[[data.train]]\n{more}[data.dev]{rest}")
    with pytest.raises(ConfigError, match="share identities"):
        read_recipe(path)


def test_a_missing_path_traced_source_names_what_makes_it(tmp_path: Path) -> None:
    head, rest = RECIPE.split("[data.dev]")
    traced = f'[[data.train]]\ndataset = "pathtraced"\nroot = "{tmp_path}/none"\nsubjects = [0, 4]\n'
    path = tmp_path / "both.toml"
    path.write_text(f"{head.replace('[data.train]', '[[data.train]]')}{traced}[data.dev]{rest}")
    recipe = read_recipe(path)
    with Progress(disable=True) as progress, pytest.raises(DatasetError, match=r"python -m adsn\.cli\.render"):
        open_part(recipe, "train", tmp_path / "cache", progress, 1)


def test_a_set_on_disk_is_stored_as_it_is_read(recordings: Path, tmp_path: Path) -> None:
    pairs = open_recordings(recordings, split="dev", rule=CropRule(size=64))
    stored = store(pairs, tmp_path / "cache")
    assert len(stored) == len(pairs) == 24
    assert np.array_equal(stored.labels(), pairs.labels())
    assert set(stored.arrays) == {"rgb", "ir"}
    for i in (0, 23):
        assert stored[i].subject == pairs[i].subject
        assert all(np.array_equal(stored[i].crops[m], pairs[i].crops[m]) for m in ("rgb", "ir"))
    assert store(pairs, tmp_path / "cache").folder == stored.folder
    picture(recordings / "p5" / "0000-ir.png", 3)
    changed = store(open_recordings(recordings, split="dev", rule=CropRule(size=64)), tmp_path / "cache")
    assert changed.folder != stored.folder


def test_a_damaged_picture_leaves_no_cache(recordings: Path, tmp_path: Path) -> None:
    (recordings / "p5" / "0000-ir.png").write_bytes(b"\x89PNG")
    with pytest.raises(DatasetError, match=r"0000-ir\.png"):
        store(open_recordings(recordings, split="dev"), tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_training_and_dev_must_differ(recordings: Path, tmp_path: Path) -> None:
    path = tmp_path / "same.toml"
    path.write_text(on_disk(recordings).replace('split = "dev"', 'split = "train"'))
    with pytest.raises(ConfigError, match="are the same data"):
        read_recipe(path)
