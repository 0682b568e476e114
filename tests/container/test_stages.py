"""The RUN lines of the image for processors, executed in a clean Debian root: ``make test-container``.

Needs root, debootstrap and a package mirror. Debian's Python stands in for the base image's. What this does not show:
the base images themselves, other targets, and what a container engine adds (read-only root, capabilities).
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.container.debian import debian, inside
from tests.container.dockerfile import ROOT, Stage, read_stages

pytestmark = [pytest.mark.container, pytest.mark.timeout(1500)]
WANTED_MB, LIMIT_MB = 450, 540
"""What was aimed at, and what is reached: OpenCV with the video libraries it is linked to takes 162 MB, ONNX Runtime
78, NumPy 73. None of them comes smaller."""
SLIM_MB = 125
"""python:3.12-slim-bookworm unpacked; the clean root here is larger and other, so it is not what is counted."""
PORT = 18643


def play(root: Path, stage: Stage) -> None:
    """Do what the stage's COPY, WORKDIR and RUN say."""
    folder = "/"
    for word, rest in stage.steps:
        if word == "WORKDIR":
            folder = rest
            (root / rest.lstrip("/")).mkdir(parents=True, exist_ok=True)
        elif word == "COPY" and not rest.startswith("--from"):
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
            inside(root, f"cd {folder}; {rest}")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with debian(tmp_path_factory.mktemp("root")) as made:
        yield made


def test_the_image_is_built_fits_its_budget_and_serves(root: Path) -> None:
    stages = {stage.name: stage for stage in read_stages()}
    play(root, stages["build-cpu"])
    play(root, stages["cpu"])
    size = sum(f.lstat().st_size for f in (root / "opt" / "adsn").rglob("*") if not f.is_dir()) / 1e6
    print(f"/opt/adsn: {size:.0f} MB; with the base image about {size + SLIM_MB:.0f} MB, {WANTED_MB} were wanted")
    assert size + SLIM_MB <= LIMIT_MB
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
        # uvicorn ends itself with the signal once it has drained.
        assert server.wait(10) in (0, -signal.SIGTERM)
    # Without a key it does not listen where others could reach it.
    refused = subprocess.run(command, env={**environment, "ADSN_HOST": "0.0.0.0"}, capture_output=True, text=True)
    assert refused.returncode == 78
