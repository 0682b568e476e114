"""The operating point and activation ranges."""

from __future__ import annotations

import codecs
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from calib.threshold import SampleTooSmall, operating_point, presentations_needed
from runtime.bundle.manifest import open_bundle
from runtime.bundle.signature import write_key_pair
from runtime.core.errors import SignatureMissing
from runtime.core.species import BONA_FIDE, SpeciesInvalid
from runtime.liveness.open import default_bundle


def scores(bona_fide: int = 400, attacks: int = 100) -> tuple[NDArray[np.float64], list[str]]:
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.beta(8, 1, bona_fide), rng.beta(1, 8, attacks)])
    return values, ["bona_fide"] * bona_fide + ["print"] * attacks


def test_the_strictest_threshold_within_the_target() -> None:
    values, species = scores()
    point = operating_point(values, species, measured_on="dev", max_bpcer=0.05, band_bpcer=0.01)
    live = np.sort(values[:400])
    assert (live < point.threshold).sum() == 20
    assert (live < point.band_low).sum() == 4
    assert point.bpcer.errors == 20
    assert point.bpcer.interval[0] < 0.05 < point.bpcer.interval[1]
    assert point.apcer["print"].errors == (values[400:] >= point.threshold).sum()


def test_the_target_holds_on_every_source() -> None:
    easy, hard = np.linspace(0.8, 1, 1000), np.linspace(0.2, 1, 100)
    scores = np.concatenate([easy, hard, [0.1]])
    species = [BONA_FIDE] * 1100 + ["print_matte"]
    sources = ["easy"] * 1000 + ["hard"] * 101
    pooled = operating_point(scores, species, measured_on="dev", max_bpcer=0.05)
    each = operating_point(scores, species, measured_on="dev", max_bpcer=0.05, sources=sources)
    assert (hard < pooled.threshold).mean() > 0.3, "the large easy source hides the small hard one"
    assert (hard < each.threshold).mean() <= 0.05
    assert (easy < each.threshold).mean() <= 0.05
    assert each.target.endswith("on each development set")
    with pytest.raises(SampleTooSmall, match="bona_fide in hard"):
        operating_point(scores, species, measured_on="dev", max_bpcer=0.01, sources=sources)


def test_too_small_a_sample_says_how_many_it_needs() -> None:
    values, species = scores(bona_fide=100)
    with pytest.raises(SampleTooSmall, match="at least 300"):
        operating_point(values, species, measured_on="dev", max_bpcer=0.01)
    assert presentations_needed(0.01) == 300


def test_the_lowest_threshold_within_an_apcer_target() -> None:
    rng = np.random.default_rng(1)
    values = np.concatenate([rng.beta(8, 1, 50), rng.beta(1, 8, 100), rng.beta(1, 4, 100)])
    species = ["bona_fide"] * 50 + ["print"] * 100 + ["mask"] * 100
    point = operating_point(values, species, measured_on="dev", max_apcer=0.03)
    # The third highest score of a mask may be accepted, but not the fourth.
    ordered = np.sort(values[150:])[::-1]
    assert ordered[3] < point.threshold <= ordered[2]
    assert point.apcer["mask"].errors == 3
    assert point.apcer["print"].errors <= 3
    assert "APCER <= 3.0%" in point.target


def test_an_apcer_target_needs_enough_of_every_species() -> None:
    values, species = scores(attacks=100)
    species = [*species[:-10], *["mask"] * 10]
    with pytest.raises(
        SampleTooSmall, match=r"at least 100 .* has 90 of print, 10 of mask|has 10 of mask, 90 of print"
    ):
        operating_point(values, species, measured_on="dev", max_apcer=0.03)
    with pytest.raises(SampleTooSmall, match="none"):
        operating_point(values[:400], species[:400], measured_on="dev", max_apcer=0.03)


@pytest.mark.parametrize(("people", "message"), [("Bona_Fide", "looks like 'bona_fide'"), ("real", "looks like")])
def test_scores_of_misspelt_people_set_no_threshold(people: str, message: str) -> None:
    values, species = scores()
    with pytest.raises(SpeciesInvalid, match=message):
        operating_point(values, [*species[:-1], people], measured_on="dev", max_bpcer=0.05)


def test_silence_sets_no_threshold() -> None:
    values, species = scores()
    silent = np.append(values, [np.nan] * 50)
    kinds = [*species, *["bona_fide"] * 50]
    point = operating_point(silent, kinds, measured_on="dev", max_bpcer=0.05)
    assert point == operating_point(values, species, measured_on="dev", max_bpcer=0.05)


def run_calib(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from calib.cli.main import main; main()", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def evaluation(path: Path, model: str, bona_fide: int = 400) -> Path:
    values, species = scores(bona_fide)
    presentations = {"species": species, "score": values.tolist()}
    path.write_text(json.dumps({"model": model, "sets": [{"set": "dev", "presentations": presentations}]}))
    return path


def test_the_command_writes_the_manifest(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(default_bundle(), bundle, ignore=shutil.ignore_patterns("model.onnx"))
    file = evaluation(tmp_path / "dev.json", "adsn-rgb-ir 0.1.0 int8")
    found = run_calib("threshold", file, bundle, "--max-bpcer", "0.05")
    assert found.returncode == 0, found.stderr
    point = open_bundle(bundle).manifest.operating_point()
    assert f"{point.threshold:.6f}" in found.stdout
    assert open_bundle(bundle).manifest.operating_points[-1].bpcer.errors == 20
    open_bundle(bundle).verify()
    # The export's figures are valid only at the old threshold.
    assert open_bundle(default_bundle()).manifest.parity
    assert open_bundle(bundle).manifest.parity == []
    assert "measured at the old threshold and were removed" in " ".join(found.stdout.split())


def test_scores_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(default_bundle(), bundle, ignore=shutil.ignore_patterns("model.onnx"))
    file = evaluation(tmp_path / "dev.json", "adsn-rgb-ir 0.1.0 int8")
    file.write_bytes(codecs.BOM_UTF8 + file.read_bytes())
    assert run_calib("threshold", file, bundle, "--max-bpcer", "0.05").returncode == 0


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("no json", "the JSON cannot be read"),
        ("{}", "model is missing"),
        ('{"model": "a", "sets": [{"set": 5, "presentations": {}}]}', "sets.0.set"),
    ],
)
def test_what_holds_no_scores_is_refused_in_our_own_words(text: str, says: str, tmp_path: Path) -> None:
    file = tmp_path / "dev.json"
    file.write_text(text)
    found = run_calib("threshold", file, default_bundle())
    assert found.returncode == 1
    assert f"{file}: not a file with the scores of one set: {says}" in found.stderr
    assert "pydantic" not in found.stderr
    assert "validation error" not in found.stderr


def test_the_command_takes_one_target(tmp_path: Path) -> None:
    found = run_calib("threshold", tmp_path / "x", tmp_path, "--max-bpcer", "0.1", "--max-apcer", "0.1")
    assert found.returncode == 78
    assert "one target" in found.stderr


@pytest.mark.parametrize(
    ("model", "bona_fide", "code", "message"),
    [("another 1 int8", 400, 78, "another"), ("adsn-rgb-ir 0.1.0 int8", 50, 1, "at least 300")],
)
def test_the_command_refuses(tmp_path: Path, model: str, bona_fide: int, code: int, message: str) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(default_bundle(), bundle, ignore=shutil.ignore_patterns("model.onnx"))
    before = (bundle / "manifest.json").read_bytes()
    found = run_calib("threshold", evaluation(tmp_path / "dev.json", model, bona_fide), bundle)
    assert found.returncode == code
    assert message in found.stderr
    assert (bundle / "manifest.json").read_bytes() == before


def test_a_changed_manifest_is_signed_again_or_not_at_all(tmp_path: Path) -> None:
    bundle, key = tmp_path / "bundle", tmp_path / "key.pem"
    public = write_key_pair(key)
    shutil.copytree(default_bundle(), bundle, ignore=shutil.ignore_patterns("model.onnx"))
    file = evaluation(tmp_path / "dev.json", "adsn-rgb-ir 0.1.0 int8")
    found = run_calib("threshold", file, bundle, "--max-bpcer", "0.05", "--sign", key)
    assert "signed again" in found.stdout, found.stderr
    open_bundle(bundle, public).verify()
    before = (bundle / "manifest.json").read_bytes()
    wrong = run_calib("threshold", file, bundle, "--max-bpcer", "0.02", "--sign", tmp_path / "none.pem")
    assert wrong.returncode == 78
    assert (bundle / "manifest.json").read_bytes() == before
    open_bundle(bundle, public).verify()
    again = run_calib("threshold", file, bundle, "--max-bpcer", "0.05")
    assert "was removed" in " ".join(again.stdout.split())
    with pytest.raises(SignatureMissing):
        open_bundle(bundle, public)
