"""The README's first steps with the shipped model and real processes: sample images, the service, a response."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from runtime.bundle.manifest import open_bundle
from runtime.liveness.open import default_bundle
from tests.support.service.answers import checked

BIN = Path(sys.executable).parent
ATTACKS = ("print_matte", "print_toner", "replay_screen", "mask_rigid")


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("samples")
    subprocess.run([BIN / "adsn-rig", "sample", folder], check=True, capture_output=True, timeout=120)
    return folder


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ADSN_")}
    process = subprocess.Popen(
        [BIN / "adsn-serve", "--port", "0", "--rig", "synthetic"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment,
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:\d+", line)
        assert found, line
        deadline = time.monotonic() + 60
        while httpx.get(f"{found[0]}/readyz").status_code != 200:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield found[0]
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) in (0, -signal.SIGTERM)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def post(address: str, folder: Path, name: str, **parts: str) -> httpx.Response:
    files = {
        "rgb": (folder / f"{name}-0-rgb.jpg").read_bytes(),
        "ir": (folder / f"{name}-0-ir.png").read_bytes(),
        **{part: text.encode() for part, text in parts.items()},
    }
    return httpx.post(f"{address}/liveness", files=files, timeout=60)


def test_the_person_of_the_readme_is_live(address: str, samples: Path) -> None:
    response = post(address, samples, "bona_fide")
    assert response.status_code == 200, response.text
    body = checked(response.json())
    assert (body["decision"], body["reasons"]) == ("live", [])
    manifest = open_bundle(default_bundle()).manifest
    assert body["model"]["name"] == manifest.name
    assert (body["model"]["precision"], body["model"]["backend"]) == ("int8", "onnx-cpu")
    assert body["threshold"] == pytest.approx(manifest.operating_point().threshold, abs=1e-6)
    # The detected box agrees with the sensor's true box.
    x, y, w, h = body["face"]["bbox"]
    truth = json.loads((samples / "bona_fide-0.json").read_text())["face_box"]
    assert abs(x + w / 2 - truth[0] - truth[2] / 2) < truth[2] / 4
    assert abs(y + h / 2 - truth[1] - truth[3] / 2) < truth[2] / 4


@pytest.mark.parametrize("species", ATTACKS)
def test_no_attack_of_the_readme_is_live(address: str, samples: Path, species: str) -> None:
    response = post(address, samples, species)
    assert response.status_code == 200, response.text
    body = response.json()
    # A screen shows no face in infrared, where its image may be too flat for a decision.
    assert body["decision"] == "spoof" or (body["decision"] == "uncertain" and "ir_no_face" in body["reasons"])


def test_the_rig_of_the_readme_is_watched(address: str) -> None:
    with httpx.stream("GET", f"{address}/events", timeout=60) as response:
        lines = response.iter_lines()
        for line in lines:
            if line == "event: pair":
                pair = json.loads(next(lines).removeprefix("data: "))
                if pair["decision"] != "none":
                    break
    assert pair["decision"] in ("live", "uncertain")
    assert set(pair["boxes"]) == {"rgb", "ir"}
    page = httpx.get(f"{address}/console").text
    assert '"rig": true' in page


def test_a_box_in_meta_is_used(address: str, samples: Path) -> None:
    facts = json.loads((samples / "bona_fide-0.json").read_text())
    meta = json.dumps({"face_box": facts["face_box"], "ir_face_box": facts["ir_face_box"]})
    body = post(address, samples, "bona_fide", meta=meta).json()
    assert body["face"]["bbox"] == pytest.approx(facts["face_box"])
    assert body["decision"] == "live"
