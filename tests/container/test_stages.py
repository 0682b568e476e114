"""The image for CPUs, tested by executing the instructions of its stages in clean Debian roots: ``make
test-container``.

Needs root, debootstrap and a package mirror. Compiling OpenCV takes eight minutes on two cores. Debian's Python
replaces that of the base image. Not tested are the base images themselves, other targets, and features of a container
engine (read-only root, capabilities), for which there is test_engine.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.machines.debian import debian, inside
from tests.support.machines.dockerfile import ROOT, Stage, read_stages

pytestmark = [pytest.mark.container, pytest.mark.timeout(3600)]
LIMIT_MB = 420
SLIM_MB = 125
"""Unpacked size of python:3.12-slim-bookworm in MB, used instead of the size of the clean roots, which are larger."""
PORT = 18643
SCORE = """
import json, sys
from pathlib import Path
import cv2
from runtime.liveness.open import default_bundle, open_pipeline
from runtime.core.errors import NoFace
from runtime.core.values import Pair

pipeline, found = open_pipeline(default_bundle()).pipeline, {}
for path in sorted(Path(sys.argv[1]).glob("*-rgb.jpg")):
    rgb = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
    ir = cv2.imread(str(path).replace("-rgb.jpg", "-ir.png"), cv2.IMREAD_GRAYSCALE)[:, :, None]
    try:
        result = pipeline.assess(Pair(rgb, ir))
        found[path.name] = [str(result.decision), list(map(str, result.reasons)), result.score]
    except NoFace:
        found[path.name] = "no face"
print(json.dumps([cv2.videoio_registry.hasBackend(cv2.CAP_FFMPEG), found]))
"""


def play(root: Path, stage: Stage, **arguments: str) -> None:
    """Execute the COPY, WORKDIR and RUN instructions of a stage. ``arguments``: replace the defaults of build
    arguments."""
    folder = "/"
    for word, rest in stage.steps:
        if word == "WORKDIR":
            folder = rest
            (root / rest.lstrip("/")).mkdir(parents=True, exist_ok=True)
        elif word == "COPY" and rest.startswith("--from"):
            # Earlier stages ran in this root, so most files are already in place.
            _, source, target = rest.split()
            assert source == target, "copied between stages under another name"
        elif word == "COPY":
            *sources, target = rest.split()
            for source in sources:
                to = Path(target) if target.startswith("/") else Path(folder) / target
                place = root / str(to).lstrip("/")
                if target.endswith("/"):
                    place = place / Path(source).name
                place.parent.mkdir(parents=True, exist_ok=True)
                if (ROOT / source).is_dir():
                    shutil.copytree(ROOT / source, place, ignore=shutil.ignore_patterns("__pycache__", "model.onnx"))
                else:
                    shutil.copyfile(ROOT / source, place)
        elif word == "RUN":
            inside(root, f"cd {folder}; {rest}", 0, **{**stage.arguments, **arguments})


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Yield a root in which the last stage was executed, with only those files of earlier stages that it copies."""
    stages = {stage.name: stage for stage in read_stages()}
    # The base image contains the headers of its Python and pip; Debian's Python does not.
    with debian(tmp_path_factory.mktemp("build"), "python3-dev") as built:
        for name in ("opencv", "build-cpu"):
            play(built, stages[name])
        with debian(tmp_path_factory.mktemp("root")) as made:
            shutil.copytree(built / "opt" / "adsn", made / "opt" / "adsn", symlinks=True)
            play(made, stages["cpu"])
            yield made


def test_the_image_fits_its_budget(root: Path) -> None:
    size = sum(f.lstat().st_size for f in (root / "opt" / "adsn").rglob("*") if not f.is_dir()) / 1e6
    print(f"/opt/adsn: {size:.0f} MB; with the base image about {size + SLIM_MB:.0f} MB")
    assert size + SLIM_MB <= LIMIT_MB
    left = inside(root, "command -v gcc cmake ninja pip || true; ls /opt/adsn/bin")
    assert not [line for line in left.split() if line.rpartition("/")[2] in ("gcc", "cmake", "ninja", "pip")]


def test_it_judges_as_the_package_does(root: Path, tmp_path: Path) -> None:
    """Compare OpenCV as compiled for the image, without IPP, with the OpenCV that runs these tests."""
    folder = tmp_path / "pairs"
    command = [
        str(Path(sys.executable).parent / "adsn-rig"),
        "sample",
        str(folder),
        "--shape",
        "analytic",
        "--count",
        "6",
    ]
    subprocess.run(command, check=True, cwd=ROOT, capture_output=True)
    command = [sys.executable, "-c", SCORE, str(folder)]
    done = subprocess.run(command, check=True, cwd=ROOT, capture_output=True, text=True)
    here_video, here = json.loads(done.stdout)
    shutil.copytree(folder, root / "tmp" / "pairs")
    (root / "tmp" / "score.py").write_text(SCORE)
    there_video, there = json.loads(inside(root, "/opt/adsn/bin/python3 /tmp/score.py /tmp/pairs").splitlines()[0])
    assert here_video
    assert not there_video
    assert len(here) == 60
    assert sum(found != "no face" for found in here.values()) > 40
    assert there == here


def test_it_serves_as_nobody_in_particular(root: Path) -> None:
    environment = {
        "PATH": "/opt/adsn/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "ADSN_HOST": "127.0.0.1",
        "ADSN_PORT": str(PORT),
    }
    command = ["chroot", "--userspec=10001:10001", str(root), "/opt/adsn/bin/adsn-serve"]
    server = subprocess.Popen(command, env=environment)
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/readyz", timeout=2) as answer:
                    assert answer.status == 200
                break
            except OSError:
                assert server.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.2)
        inside(root, "/opt/adsn/bin/python3 /opt/adsn/health.py", ADSN_PORT=str(PORT))
        inside(root, "/opt/adsn/bin/adsn-doctor")
    finally:
        server.terminate()
        # After running requests have ended, uvicorn ends itself with the same signal.
        assert server.wait(10) in (0, -signal.SIGTERM)
    # Without a key the service listens only on loopback.
    refused = subprocess.run(command, env={**environment, "ADSN_HOST": "0.0.0.0"}, capture_output=True, text=True)
    assert refused.returncode == 78


def test_the_package_can_be_had_instead(tmp_path: Path) -> None:
    """Check ``--build-arg OPENCV=wheel``."""
    (stage,) = [stage for stage in read_stages() if stage.name == "opencv"]
    with debian(tmp_path / "root") as made:
        play(made, stage, OPENCV="wheel")
        said = inside(
            made,
            "cd /opencv; build/bin/python -m pip install --quiet wheels/*.whl; build/bin/python -c "
            "'import cv2; print(\"ffmpeg\", cv2.videoio_registry.hasBackend(cv2.CAP_FFMPEG))'",
        )
        assert "ffmpeg True" in said
        shutil.rmtree(made / "opencv")
        with pytest.raises(AssertionError, match="OPENCV=whale: it can be source or wheel"):
            play(made, stage, OPENCV="whale")
