"""examples/backend with a real service: a live person is admitted, an attack is not, and no failure admits anyone."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from runtime.capture.simulated.rig import SyntheticRig
from tests.support.docs.pages import ROOT
from tests.support.docs.runner import free_port
from tests.support.images import encode, ir_file, rgb_file
from tests.support.service.serving_process import ENVIRONMENT, serving
from tests.support.waiting import until


@contextmanager
def backend(service: str) -> Iterator[httpx.Client]:
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "--app-dir", str(ROOT / "examples/backend"), "app:app"]
    process = subprocess.Popen(
        [*command, "--port", str(port), "--log-level", "warning"], env={**ENVIRONMENT, "LIVENESS_URL": service}
    )

    def answers() -> bool:
        assert process.poll() is None
        try:
            return httpx.get(f"http://127.0.0.1:{port}/openapi.json").status_code == 200
        except httpx.TransportError:
            return False

    try:
        until(answers)
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
            yield client
    finally:
        process.kill()
        process.wait()


def test_who_is_there_is_admitted_and_nobody_else(tmp_path: Path) -> None:
    pair = SyntheticRig(seed=107, subject=9000).next().pair
    files = {"rgb": encode(pair.image("rgb")[:, :, ::-1], ".png"), "ir": encode(pair.image("ir"), ".png")}
    unlit = {**files, "ir": encode(pair.image("ir") // 16, ".png")}
    with serving(tmp_path / "log") as (process, address), backend(address) as client:
        admitted = client.post("/check-in", files=files).json()
        assert admitted["admitted"] is True
        assert admitted["request_id"] in (tmp_path / "log").read_text()
        refused = client.post("/check-in", files=unlit).json()
        assert refused["admitted"] is False
        assert refused["reasons"]
        nobody = client.post("/check-in", files={"rgb": rgb_file(), "ir": ir_file()}).json()
        assert (nobody["admitted"], nobody["reasons"]) == (False, ["no_face"])
        assert client.post("/check-in", files={"rgb": files["rgb"]}).status_code == 422
        process.kill()
        process.wait()
        gone = client.post("/check-in", files=files)
        assert gone.status_code == 503
        assert "admitted" not in gone.json()
