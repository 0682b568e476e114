"""The audit log: its chain reveals tampering and survives crashes, full disks and rotation."""

from __future__ import annotations

import errno
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runtime.bundle.signature import write_key_pair
from runtime.core.errors import AuditBroken, AuditUnavailable, ConfigError
from service.audit.jws import Signer, Verifier
from service.audit.lines import closed_files
from service.audit.log import AuditLog, AuditLogOptions
from service.audit.verify import check_audit
from tests.support.service.audit_logs import answer, edit, fill
from tests.support.service.full_disk import FullDisk


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Signer, Verifier]:
    private = tmp_path_factory.mktemp("keys") / "device.pem"
    public = write_key_pair(private)
    return Signer(private), Verifier(public)


def test_a_log_says_what_was_decided_and_no_more(path: Path) -> None:
    fill(path, 3)
    first = lines(path)[1]
    assert first == {
        "seq": 2,
        "time": first["time"],
        "kind": "decision",
        "prev": first["prev"],
        "request_id": "r-0",
        "session_id": None,
        "caller": "gate",
        "device": "",
        "decision": "uncertain",
        "reasons": ["ir_unlit"],
        "score": 0.5,
        "threshold": None,
        "source": "upload",
        "model_sha256": "0" * 64,
        "backend": "fake",
    }
    assert [line["kind"] for line in lines(path)] == ["open", "decision", "decision", "decision", "close"]
    report = check_audit(path)
    assert (report.lines, report.first, report.decisions, report.torn_end) == (5, 1, 3, False)
    assert path.stat().st_mode & 0o007 == 0


def test_it_goes_on_after_a_restart(path: Path) -> None:
    fill(path, 2)
    fill(path, 2)
    assert [line["seq"] for line in lines(path)] == list(range(1, 9))
    assert check_audit(path).decisions == 4


def replace(index: int, old: bytes, new: bytes) -> Callable[[list[bytes]], None]:
    def change(found: list[bytes]) -> None:
        assert old in found[index]
        found[index] = found[index].replace(old, new)

    return change


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (replace(3, b"uncertain", b"live"), 5),
        (replace(3, b'"seq":4', b'"seq":5'), 4),
        (replace(0, b'"prev":"0', b'"prev":"1'), 1),
        (lambda found: found.pop(3), 4),
        (lambda found: found.insert(3, found[3]), 5),
        (lambda found: found.reverse(), 2),
        (lambda found: found.__setitem__(slice(2, 4), [found[3], found[2]]), 3),
        (lambda found: found.__setitem__(3, b"rubbish\n"), 4),
        (lambda found: found.__setitem__(3, b"\n"), 4),
        (lambda found: found.__setitem__(3, found[3] + b"{}\n"), 5),
        (lambda found: found.__setitem__(3, b"[" * 5000 + b"\n"), 4),
    ],
)
def test_the_first_broken_line_is_named(path: Path, change: Callable[[list[bytes]], None], line: int) -> None:
    fill(path, 6)
    edit(path, change)
    with pytest.raises(AuditBroken, match=rf"audit\.jsonl, line {line}: "):
        check_audit(path)


def test_a_missing_log_is_no_good_log(path: Path) -> None:
    with pytest.raises(AuditBroken, match="no audit log"):
        check_audit(path)
    path.write_bytes(b"not one\n")
    with pytest.raises(AuditBroken):
        check_audit(path)
    with pytest.raises(AuditBroken, match="Move it away"):
        AuditLog(AuditLogOptions(path))
    assert path.read_bytes() == b"not one\n"


@pytest.mark.parametrize("cut", [1, 5, 40, 100])
def test_a_torn_line_is_sealed_by_the_next_start(path: Path, cut: int) -> None:
    fill(path, 3)
    with path.open("r+b") as stream:
        stream.truncate(path.stat().st_size - cut)
    torn = check_audit(path)
    assert torn.torn_end == (cut > 1)  # without only its line break, a line is complete
    fill(path, 1)
    report = check_audit(path)
    assert (report.sealed, report.torn_end) == (1 if cut > 1 else 0, False)
    assert report.decisions == 4
    fill(path, 1)
    assert check_audit(path).decisions == 5


def test_zeros_that_a_power_cut_leaves_are_sealed(path: Path) -> None:
    fill(path, 3)
    with path.open("ab") as stream:
        stream.write(b"\0" * 700 + b"\n" + b"\0" * 300)
    fill(path, 1)
    report = check_audit(path)
    assert (report.sealed, report.decisions) == (1, 4)


def test_a_seal_covers_only_the_bytes_it_states(path: Path) -> None:
    fill(path, 3)
    with path.open("ab") as stream:
        stream.write(b'{"half')
    fill(path, 1)
    edit(path, lambda found: found.__setitem__(5, b'{"calf\n'))
    with pytest.raises(AuditBroken, match="line 7: the sealed digest does not match"):
        check_audit(path)


def test_every_place_to_crash_leaves_a_log_that_goes_on(path: Path) -> None:
    fill(path, 3)
    whole = path.read_bytes()
    for size in range(whole.index(b"\n"), len(whole), 37):
        path.write_bytes(whole[:size])
        fill(path, 1)
        check_audit(path)


def test_rotation_keeps_the_chain(path: Path) -> None:
    fill(path, 40, max_bytes=2000)
    assert len(closed_files(path)) > 3
    report = check_audit(path)
    assert (report.decisions, report.first) == (40, 1)
    edit(closed_files(path)[1], lambda found: found.__delitem__(-1))
    with pytest.raises(AuditBroken, match=r"audit\.000003\.jsonl, line 1: does not follow"):
        check_audit(path)


def test_a_removed_middle_file_is_noticed(path: Path) -> None:
    fill(path, 40, max_bytes=2000)
    closed_files(path)[2].unlink()
    with pytest.raises(AuditBroken, match=r"audit\.000004\.jsonl, line 1"):
        check_audit(path)


def test_old_files_go_and_the_report_says_where_the_chain_begins(path: Path) -> None:
    fill(path, 40, max_bytes=2000, keep=2)
    assert len(closed_files(path)) == 2
    report = check_audit(path)
    assert report.first > 1
    assert report.last.seq == report.first + report.lines - 1


def test_stopped_between_two_files(path: Path) -> None:
    fill(path, 12, max_bytes=2000)
    path.rename(path.with_name("audit.000099.jsonl"))
    fill(path, 1)
    assert check_audit(path).decisions == 13
    assert lines(path)[0]["after"] == "audit.000099.jsonl"


def test_checkpoints_are_signed_and_a_chain_made_anew_is_noticed(path: Path, keys: tuple[Signer, Verifier]) -> None:
    signer, verifier = keys
    fill(path, 25, signer, checkpoint_every=10)
    report = check_audit(path, verifier)
    assert report.checkpoints == 3
    assert report.signed == report.last.seq - 1
    tokens = [line for line in lines(path) if line["kind"] == "checkpoint"]
    # An attacker without the key forges the whole chain and inserts the old checkpoints.
    path.unlink()
    log = AuditLog(AuditLogOptions(path))
    for number in range(10):
        log.decision(answer(number) | {"decision": "live"}, caller="gate")
    log.write("checkpoint", {"token": tokens[0]["token"]})
    log.close()
    check_audit(path)
    with pytest.raises(AuditBroken, match="for another line"):
        check_audit(path, verifier)


def test_checkpoints_of_another_key(path: Path, keys: tuple[Signer, Verifier], tmp_path: Path) -> None:
    fill(path, 5, keys[0])
    other = Verifier(write_key_pair(tmp_path / "other.pem"))
    with pytest.raises(AuditBroken, match="not signed by this key"):
        check_audit(path, other)


def test_a_full_disk_gives_no_decision_where_the_log_is_required(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = AuditLog(AuditLogOptions(path))
    log.decision(answer(0), caller="gate")
    disk = FullDisk(100)
    monkeypatch.setattr("service.audit.log.os.write", disk)
    for number in (1, 2, 3):
        with pytest.raises(AuditUnavailable) as caught:
            log.decision(answer(number), caller="gate")
        assert caught.value.retryable
    assert log.failures == 3
    assert check_audit(path).torn_end is False  # the partial line was truncated
    disk.room = 10**6
    log.decision(answer(4), caller="gate")
    log.close()
    report = check_audit(path)
    assert (report.decisions, report.lost) == (2, 3)


def test_a_full_disk_leaves_a_stated_gap_where_the_log_is_not_required(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = AuditLog(AuditLogOptions(path, policy="best-effort"))
    disk = FullDisk(0)
    monkeypatch.setattr("service.audit.log.os.write", disk)
    for number in range(5):
        log.decision(answer(number), caller="gate")
    disk.room = 10**6
    log.decision(answer(5), caller="gate")
    log.close()
    assert check_audit(path).lost == 5
    assert [line["kind"] for line in lines(path)] == ["open", "gap", "decision", "close"]


def test_a_disk_that_does_not_keep_what_it_took_gives_no_decision(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = AuditLog(AuditLogOptions(path))

    def broken(file: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr("service.audit.log.os.fsync", broken)
        with pytest.raises(AuditUnavailable):
            log.decision(answer(), caller="gate")
    log.close()
    check_audit(path)


def test_no_space_for_the_next_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = AuditLog(AuditLogOptions(path, max_bytes=1))
    opened = os.open

    def full(name: Any, flags: int, *rest: Any) -> int:
        if flags & os.O_EXCL:
            raise OSError(errno.ENOSPC, "No space left on device")
        return opened(name, flags, *rest)

    with monkeypatch.context() as patch:
        patch.setattr("service.audit.log.os.open", full)
        with pytest.raises(AuditUnavailable):
            log.decision(answer(0), caller="gate")
        assert path.exists()
        assert closed_files(path) == []
    log.decision(answer(1), caller="gate")
    log.close()
    report = check_audit(path)
    assert (report.decisions, report.lost) == (2, 1)
    assert closed_files(path)


def test_threads_write_one_chain(path: Path) -> None:
    log = AuditLog(AuditLogOptions(path, max_bytes=8000))

    def work() -> None:
        for number in range(15):
            log.decision(answer(number), caller="gate")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.close()
    assert check_audit(path).decisions == 60


def test_one_process_owns_a_log_and_gives_it_back(path: Path) -> None:
    log = AuditLog(AuditLogOptions(path))
    with pytest.raises(ConfigError, match="another process"):
        AuditLog(AuditLogOptions(path))
    log.close()
    log.close()
    with pytest.raises(AuditUnavailable):
        log.decision(answer(), caller="gate")
    AuditLog(AuditLogOptions(path)).close()


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"Check audit\.path"):
        AuditLog(AuditLogOptions(tmp_path / "none" / "audit.jsonl"))


def test_a_link_in_the_logs_place_is_not_followed(path: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b"")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError):
        AuditLog(AuditLogOptions(path))
    assert (tmp_path / "elsewhere").read_bytes() == b""
