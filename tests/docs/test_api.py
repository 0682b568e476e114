"""docs/api.md: its commands do what the page says, against a real service with the shipped model."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.liveness.contract import LivenessResponse
from tests.support.service.answers import checked
from tests.support.service.serving_process import serving

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "api.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
CURLS = [command for command in COMMANDS if command.startswith("curl")]

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="the page's examples use curl")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("api")
    sample = next(command for command in COMMANDS if command.startswith("adsn-rig"))
    words = sample.split()
    made = [sys.executable, "-c", "from runtime.cli.rig.main import main; main()", *words[1:]]
    subprocess.run(made, check=True, cwd=folder, capture_output=True, timeout=120)
    return folder


@pytest.fixture(scope="module")
def address(place: Path) -> Iterator[str]:
    with serving(place / "log") as (_, found):
        yield found


def test_the_page_has_examples() -> None:
    assert len(CURLS) >= 8


@pytest.mark.parametrize("command", CURLS, ids=[str(i) for i in range(len(CURLS))])
def test_a_command_of_the_page(place: Path, address: str, command: str) -> None:
    # curl has --json since version 7.82; older versions get the equivalent options.
    older = command.replace("--json", "-H 'Content-Type: application/json' -H 'Accept: application/json' --data")
    line = older.replace("http://127.0.0.1:8000", address)
    done = subprocess.run(["bash", "-c", line], cwd=place, capture_output=True, text=True, timeout=60, env=os.environ)
    assert done.returncode == 0, done.stderr
    body = json.loads(done.stdout)
    if '"source": "camera"' in command:
        assert body["code"] == "no_rig"
    elif "/liveness" in command and "-F ir=" in command:
        answer = checked(body)
        assert answer["decision"] == "live"
        assert ("explain" in answer) == ("explain" in command)
    elif "/liveness" in command:
        shown = re.search(r'```json\n(\{\n  "type".*?)```', PAGE, re.DOTALL)
        assert shown is not None
        assert {**body, "request_id": "…"} == json.loads(shown[1])
    else:
        assert body.get("status", "ready") in ("ready", "alive")


def test_the_answer_of_the_page_is_one() -> None:
    shown = re.search(r'```json\n(\{\n  "contract_version".*?)```', PAGE, re.DOTALL)
    assert shown is not None
    answer = checked(json.loads(shown[1]))
    assert set(json.loads(shown[1])) == set(LivenessResponse.__annotations__) - {"attestation", "explain"}
    assert answer["decision"] == "live"
