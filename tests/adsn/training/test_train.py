"""Recipes, the rendered cache, and a resumed run that gives the result of an uninterrupted one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from adsn.datasets.cache import CachedPairs, cache_key, open_cache
from adsn.datasets.pairs import SyntheticPairs, SyntheticSpec
from adsn.datasets.sections import shared_people
from adsn.evaluation.plan import DEFAULT_PLAN, default_plan, read_plan
from adsn.network.checkpoint import CheckpointError, load_checkpoint, read_metadata, save_checkpoint
from adsn.network.model import ADSN, Attention, NetworkConfig
from adsn.training.augment import AugmentConfig, augment, copied_grey
from adsn.training.recipe import Recipe, read_recipe
from adsn.training.train import Trainer, TrainingError
from runtime.core.errors import ConfigError
from runtime.imaging.crop import CropRule
from tests.support.models.recipes import RECIPE


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    path = tmp_path_factory.mktemp("recipe") / "tiny.toml"
    path.write_text(RECIPE)
    return read_recipe(path)


@pytest.fixture(scope="module")
def sets(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> tuple[CachedPairs, CachedPairs]:
    root = tmp_path_factory.mktemp("cache")
    return open_cache(recipe.spec("train"), root, workers=1), open_cache(recipe.spec("dev"), root, workers=1)


def test_the_cache_holds_what_the_set_renders(recipe: Recipe, sets: tuple[CachedPairs, CachedPairs]) -> None:
    cached, rendered = sets[0], SyntheticPairs(recipe.spec("train"))
    assert len(cached) == len(rendered) == 52
    assert np.array_equal(cached.labels(), rendered.labels())
    for index in (0, 15, 16, 51):
        a, b = cached[index], rendered[index]
        assert (a.label, a.species, a.subject, a.presentation) == (b.label, b.species, b.subject, b.presentation)
        for modality in ("rgb", "ir", "depth"):
            assert np.array_equal(a.crops[modality], b.crops[modality])


def test_a_cache_is_addressed_by_its_content(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache_key(recipe.spec("train")) != cache_key(recipe.spec("dev"))
    before = cache_key(recipe.spec("train"))
    monkeypatch.setattr("adsn.datasets.cache.code_digest", lambda: "another renderer")
    assert cache_key(recipe.spec("train")) != before


def test_a_failed_rendering_leaves_nothing(recipe: Recipe, tmp_path: Path) -> None:
    def interrupt(count: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        open_cache(recipe.spec("dev"), tmp_path, workers=1, tick=interrupt)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def straight(
    recipe: Recipe, sets: tuple[CachedPairs, CachedPairs], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Trainer]:
    out = tmp_path_factory.mktemp("straight")
    trainer = Trainer(recipe, *sets, out)
    trainer.run()
    return out, trainer


def test_a_run_leaves_a_checkpoint_and_a_record(straight: tuple[Path, Trainer], recipe: Recipe) -> None:
    out, trainer = straight
    record = json.loads((out / "train.json").read_text())
    assert record["recipe"] == recipe.model_dump(mode="json")
    assert record["recipe"]["train"]["seed"] == 3
    assert [row["epoch"] for row in record["curve"]] == [1, 2]
    assert {"loss", "fused", "centre", "overlap", "dev_auc"} <= set(record["curve"][0])
    assert {"python", "torch", "numpy", "opencv"} <= set(record["versions"])
    assert record["data"]["tiny-train"]["sha256"] == trainer.train_set.digest()
    network, training = load_checkpoint(out / "checkpoint.safetensors")
    assert training == record
    for name, value in network.state_dict().items():
        assert torch.equal(value, trainer.network.state_dict()[name])


def test_a_resumed_run_repeats_the_uninterrupted_one(
    straight: tuple[Path, Trainer], recipe: Recipe, sets: tuple[CachedPairs, CachedPairs], tmp_path: Path
) -> None:
    class Stop(Exception):
        pass

    def stop_after_one(kind: str, values: dict[str, float]) -> None:
        if kind == "epoch":
            raise Stop

    with pytest.raises(Stop):
        Trainer(recipe, *sets, tmp_path).run(stop_after_one)
    second = Trainer(recipe, *sets, tmp_path)
    assert second.resume()
    assert second.progress.epoch == 1
    second.run()
    for name, value in straight[1].network.state_dict().items():
        assert torch.equal(value, second.network.state_dict()[name]), name
    curves = [
        [{k: v for k, v in row.items() if k != "seconds"} for row in t.progress.curve] for t in (straight[1], second)
    ]
    assert curves[0] == curves[1]


def test_nothing_to_resume(recipe: Recipe, sets: tuple[CachedPairs, CachedPairs], tmp_path: Path) -> None:
    assert Trainer(recipe, *sets, tmp_path).resume() is False


def test_another_recipe_is_not_resumed(
    straight: tuple[Path, Trainer], recipe: Recipe, sets: tuple[CachedPairs, CachedPairs]
) -> None:
    other = recipe.model_copy(update={"name": "other"})
    with pytest.raises(TrainingError, match="another recipe"):
        Trainer(other, *sets, straight[0]).resume()


def test_too_few_pairs_for_a_batch(recipe: Recipe, sets: tuple[CachedPairs, CachedPairs], tmp_path: Path) -> None:
    large = recipe.model_copy(update={"train": recipe.train.model_copy(update={"batch": 64})})
    with pytest.raises(TrainingError, match="fewer than one batch"):
        Trainer(large, *sets, tmp_path)


def test_augmentation_keeps_types_and_blanks_one_stream_at_most() -> None:
    generator = torch.Generator().manual_seed(0)
    first = torch.randint(0, 256, (64, 32, 32, 3), dtype=torch.uint8)
    second = torch.randint(1, 256, (64, 32, 32, 1), dtype=torch.uint8)
    a, b, _, weight, _, _ = augment(
        first,
        second,
        torch.ones(len(first), dtype=torch.int64),
        ("rgb", "ir"),
        AugmentConfig(drop=0.5, dark=0, copy_grey=0),
        generator,
    )
    assert a.dtype == b.dtype == torch.uint8
    assert a.shape == first.shape
    assert (weight.sum(1) == 1).all()
    assert all((a[i] == 0).all() == (weight[i, 0] == 0) for i in range(64))
    untouched = augment(
        first,
        second,
        torch.ones(len(first), dtype=torch.int64),
        ("rgb", "ir"),
        AugmentConfig(drop=0, copy_grey=0),
        torch.Generator().manual_seed(1),
    ).stream_weight
    assert (untouched == 1).all()


def test_a_grey_copy_is_an_attack_whoever_is_in_it() -> None:
    rgb = torch.randint(0, 256, (200, 8, 8, 3), dtype=torch.uint8)
    ir = torch.zeros(200, 8, 8, 1, dtype=torch.uint8)
    label = torch.ones(200, dtype=torch.int64)
    copy, changed = copied_grey(rgb, ir, label, 0.5, torch.Generator().manual_seed(3))
    copied = changed == 0
    assert 60 < int(copied.sum()) < 140
    assert (copy[~copied] == 0).all()
    grey = (rgb[copied].float() * torch.tensor([0.299, 0.587, 0.114])).sum(3, keepdim=True)
    assert (copy[copied].float() - grey).abs().max() <= 0.51
    assert (label == 1).all()
    # Neither half alone teaches anything.
    _, _, after, weight, matches, _ = augment(
        rgb, ir, label, ("rgb", "ir"), AugmentConfig(copy_grey=0.5), torch.Generator().manual_seed(3)
    )
    assert (weight[after == 0] == 0).all()
    assert (matches[after == 0] == -1).all(), "it is no question whether they belong together"
    assert (after == 0).any()


def test_depth_is_not_repainted() -> None:
    depth = 400 + torch.rand(8, 16, 16, 1)
    ir = torch.zeros(8, 16, 16, 1, dtype=torch.uint8)
    _, out, *_ = augment(
        ir,
        depth,
        torch.ones(len(ir), dtype=torch.int64),
        ("ir", "depth"),
        AugmentConfig(drop=0),
        torch.Generator().manual_seed(1),
    )
    assert all(torch.equal(o, d) or torch.equal(o, d.flip(1)) for o, d in zip(out, depth, strict=True))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (("epochs = 2", "epochs = 0"), r"train\.epochs"),
        (("batch = 8", "batch = 8\nbatches = 3"), r"train\.batches"),
        (("width = 8", "width = 9"), "width"),
        (("subjects = [8, 12]", "subjects = [7, 12]"), "share identities"),
        (('family = "A"', 'family = "Z"'), "family"),
        (("[train]", "[train"), "TOML"),
    ],
)
def test_wrong_recipes_name_file_and_key(tmp_path: Path, change: tuple[str, str], match: str) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(RECIPE.replace(*change))
    with pytest.raises(ConfigError, match=match) as caught:
        read_recipe(path)
    assert "wrong.toml" in str(caught.value)


def test_shipped_recipes_and_plan_read() -> None:
    folder = DEFAULT_PLAN.parent
    names = [p.name for p in folder.glob("*.toml") if not p.name.endswith("evaluation.toml")]
    assert names
    plan = read_plan(DEFAULT_PLAN)
    for name in names:
        recipe = read_recipe(folder / name)
        for used_by in (recipe.data.train, recipe.data.dev):
            assert shared_people(tuple(plan.test.values()), used_by) is None, "a test identity was trained on"


def test_the_shipped_plan_leaves_out_what_is_not_there_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ADSN_FACE_MODEL", "set")
    plan, note = default_plan()
    assert "nothing path-traced in runs/pathtraced, runs/pathtraced-masks, runs/pathtraced-masks-test, " in note
    assert (len(plan.calibration), len(plan.dev), sorted(plan.test)) == (1, 1, ["family-A", "family-B"])
    (tmp_path / "runs" / "pathtraced").mkdir(parents=True)
    plan, note = default_plan()
    assert "nothing path-traced in runs/pathtraced-masks, runs/pathtraced-masks-test, runs/pathtraced-test:" in note
    assert (len(plan.calibration), len(plan.dev), sorted(plan.test)) == (2, 2, ["family-A", "family-B"])
    for name in ("pathtraced-masks", "pathtraced-test", "pathtraced-masks-test"):
        (tmp_path / "runs" / name).mkdir()
    plan, note = default_plan()
    assert note == ""
    assert {"pathtraced-B", "pathtraced-masks-B"} <= set(plan.test)


def test_a_plan_that_tests_on_known_people_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    path.write_text(DEFAULT_PLAN.read_text().replace("subjects = [2000, 2400]", "subjects = [1100, 1300]"))
    with pytest.raises(ConfigError, match="share identities"):
        read_plan(path)


def test_damaged_checkpoints(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    with pytest.raises(CheckpointError, match="no such"):
        load_checkpoint(path)
    path.write_bytes(b"not safetensors at all")
    with pytest.raises(CheckpointError, match="not a readable"):
        read_metadata(path)
    from safetensors.torch import save_file

    save_file({"x": torch.zeros(1)}, path)
    with pytest.raises(CheckpointError, match="not a checkpoint of this project"):
        load_checkpoint(path)
    network = ADSN(NetworkConfig(width=8, size=64))
    save_checkpoint(path, network)
    data = path.read_bytes().replace(b'\\"width\\": 8', b'\\"width\\":16')
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match="do not fit"):
        load_checkpoint(path)


def test_sets_with_different_subjects_share_no_identity() -> None:
    def subjects(first: int, last: int) -> set[str]:
        spec = SyntheticSpec("x", "A", (first, last), 6, 2, seed=0, rule=CropRule(size=64))
        pairs = SyntheticPairs(spec)
        return {pairs[i].subject for i in range(len(pairs))}

    assert not subjects(0, 4) & subjects(4, 8)


def test_training_keeps_the_values_of_an_attention_cell_equal(straight: tuple[Path, Trainer]) -> None:
    for stream in straight[1].network.attention:
        assert isinstance(stream, Attention)
        phases = stream.maps.weight.detach().reshape(-1, 4, stream.maps.in_channels)
        assert torch.equal(phases[:, 0], phases[:, 3])
        assert float(phases.std()) > 0
