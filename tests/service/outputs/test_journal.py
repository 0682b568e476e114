"""The event log: rotation, full disks, torn lines, and files that other programs move."""

from __future__ import annotations

import json
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from runtime.core.units import SECOND
from service.outputs.base import OutputError
from service.outputs.journal import JournalOutput
from tests.support.service.output_events import Clock, decision, other


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines() if line]


@contextmanager
def file_limit(size: int) -> Iterator[None]:
    """Limit the size of this process's files, as if the disk were full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_events_are_lines_and_only_decisions_are_flushed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[int] = []
    monkeypatch.setattr(os, "fdatasync", flushed.append)
    path = tmp_path / "deep" / "events.jsonl"
    journal = JournalOutput(path)
    journal.send(other())
    assert not flushed
    journal.send(decision())
    assert len(flushed) == 1
    journal.close()
    assert [line["kind"] for line in lines(path)] == ["state", "decision"]
    assert path.stat().st_mode & 0o777 == 0o640
    never, always = JournalOutput(path, sync="never"), JournalOutput(path, sync="always")
    never.send(decision())
    assert len(flushed) == 1
    always.send(other())
    assert len(flushed) == 2


def test_a_late_live_is_logged_as_what_it_has_become(tmp_path: Path) -> None:
    clock = Clock()
    event = decision(now=clock.now)
    clock.now += 2 * SECOND
    JournalOutput(tmp_path / "log", clock=clock).send(event)
    assert lines(tmp_path / "log")[0]["decision"] == "uncertain"


def test_it_rotates_by_size_and_keeps_so_many(tmp_path: Path) -> None:
    path = tmp_path / "log"
    journal = JournalOutput(path, max_bytes=400, keep=2)
    for number in range(40):
        journal.send(other(name=f"e{number}"))
    files = sorted(tmp_path.iterdir())
    assert [file.name for file in files] == ["log", "log.1", "log.2"]
    assert all(0 < file.stat().st_size <= 400 for file in files)
    kept = [line["id"] for file in (files[2], files[1], files[0]) for line in lines(file)]
    assert kept == [f"e{number}" for number in range(40 - len(kept), 40)]


def test_a_full_disk_loses_events_counts_them_and_ends_with_the_last_free_block(tmp_path: Path) -> None:
    path = tmp_path / "log"
    journal = JournalOutput(path)
    journal.send(other(name="before"))
    with file_limit(path.stat().st_size + 20):
        for number in range(3):
            with pytest.raises(OutputError, match=f"log: .*Events lost so far: {number + 1}"):
                journal.send(decision(f"lost{number}"))
        assert not journal.probe()
    assert journal.probe()
    journal.send(decision("after"))
    found = path.read_text().splitlines()
    assert json.loads(found[0])["id"] == "before"
    # The part that was written stays on its own line.
    assert found[1] == '{"kind":"decision","'
    assert [json.loads(line) for line in found[2:3]] == [{"kind": "lost", "count": 3}]
    assert json.loads(found[3])["id"] == "after"


def test_a_device_that_is_full_is_no_space_left() -> None:
    with pytest.raises(OutputError, match=r"/dev/full: No space left on device. Events lost so far: 1"):
        JournalOutput(Path("/dev/full")).send(other())


def test_half_a_line_left_by_a_power_cut_is_ended(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text('{"kind":"decision","id":"cu')
    JournalOutput(path).send(other(name="next"))
    assert json.loads(path.read_text().splitlines()[1])["id"] == "next"


def test_a_file_that_was_moved_or_deleted_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "log"
    journal = JournalOutput(path)
    journal.send(other(name="a"))
    path.rename(tmp_path / "moved")
    journal.send(other(name="b"))
    path.unlink()
    journal.send(other(name="c"))
    assert [line["id"] for line in lines(path)] == ["c"]
    assert [line["id"] for line in lines(tmp_path / "moved")] == ["a"]


def test_it_writes_through_no_link(tmp_path: Path) -> None:
    (tmp_path / "log").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OutputError, match="symbolic links"):
        JournalOutput(tmp_path / "log").send(other())
