"""Atomic writing of files and folders."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from runtime.core.files import draft_folder, write_atomically


def test_a_file_is_replaced_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "state"
    path.write_bytes(b"old")
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_permissions_are_those_asked_for_less_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        write_atomically(tmp_path / "shown", b"")
        write_atomically(tmp_path / "own", b"", mode=0o600)
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {"shown": 0o644, "own": 0o600}


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failure_leaves_the_old_file(tmp_path: Path, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state"
    path.write_bytes(b"old")

    def full(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, step, full)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    other, link = tmp_path / "other", tmp_path / "link"
    other.write_bytes(b"somebody else's")
    link.symlink_to(other)
    write_atomically(link, b"new")
    assert other.read_bytes() == b"somebody else's"
    assert not link.is_symlink()


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "set"
    with draft_folder(path) as draft:
        (draft / "a").write_bytes(b"1")
        os.rename(draft, path)
    assert [file.name for file in path.iterdir()] == ["a"]
    with draft_folder(tmp_path / "other") as draft:
        (draft / "a").write_bytes(b"1")
    assert list(tmp_path.iterdir()) == [path]
