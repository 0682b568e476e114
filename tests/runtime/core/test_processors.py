"""The number of usable cores, read from the kernel's control group files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runtime.core.processors import usable_cores


@pytest.fixture(autouse=True)
def _eight(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)


def says(root: Path, own: str, **files: str) -> int:
    (root / "own").write_text(own)
    for name, text in files.items():
        path = root / "groups" / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return usable_cores(root / "groups", root / "own")


def test_a_container_is_granted_what_its_group_says(tmp_path: Path) -> None:
    assert says(tmp_path, "0::/\n", cpu_dot_max="200000 100000\n") == 2


def test_the_narrowest_group_above_counts(tmp_path: Path) -> None:
    own = "0::/pods/one\n"
    assert says(tmp_path, own, pods__cpu_dot_max="300000 100000\n", pods__one__cpu_dot_max="max 100000\n") == 3


def test_a_share_of_a_processor_is_none_but_one_is_the_least(tmp_path: Path) -> None:
    assert says(tmp_path, "0::/\n", cpu_dot_max="250000 100000\n") == 2
    assert says(tmp_path, "0::/\n", cpu_dot_max="50000 100000\n") == 1


def test_the_older_layout(tmp_path: Path) -> None:
    own = "5:memory:/x\n4:cpu,cpuacct:/x\n"
    files = {"cpu__x__cpu_dot_cfs_quota_us": "400000\n", "cpu__x__cpu_dot_cfs_period_us": "100000\n"}
    assert says(tmp_path, own, **files) == 4
    assert says(tmp_path, own, cpu__x__cpu_dot_cfs_quota_us="-1\n") == 8


@pytest.mark.parametrize("text", ["max 100000\n", "nonsense", "1 0\n"])
def test_without_a_limit_it_is_what_the_process_is_pinned_to(tmp_path: Path, text: str) -> None:
    assert says(tmp_path, "0::/\n", cpu_dot_max=text) == 8
    assert usable_cores(tmp_path / "nothing", tmp_path / "nothing") == 8


def test_here_it_is_no_more_than_the_machine_has() -> None:
    assert 1 <= usable_cores() <= 8
