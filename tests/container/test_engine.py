"""The image for CPUs, built from the Dockerfile and run by a container engine: part of ``make test-container``.

Needs podman, but no registry: Debian's Python in a clean root replaces the base image. OpenCV is installed as a package
to save the minutes that compiling takes; test_stages compiles it. If the engine needs options, set ``ADSN_TEST_ENGINE``
to the engine with its options, and ``ADSN_TEST_ENGINE_RUN`` to the options for ``run`` (for example ``podman --runtime
runc --storage-driver vfs`` and ``--ulimit nofile=1024:1024``).
"""

from __future__ import annotations

import json
import os
import secrets
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.machines.debian import debian
from tests.support.machines.dockerfile import ROOT

pytestmark = [pytest.mark.container, pytest.mark.timeout(1800)]
ENGINE = shlex.split(os.environ.get("ADSN_TEST_ENGINE", "podman"))
RUN = shlex.split(os.environ.get("ADSN_TEST_ENGINE_RUN", ""))
BASE, IMAGE, NAME = "localhost/adsn-test-base:latest", "localhost/adsn-test:latest", "adsn-test"
# As in compose.yaml, but with the network of the host, because a test needs no bridge.
CONFINED = "--read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges --ulimit core=0 --network host"


def engine(*arguments: str, code: int | None = 0) -> str:
    """Call the engine and return its output. ``code``: required exit code; None accepts any."""
    done = subprocess.run([*ENGINE, *arguments], capture_output=True, text=True, check=False)
    assert code is None or done.returncode == code, f"{arguments}: {done.returncode}\n{done.stderr[-4000:]}"
    return done.stdout + (done.stderr if code else "")


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    # Skip without an engine. Most of this folder, which has the same marker, runs without one: test_stages then shows
    # that the image can be built, and this message says what was not tested.
    if shutil.which(ENGINE[0]) is None:
        pytest.skip("needs podman")
    folder = tmp_path_factory.mktemp("base")
    with debian(folder / "root"):
        pass
    subprocess.run(["tar", "-C", folder / "root", "-cf", folder / "base.tar", "."], check=True)
    engine("import", str(folder / "base.tar"), BASE)
    shutil.rmtree(folder)
    arguments = ["--build-arg", f"PYTHON_IMAGE={BASE}", "--build-arg", "OPENCV=wheel"]
    try:
        # Only the format "docker" keeps HEALTHCHECK. The isolation "chroot" needs no namespaces, which a build machine
        # may lack. Without layers, simple storage drivers do not copy everything for each step.
        options = "--pull=never --format docker --isolation chroot --layers=false"
        engine("build", *options.split(), *arguments, "-t", IMAGE, str(ROOT))
        yield IMAGE
    finally:
        engine("rmi", "--force", IMAGE, BASE, code=None)


@pytest.fixture
def running(image: str) -> Iterator[tuple[str, str]]:
    """Yield the URL and key of a service in a confined container."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    key = secrets.token_hex(24)
    settings = ["-e", f"ADSN_API_KEY={key}", "-e", f"ADSN_PORT={port}", "-v", "/var/cache/adsn"]
    engine("run", "--detach", "--name", NAME, *RUN, *CONFINED.split(), *settings, image)
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                if httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 200:
                    break
            except httpx.TransportError:
                pass
            assert time.monotonic() < deadline, engine("logs", NAME, code=None)
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}", key
    finally:
        engine("rm", "--force", "--volumes", NAME, code=None)


def test_what_the_image_says_of_itself(image: str) -> None:
    (found,) = json.loads(engine("image", "inspect", image))
    config: dict[str, Any] = found["Config"]
    assert config["User"] == "10001:10001"
    assert config["Entrypoint"] == ["adsn-serve"]
    # Podman stores it next to the other settings, Docker inside them.
    assert (found.get("Healthcheck") or config["Healthcheck"])["Test"] == ["CMD", "python3", "/opt/adsn/health.py"]
    assert not [value for value in config["Env"] if "KEY" in value]


def test_it_judges_confined_and_stops_in_order(running: tuple[str, str], tmp_path: Path) -> None:
    url, key = running
    sample = [str(Path(sys.executable).parent / "adsn-rig"), "sample", str(tmp_path), "--species", "bona_fide"]
    subprocess.run(sample, check=True, capture_output=True)
    files = {name: next(tmp_path.glob(f"*-{name}.*")).read_bytes() for name in ("rgb", "ir")}
    assert httpx.post(f"{url}/liveness", files=files, timeout=30).status_code == 401
    answer = httpx.post(f"{url}/liveness", files=files, headers={"Authorization": f"Bearer {key}"}, timeout=30)
    assert (answer.status_code, answer.json()["decision"]) == (200, "live")
    engine("healthcheck", "run", NAME)
    assert engine("exec", NAME, "id", "-u").strip() == "10001"
    assert "Read-only file system" in engine("exec", NAME, "touch", "/opt/adsn/there", code=1)
    status = engine("exec", NAME, "grep", "-E", "CapEff|NoNewPrivs|Seccomp:", "/proc/1/status").split()
    assert status == ["CapEff:", "0000000000000000", "NoNewPrivs:", "1", "Seccomp:", "2"]
    engine("exec", NAME, "adsn-doctor")
    began = time.monotonic()
    engine("stop", NAME)
    assert time.monotonic() - began < 9, "killed, not stopped"
    (found,) = json.loads(engine("inspect", NAME))
    assert found["State"]["ExitCode"] in (0, 143)
    assert found["State"]["OOMKilled"] is False


def test_without_a_key_it_does_not_start(image: str) -> None:
    said = engine("run", "--rm", *RUN, *CONFINED.split(), image, code=78)
    assert "key" in said
