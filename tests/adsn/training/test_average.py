"""Averages of checkpoints: the weights, the record, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from adsn.cli.average import average_command
from adsn.network.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from adsn.network.model import ADSN, NetworkConfig
from adsn.training.average import average
from tests.support.models.crops import crops


def saved(path: Path, seed: int, match: int = 0, maps: int = 2) -> Path:
    torch.manual_seed(seed)
    save_checkpoint(path, ADSN(NetworkConfig(width=8, maps=maps, size=64, match=match)), {"name": str(seed)})
    return path


def test_shares_weigh_and_new_parameters_stay(tmp_path: Path) -> None:
    new, old = saved(tmp_path / "new", 1, match=8), saved(tmp_path / "old", 2)
    average([new, old], [3.0, 1.0], tmp_path / "out")
    (a, _), (b, _), (mean, record) = (load_checkpoint(path) for path in (new, old, tmp_path / "out"))
    assert mean.config == a.config
    values = mean.state_dict()
    for name, value in b.state_dict().items():
        assert torch.allclose(values[name].float(), 0.75 * a.state_dict()[name] + 0.25 * value, atol=1e-6), name
    compared = [name for name in values if name.startswith("matching.")]
    assert compared
    assert all(torch.equal(values[name], a.state_dict()[name]) for name in compared)
    assert record["name"] == "1"
    assert [entry["share"] for entry in record["averaged"]] == [3.0, 1.0]


def test_a_match_offset_moves_the_logit_alone(tmp_path: Path) -> None:
    one = saved(tmp_path / "one", 1, match=8)
    average([one], [1.0], tmp_path / "out", -2.0)
    average([tmp_path / "out"] * 2, [1.0, 1.0], tmp_path / "again", 0.5)
    images = crops("rgb", 4), crops("ir", 4)
    before, after, last = (load_checkpoint(tmp_path / name) for name in ("one", "out", "again"))
    outputs = [network.eval().features(*images) for network, _ in (before, after, last)]
    logits = [out.match for out in outputs if out.match is not None]
    assert torch.allclose(logits[1], logits[0] - 2.0, atol=1e-4)
    assert torch.allclose(logits[2], logits[0] - 1.5, atol=1e-4)
    assert torch.allclose(outputs[0].logit, outputs[1].logit, atol=1e-5)
    assert (after[1]["match_offset"], last[1]["match_offset"]) == (-2.0, -1.5)
    assert "averaged" not in after[1]
    plain = saved(tmp_path / "plain", 1)
    with pytest.raises(CheckpointError, match="does not compare its streams"):
        average([plain, plain], [1.0, 1.0], tmp_path / "none", 1.0)


def test_what_cannot_be_averaged_is_refused(tmp_path: Path) -> None:
    one, other = saved(tmp_path / "one", 1), saved(tmp_path / "other", 1, maps=3)
    with pytest.raises(CheckpointError, match="another shape"):
        average([one, other], [1.0, 1.0], tmp_path / "out")
    for shares in ([1.0], [1.0, 0.0], [1.0, -1.0]):
        with pytest.raises(ValueError, match="positive share"):
            average([one, one], shares, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_command_says_what_is_wrong_in_one_line(tmp_path: Path) -> None:
    import typer

    app = typer.Typer()
    app.command()(average_command)
    one = saved(tmp_path / "one", 1)
    done = CliRunner().invoke(app, [str(one), str(one), "--out", str(tmp_path / "out")])
    assert done.exit_code == 0
    assert (tmp_path / "out").is_file()
    wrong = CliRunner().invoke(app, [str(one), str(tmp_path / "none"), "--out", str(tmp_path / "out")])
    assert wrong.exit_code == 2
    assert "no such checkpoint" in wrong.output
