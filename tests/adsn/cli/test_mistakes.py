"""Errors in the training commands give a single line with the remedy."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import pytest
import torch

from adsn.network.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from adsn.network.model import ADSN, NetworkConfig
from adsn.training.parallel import require_device
from adsn.training.train import STATE_FILE
from runtime.core.errors import ConfigError
from runtime.liveness.open import default_bundle
from tests.support.models.dataset_trees import picture
from tests.support.models.recipes import RECIPE

LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 9\n"
TRAIN, EVAL, EXPORT = "adsn.cli.train", "adsn.cli.evaluate", "export.cli"
HEAVY = ["torch", "onnx", "onnxslim", "safetensors", "scipy", "h5py"]


@dataclass(frozen=True)
class Done:
    """Result of a command."""

    returncode: int
    stdout: str
    stderr: str


def without_extras(program: str, *arguments: object) -> Done:
    """Run a console script as if no extra were installed."""
    code = f"import sys; sys.modules.update(dict.fromkeys({HEAVY!r}))\nfrom {program} import main; main()"
    command = [sys.executable, "-c", code, *map(str, arguments)]
    env = {**os.environ, "COLUMNS": "200"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=env)
    return Done(done.returncode, done.stdout, done.stderr)


Call = Callable[..., Done]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Call:
    """Run a console script in this process, which has already loaded PyTorch."""
    monkeypatch.setenv("COLUMNS", "200")

    def run(program: str, *arguments: object) -> Done:
        monkeypatch.setattr(sys, "argv", [program, *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            import_module(program).main()
        out, err = capfd.readouterr()
        return Done(int(ended.value.code or 0), out, err)

    return run


def line_of(done: Done, code: int) -> str:
    """Return the only line on standard error."""
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode == code, done.stderr
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("error: ")
    return line


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE)
    return path


@pytest.mark.parametrize("program", [TRAIN, EVAL, EXPORT])
def test_help_needs_no_extra(program: str) -> None:
    done = without_extras(program, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Usage:" in done.stdout


@pytest.mark.parametrize(
    ("program", "arguments", "extra"),
    [
        (TRAIN, ("adsn/recipes/rgb-ir.toml",), "train"),
        (EVAL, ("models/adsn-rgb-ir",), "train"),
        (EXPORT, ("--int8",), "export"),
    ],
)
def test_without_its_extra_a_command_names_it(program: str, arguments: tuple[str, ...], extra: str) -> None:
    line = line_of(without_extras(program, *arguments), 1)
    assert f"pip install 'adsn[{extra}]'" in line


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "meta", "cuda:x", "cpu:"])
def test_a_device_that_cannot_be_used_is_named(device: str) -> None:
    with pytest.raises(ConfigError, match=rf"--device {device}: PyTorch .* cannot use it .* Here it can use cpu"):
        require_device(device)


def test_a_device_that_can_be_used_is_accepted() -> None:
    require_device("cpu")


def test_training_without_cuda_is_refused_before_anything_renders(call: Call, recipe: Path, tmp_path: Path) -> None:
    line = line_of(call(TRAIN, recipe, "--device", "cuda:99", "--out", tmp_path / "out"), 78)
    assert "--device cuda:99" in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("option", "code"), [("--out", 78), ("--cache", 78)])
def test_a_file_where_a_folder_is_wanted(call: Call, recipe: Path, tmp_path: Path, option: str, code: int) -> None:
    (tmp_path / "file").write_text("mine")
    others = {"--out": tmp_path / "out", "--cache": tmp_path / "cache", option: tmp_path / "file"}
    line = line_of(call(TRAIN, recipe, *(word for pair in others.items() for word in pair)), code)
    assert f"{option} {tmp_path / 'file'}: a file, not a folder" in line
    below = {**others, option: tmp_path / "file" / "below"}
    line = line_of(call(TRAIN, recipe, *(word for pair in below.items() for word in pair)), code)
    assert f"{option} {tmp_path / 'file' / 'below'}: cannot be written (Not a directory)" in line


def test_evaluation_knows_unwritable_files_before_it_scores(call: Call, tmp_path: Path) -> None:
    for option in ("--out", "--report"):
        line = line_of(call(EVAL, default_bundle(), option, tmp_path), 78)
        assert f"{option} {tmp_path}: a folder, not a file" in line
    (tmp_path / "file").write_text("")
    line = line_of(call(EVAL, default_bundle(), "--out", tmp_path / "file" / "x.json"), 78)
    assert "cannot be written" in line or "not a folder" in line


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_a_recipe_that_is_not_utf_8_is_named(call: Call, recipe: Path, encoding: str) -> None:
    recipe.write_text(RECIPE + "# für später\n", encoding=encoding)
    assert "recipe.toml: not UTF-8" in line_of(call(TRAIN, recipe), 78)


@pytest.mark.parametrize("state", [b"", b"\0" * 7, b"\xff" * 40, b"\x10\0\0\0\0\0\0\0{}"])
def test_a_damaged_state_is_named(call: Call, recipe: Path, tmp_path: Path, state: bytes) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / STATE_FILE).write_bytes(state)
    line = line_of(call(TRAIN, recipe, "--resume", "--out", out, "--cache", tmp_path.parent / "mistakes-cache"), 1)
    assert f"{STATE_FILE}: damaged, {len(state)} bytes" in line


def small(**config: object) -> ADSN:
    return ADSN(NetworkConfig(width=8, maps=2, size=64, **config))  # type: ignore[arg-type]


def test_weights_that_are_not_finite_are_refused(call: Call, tmp_path: Path) -> None:
    network = small()
    with torch.no_grad():
        next(iter(network.parameters()))[0] = torch.nan
    path = tmp_path / "c.safetensors"
    save_checkpoint(path, network)
    with pytest.raises(CheckpointError, match="NaN or infinite"):
        load_checkpoint(path)
    assert "NaN or infinite" in line_of(call(EVAL, path, "--threshold", "0.5"), 1)


def test_a_pointer_of_git_lfs_is_called_one(call: Call, tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    path.write_text(LFS)
    for program, more in ((EVAL, ("--threshold", "0.5")), (EXPORT, ("--int8", "--out", tmp_path / "b"))):
        assert "a Git LFS pointer" in line_of(call(program, path, *more), 1)
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(RECIPE)
    where = ("--out", tmp_path / "out", "--cache", tmp_path.parent / "mistakes-cache")
    assert "git lfs pull" in line_of(call(TRAIN, recipe, "--start", path, *where), 1)


@pytest.mark.parametrize("kept", [0, 4, 100, -40])
def test_a_cut_checkpoint_is_named(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "c.safetensors"
    save_checkpoint(path, small())
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(CheckpointError, match=r"c\.safetensors"):
        load_checkpoint(path)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk_is_one_line() -> None:
    code = f"from {TRAIN} import main; main()"
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-c", code, "--help"], stdout=full, stderr=subprocess.PIPE, text=True)
    line = "error: No space left on device. Free some space, or write elsewhere.\n"
    assert (done.returncode, done.stderr) == (1, line)


def test_a_user_without_account_and_home_is_no_traceback(recipe: Path, tmp_path: Path) -> None:
    """As in a container that runs under an arbitrary user id."""
    code = f"""
import pwd
def gone(uid): raise KeyError(uid)
pwd.getpwuid = gone
from {TRAIN} import main
main()
"""
    env = {k: v for k, v in os.environ.items() if k not in ("HOME", "USER", "LOGNAME", "XDG_CACHE_HOME")}
    command = [sys.executable, "-c", code, str(recipe), "--device", "cuda:99", "--out", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=env, cwd=tmp_path)
    assert "--device cuda:99" in line_of(Done(done.returncode, done.stdout, done.stderr), 78)


def listed(root: Path, species: tuple[str, str]) -> Path:
    """Write a set of four recordings of two species, and return a plan that tests on it."""
    rows = ["presentation,subject,species,sensor,split"]
    for number in range(4):
        rows.append(f"p{number},s{number},{species[number % 2]},rig,test")
        picture(root / "own" / f"p{number}" / "0000-rgb.png", 80, channels=3)
        picture(root / "own" / f"p{number}" / "0000-ir.png", 90)
    (root / "own" / "recordings.csv").write_text("\n".join(rows) + "\n")
    rendered = 'family = "A"\nsubjects = [0, 8]\nbona_fide = 1\nper_attack = 1\nseed = 1\n'
    plan = root / "plan.toml"
    plan.write_text(
        f"[calibration]\n{rendered}[dev]\n{rendered}"
        f'[test.own]\ndataset = "recordings"\nroot = "{root / "own"}"\nsplit = "test"\n'
    )
    return plan


@pytest.mark.parametrize(
    ("species", "message"),
    [
        (("Bona_Fide", "print_matte"), "recordings.csv:2: species 'Bona_Fide' looks like 'bona_fide'"),
        (("mask_rigid", "print_matte"), "own-test: no bona fide presentation among mask_rigid, print_matte"),
        (("bona_fide", "bona_fide"), "own-test: no attack presentation"),
    ],
)
def test_an_evaluation_that_can_say_nothing_is_refused(
    call: Call, tmp_path: Path, species: tuple[str, str], message: str
) -> None:
    plan = listed(tmp_path, species)
    line = line_of(call(EVAL, default_bundle(), "--data", plan, "--cache", tmp_path / "cache"), 1)
    assert message in line


def test_swapped_pictures_end_an_evaluation(call: Call, tmp_path: Path) -> None:
    plan = listed(tmp_path, ("bona_fide", "print_matte"))
    folder = tmp_path / "own" / "p0"
    (folder / "0000-rgb.png").rename(folder / "x.png")
    (folder / "0000-ir.png").rename(folder / "0000-rgb.png")
    (folder / "x.png").rename(folder / "0000-ir.png")
    line = line_of(call(EVAL, default_bundle(), "--data", plan, "--cache", tmp_path / "cache"), 1)
    assert "0000-rgb.png: a grey image instead of RGB. Check that rgb and ir are not swapped." in line


def test_export_without_a_checkpoint_takes_the_shipped_one(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ADSN_FACE_MODEL", raising=False)
    done = call(EXPORT, "--int8", "--dry-run", "--out", tmp_path / "b", "--cache", tmp_path)
    assert done.returncode == 0, done.stderr
    said = " ".join(done.stdout.split())
    assert f"no checkpoint named: exporting the shipped one, {default_bundle() / 'checkpoint.safetensors'}" in said
    assert "ADSN_FACE_MODEL is not set: rendered heads are analytic only" in said
    assert "'scan'" not in said
    monkeypatch.setenv("ADSN_BUNDLE", str(tmp_path / "none"))
    assert "no checkpoint is named" in line_of(call(EXPORT, "--int8", "--dry-run"), 78)
