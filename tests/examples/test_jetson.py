"""examples/jetson as far as another machine can check it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from service.config.settings import read_settings
from tests.support.docs.pages import ROOT
from tests.support.service.serving_process import COMMAND, ENVIRONMENT

FOLDER = ROOT / "examples/jetson"


def test_it_does_not_start_without_tensorrt() -> None:
    settings = read_settings(FOLDER / "serve.toml", environ={})
    assert (settings.engine, settings.require_engine, settings.profile) == ("tensorrt", True, "latency")
    done = subprocess.run(
        [*COMMAND, "--config", str(FOLDER / "serve.toml"), "--port", "0"],
        capture_output=True,
        text=True,
        timeout=60,
        env={**ENVIRONMENT, "ADSN_BUNDLE": str(ROOT / "models/adsn-rgb-ir")},
    )
    assert done.returncode != 0
    assert "tensorrt" in done.stderr.lower()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze: apt-get install systemd")
def test_systemd_understands_the_drop_in(tmp_path: Path) -> None:
    unit = tmp_path / "adsn-serve.service"
    text = (ROOT / "deploy/systemd/adsn-serve.service").read_text()
    unit.write_text(text.replace("/opt/adsn/bin/adsn-serve", "/bin/true").replace("User=adsn\nGroup=adsn\n", ""))
    (tmp_path / "adsn-serve.service.d").mkdir()
    shutil.copy(FOLDER / "jetson.conf", tmp_path / "adsn-serve.service.d")
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "jetson.conf" not in done.stderr, done.stderr
