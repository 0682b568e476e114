"""adsn-eval as a user runs it, on a small plan with the shipped bundle."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from adsn.network.checkpoint import load_checkpoint
from export.graph import to_onnx
from runtime.liveness.open import default_bundle
from tests.support.models.dataset_trees import picture

PLAN = """
[calibration]
family = "A"
subjects = [0, 8]
bona_fide = 2
per_attack = 1
seed = 5
[dev]
family = "A"
subjects = [1000, 1010]
bona_fide = 4
per_attack = 1
seed = 6
[test.small]
family = "B"
subjects = [3000, 3010]
species = ["print_matte", "replay_screen"]
bona_fide = 12
per_attack = 6
seed = 7
"""


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("plan") / "plan.toml"
    path.write_text(PLAN)
    return path


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped bundle with its float model, which is not shipped but rebuilt here."""
    bundle = tmp_path_factory.mktemp("both") / "bundle"
    shutil.copytree(default_bundle(), bundle, ignore=shutil.ignore_patterns("model.onnx"))
    network, _ = load_checkpoint(bundle / "checkpoint.safetensors")
    data = to_onnx(network)
    (bundle / "model.onnx").write_bytes(data)
    manifest = json.loads((bundle / "manifest.json").read_text())
    entry = next(file for file in manifest["files"] if file["path"] == "model.onnx")
    entry |= {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    return bundle


def run_eval(plan: Path, *arguments: object, bundle: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from adsn.cli.evaluate import main; main()", str(bundle or default_bundle())]
    command += ["--data", str(plan), "--cache", str(plan.parent / "cache"), *map(str, arguments)]
    # Wide enough that table rows do not wrap.
    environment = {**os.environ, "COLUMNS": "200"}
    return subprocess.run(command, capture_output=True, text=True, timeout=600, check=False, env=environment)


def test_figures_and_page(plan: Path, both: Path, tmp_path: Path) -> None:
    out, page = tmp_path / "eval.json", tmp_path / "report.html"
    found = run_eval(plan, "--precision", "both", "--out", out, "--report", page, bundle=both)
    assert found.returncode == 0, found.stderr
    (row,) = json.loads(out.read_text())["sets"]
    # There are twelve bona fide pairs of ten people. Each gives a pair with another person's IR and one with a warped
    # IR; some also give one of another moment.
    made = row["pair_mismatch"]
    assert {made[kind]["trials"] for kind in ("other_person", "warped")} == {12}
    count = row["apcer"]["pair_mismatch"]["trials"]
    assert count == sum(rate["trials"] for rate in made.values())
    assert (row["set"], row["pairs"]) == ("small", 24)
    assert set(row["apcer"]) == {"print_matte", "replay_screen", "pair_mismatch"}
    assert row["bpcer"]["trials"] == 12
    assert len(row["presentations"]["score"]) == 24 + count
    assert set(row["precisions"]) == {"fp32"}
    assert f"of {24 + count} decisions differ between int8 and fp32" in row["comparison"][0]
    text = page.read_text()
    assert row["comparison"][0] in text
    assert "<img" not in text
    assert "second image: another person’s" in found.stdout
    for kind in ("print_matte", "replay_screen"):
        assert kind in found.stdout
        assert f"APCER {kind}" in text


def test_pictures_only_when_asked(plan: Path, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    found = run_eval(plan, "--report", page, "--thumbnails", "--explain", "2", "--no-mismatch")
    assert found.returncode == 0, found.stderr
    text = page.read_text()
    # Six pairs of each class with two crops, and two of each class with two crops and their attention.
    assert text.count("<img") == (6 + 6) * 2 + (2 + 2) * 4
    assert text.count(", ir with attention") == 4
    assert text.count("attention on the face against chance: rgb ×") == 4 * 5


def test_robustness_is_asked_of_a_sample_and_stands_in_json_and_page(plan: Path, tmp_path: Path) -> None:
    out, page = tmp_path / "eval.json", tmp_path / "report.html"
    found = run_eval(plan, "--robustness", "--robustness-pairs", "2", "--out", out, "--report", page)
    assert found.returncode == 0, found.stderr
    assert "Worst point: " in found.stdout
    (row,) = json.loads(out.read_text())["sets"]
    asked = row["robustness"]
    assert asked["presentations"] == {"bona_fide": 2, "print_matte": 1, "replay_screen": 1}
    assert asked["pairs"] == asked["pairs_changed_before_the_crop"] == 4
    sweeps = {sweep["sweep"]: sweep["points"] for sweep in asked["sweeps"]}
    assert {"gain", "gain_rgb", "gain_ir", "gamma", "blur", "noise", "jpeg", "rotation", "box_x", "detector"} <= set(
        sweeps
    )
    assert {point["step"] for point in sweeps["detector"]} >= {"given box", "haar"}
    dark, bright = (next(p for p in sweeps["gain"] if p["step"] == step) for step in ("×0.25", "×1"))
    assert dark["median_score"]["bona_fide"] != bright["median_score"]["bona_fide"]
    assert "Worst point: " in page.read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--thumbnails",), "--report"),
        (("--precision", "int4"), "int8, fp32 or both"),
        (("--subjects", "1:9"), "--data FOLDER"),
    ],
)
def test_wrong_use_is_explained(plan: Path, arguments: tuple[str, ...], message: str) -> None:
    found = run_eval(plan, *arguments)
    assert found.returncode == 78
    assert message in found.stderr


def test_dev_scores_are_what_calibration_reads(plan: Path, tmp_path: Path) -> None:
    out = tmp_path / "dev.json"
    assert run_eval(plan, "--dev", "--out", out).returncode == 0
    (row,) = json.loads(out.read_text())["sets"]
    assert row["set"] == "dev"
    from calib.cli.main import EvaluationFile

    assert len(EvaluationFile.model_validate_json(out.read_bytes()).sets[0].presentations.score) == 4 + 9


def test_recordings_are_evaluated_and_what_is_left_out_is_said(tmp_path: Path) -> None:
    rows = ["presentation,subject,species,sensor,split"]
    for i in range(4):
        rows.append(f"p{i},person{i},{'bona_fide' if i % 2 else 'print_matte'},rig,test")
        for number in ("0000", "0001", "0002"):
            picture(tmp_path / "own" / f"p{i}" / f"{number}-rgb.png", 80, channels=3)
            picture(tmp_path / "own" / f"p{i}" / f"{number}-ir.png", 90)
    (tmp_path / "own" / "recordings.csv").write_text("\n".join(rows) + "\n")
    folder = run_eval(tmp_path / "own", "--out", tmp_path / "folder.json")
    assert folder.returncode == 0, folder.stderr
    (row,) = json.loads((tmp_path / "folder.json").read_text())["sets"]
    # With one presentation of each of two people, there is no other moment.
    assert (row["pairs"], set(row["pair_mismatch"])) == (12, {"other_person", "warped"})
    (tmp_path / "own" / "p1" / "0002-ir.png").unlink()
    plan = tmp_path / "plan.toml"
    dev = PLAN[: PLAN.index("[test.small]")]
    plan.write_text(
        f'{dev}[test.own]\ndataset = "recordings"\nroot = "{tmp_path / "own"}"\nsplit = "test"\nmax_skipped = 0.2\n'
    )
    out = tmp_path / "eval.json"
    found = run_eval(plan, "--out", out, "--no-mismatch")
    assert found.returncode == 0, found.stderr
    assert "own: 1 of 12 skipped: no ir" in found.stdout
    (row,) = json.loads(out.read_text())["sets"]
    assert (row["pairs"], row["bpcer"]["trials"], row["apcer"]["print_matte"]["trials"]) == (11, 2, 2)
    plan.write_text(plan.read_text().replace("max_skipped = 0.2", 'protocol = "x"'))
    refused = run_eval(plan)
    assert refused.returncode == 1
    assert "recordings: needs no options and takes none; got ['protocol']" in refused.stderr
