"""``python -m adsn.cli.render``: an error gives a single line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from synthetic.people.makehuman import VARIABLE


def run(tmp_path: Path, *arguments: str, assets: str | None) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k != VARIABLE}
    if assets is not None:
        environment[VARIABLE] = assets
    return subprocess.run(
        [sys.executable, "-m", "adsn.cli.render", str(tmp_path / "out"), *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize(
    ("arguments", "assets", "word"),
    [
        ([], None, VARIABLE),
        ([], "/nowhere/at/all", "no such folder"),
        (["--first", "5", "--last", "5"], None, "subjects"),
        (["--species", "mask_of_wax"], None, "mask_relief"),
    ],
)
def test_what_is_missing_is_one_line_and_exit_2(
    tmp_path: Path, arguments: list[str], assets: str | None, word: str
) -> None:
    done = run(tmp_path, *arguments, assets=assets)
    assert done.returncode == 2
    assert word in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_part_that_makes_no_sense_is_refused(tmp_path: Path) -> None:
    done = run(tmp_path, "--part", "2/2", assets=None)
    assert done.returncode == 2
    assert "expected k/n" in done.stderr
