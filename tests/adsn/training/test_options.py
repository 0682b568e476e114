"""Options of a recipe and its command beyond a plain run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from adsn.datasets.cache import CachedPairs, open_cache
from adsn.datasets.pairs import SyntheticSpec
from adsn.network.checkpoint import load_checkpoint
from adsn.network.model import ADSN, NetworkConfig
from adsn.training.recipe import Recipe, read_recipe
from adsn.training.sampling import sampling_weights
from adsn.training.train import Trainer, TrainingError
from runtime.core.errors import ConfigError

RECIPE = """
name = "small"
[network]
modalities = ["rgb", "ir"]
width = 8
maps = 2
size = 64
[data.train]
family = "A"
subjects = [0, 6]
bona_fide = 12
per_attack = 1
species = ["print_matte", "partial"]
extra = { partial = 2 }
seed = 1
[data.dev]
family = "A"
subjects = [6, 10]
bona_fide = 4
per_attack = 2
species = ["print_matte", "partial"]
seed = 2
[train]
seed = 3
epochs = 1
batch = 8
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("options")


def written(root: Path, name: str, *changes: tuple[str, str]) -> Path:
    text = RECIPE
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = root / f"{name}.toml"
    path.write_text(text)
    return path


def sets(recipe: Recipe, root: Path) -> tuple[CachedPairs, CachedPairs]:
    cache = root / "cache"
    return open_cache(recipe.spec("train"), cache, workers=1), open_cache(recipe.spec("dev"), cache, workers=1)


def test_extra_presentations_of_a_species(root: Path) -> None:
    train, _ = sets(read_recipe(written(root, "extra")), root)
    assert Counter(train.species()) == {"bona_fide": 12, "print_matte": 1, "partial": 3}


def test_extra_keeps_the_digest_of_sets_without_it() -> None:
    spec = SyntheticSpec(name="x", family="A", subjects=(0, 2), bona_fide=1, per_attack=1, seed=0)
    assert "extra" not in spec.to_json()
    with pytest.raises(ValueError, match="partial"):
        SyntheticSpec(
            name="x",
            family="A",
            subjects=(0, 2),
            bona_fide=1,
            per_attack=1,
            seed=0,
            species=("print_matte",),
            extra={"partial": 1},
        )


def test_extra_of_a_species_left_out_is_a_mistake(root: Path) -> None:
    path = written(root, "wrong", ("extra = { partial = 2 }", "extra = { print_vinyl = 2 }"))
    with pytest.raises(ConfigError, match="print_vinyl not in species"):
        read_recipe(path)


def test_a_species_of_the_path_tracer_is_refused_in_a_table_of_the_fast_renderer(root: Path) -> None:
    mixed = written(root, "traced", ('"print_matte", "partial"', '"mask_relief", "partial"'))
    with pytest.raises(ConfigError, match=r"only the path tracer renders 'mask_relief'.*adsn\.cli\.render"):
        read_recipe(mixed)
    with pytest.raises(ValueError, match="fast renderer has no species 'mask_relief'"):
        SyntheticSpec("x", "A", (0, 2), 1, 1, 0, species=("mask_relief",))


@pytest.mark.parametrize(
    ("balance", "expected"),
    [
        ("class", {"bona_fide": 0.5, "print_matte": 0.125, "partial": 0.375}),
        ("species", {"bona_fide": 0.5, "print_matte": 0.25, "partial": 0.25}),
    ],
)
def test_balance_makes_kinds_equally_likely(root: Path, balance: str, expected: dict[str, float]) -> None:
    train, _ = sets(read_recipe(written(root, "balance")), root)
    weights = sampling_weights(train, balance)
    assert weights is not None
    weights /= weights.sum()
    kinds = np.array(train.species())
    for kind, share in expected.items():
        assert float(weights[torch.from_numpy(kinds == kind)].sum()) == pytest.approx(share)
    assert sampling_weights(train, "none") is None


def test_a_balanced_run_sees_as_many_attacks_as_faces(root: Path) -> None:
    recipe = read_recipe(
        written(root, "drawn", ("batch = 8", 'batch = 8\nbalance = "species"\n[augment]\ncopy_grey = 0.0'))
    )
    trainer = Trainer(recipe, *sets(recipe, root), root / "drawn")
    labels = torch.cat([batch.label for epoch in range(40) for batch, _ in trainer.batches(epoch)])
    assert 0.42 < float(labels.float().mean()) < 0.58
    plain = read_recipe(written(root, "plain", ("batch = 8", "batch = 8\n[augment]\ncopy_grey = 0.0")))
    unbalanced = Trainer(plain, *sets(plain, root), root / "plain")
    labels = torch.cat([batch.label for epoch in range(40) for batch, _ in unbalanced.batches(epoch)])
    assert float(labels.float().mean()) == 0.75


def test_mixed_precision_keeps_weights_and_losses_in_full_precision(root: Path) -> None:
    recipe = read_recipe(written(root, "bf16", ("batch = 8", 'batch = 8\nprecision = "bfloat16"')))
    trainer = Trainer(recipe, *sets(recipe, root), root / "bf16")
    seen: list[torch.dtype] = []
    trainer.network.streams[0].layer1.register_forward_hook(lambda module, args, out: seen.append(out.dtype))
    trainer.run()
    assert seen[0] is torch.bfloat16, "the network computed in full precision"
    assert seen[-1] is torch.float32, "the development set was scored in half precision"
    assert all(p.dtype is torch.float32 for p in trainer.network.parameters())
    assert np.isfinite(trainer.progress.curve[0]["loss"])


@pytest.mark.parametrize("modalities", [("ir", "depth"), ("rgb", "depth")])
def test_the_other_pairs_train(root: Path, modalities: tuple[str, str]) -> None:
    recipe = read_recipe(written(root, "-".join(modalities), ('["rgb", "ir"]', json.dumps(modalities))))
    out = root / "-".join(modalities)
    Trainer(recipe, *sets(recipe, root), out).run()
    network, record = load_checkpoint(out / "checkpoint.safetensors")
    assert network.config.modalities == modalities
    assert 0 <= record["curve"][0][f"dev_auc_{modalities[1]}"] <= 1


def test_starting_from_weights(root: Path) -> None:
    recipe = read_recipe(written(root, "first"))
    Trainer(recipe, *sets(recipe, root), root / "first").run()
    start = root / "first" / "checkpoint.safetensors"
    again = Trainer(recipe, *sets(recipe, root), root / "again", start=start)
    weights = load_checkpoint(start)[0].state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in again.network.state_dict().items())
    assert len(again.record()["started_from"]) == 64
    compared = read_recipe(written(root, "compared", ("maps = 2", "maps = 2\nmatch = 8")))
    trainer = Trainer(compared, *sets(compared, root), root / "compared", start=start)
    grown = trainer.network.state_dict()
    assert all(torch.equal(value, grown[name]) for name, value in weights.items()), "the comparison alone is new"
    trainer.run()
    assert trainer.progress.curve[-1]["match"] > 0
    back = Trainer(recipe, *sets(recipe, root), root / "back", start=root / "compared" / "checkpoint.safetensors")
    assert set(back.network.state_dict()) == set(weights)
    brightened = read_recipe(written(root, "brightened", ("maps = 2", "maps = 2\nir_level = 64")))
    bright = Trainer(brightened, *sets(brightened, root), root / "brightened", start=start).network
    assert bright.config.ir_level == 64
    assert all(torch.equal(value, weights[name]) for name, value in bright.state_dict().items())
    other = read_recipe(written(root, "other", ("maps = 2", "maps = 3")))
    with pytest.raises(TrainingError, match="another shape"):
        Trainer(other, *sets(other, root), root / "other", start=start)


def test_maps_drawn_from_layer_2_have_the_same_grid() -> None:
    images = torch.zeros(2, 64, 64, 3, dtype=torch.uint8), torch.zeros(2, 64, 64, 1, dtype=torch.uint8)
    shapes = {}
    for layer in (2, 3):
        network = ADSN(NetworkConfig(width=8, maps=3, size=64, maps_from=layer)).eval()
        assert NetworkConfig.from_json(network.config.to_json()) == network.config
        shapes[layer] = network(*images)[2].shape
    assert shapes[2] == shapes[3] == (2, 2, 3, 8, 8)
    with pytest.raises(ValueError, match="maps_from"):
        NetworkConfig(maps_from=1)


def test_two_processes_train_one_network(root: Path) -> None:
    """Imitates a machine with two GPUs, with CPUs in their place."""
    path = written(root, "two")
    sets(read_recipe(path), root)
    out = root / "two"
    programs = Path(sys.executable).parent
    command = [str(programs / "torchrun"), "--standalone", "--nproc-per-node", "2", "--no-python"]
    command += [
        str(programs / "adsn-train"),
        str(path),
        "--out",
        str(out),
        "--cache",
        str(root / "cache"),
        "--threads",
        "1",
    ]
    run = subprocess.run(
        command, capture_output=True, text=True, timeout=240, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert run.returncode == 0, run.stderr[-2000:]
    assert run.stdout.count("epoch 1:") == 1, "only the first process reports"
    network, record = load_checkpoint(out / "checkpoint.safetensors")
    assert record["machine"]["processes"] == 2
    alone = Trainer(read_recipe(path), *sets(read_recipe(path), root), root / "alone")
    moved = [
        name
        for name, value in alone.network.state_dict().items()
        if value.dtype.is_floating_point and not torch.equal(value, network.state_dict()[name])
    ]
    assert "head.weight" in moved
    assert "streams.1.stem.weight" in moved
