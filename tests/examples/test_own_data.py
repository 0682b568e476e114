"""examples/own-data: its files are the same as on the page, and its script runs on the simulated set of the page."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support.docs.pages import ROOT, blocks_of
from tests.support.docs.runner import DocumentedPage

FOLDER = ROOT / "examples/own-data"
PAGE = blocks_of("docs/own-data.md")


@pytest.mark.parametrize("name", ["recipe.toml", "plan.toml"])
def test_its_files_are_those_of_the_page(name: str) -> None:
    (shown,) = [block.text for block in PAGE if block.marker("save") == name]
    assert (FOLDER / name).read_text(encoding="utf-8") == shown


def test_its_commands_are_those_of_the_page() -> None:
    script = (FOLDER / "run.sh").read_text(encoding="utf-8")
    for command in ("adsn-train", "adsn-serve keygen", "adsn-export", "adsn-eval"):
        assert command in script
        assert any(command in block.text for block in PAGE)
    assert subprocess.run(["sh", "-n", FOLDER / "run.sh"], check=False).returncode == 0


@pytest.mark.docs_slow
@pytest.mark.timeout(3600)
def test_the_script_makes_a_bundle_and_a_report(tmp_path: Path) -> None:
    (simulated,) = [block for block in PAGE if block.language == "python"]
    with DocumentedPage(tmp_path) as page:
        page.run(simulated, 900)
        done = subprocess.run(
            ["sh", "examples/own-data/run.sh"], cwd=tmp_path, env=page.env, capture_output=True, text=True, timeout=3000
        )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert (tmp_path / "runs/bundle/manifest.sig").exists()
    assert (tmp_path / "runs/report.html").stat().st_size > 10_000
