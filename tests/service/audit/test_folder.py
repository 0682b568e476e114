"""Logs of several replicas in one folder: each is verified and names its writer, and a copy does not count as a second
one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from runtime.bundle.signature import write_key_pair
from runtime.core.errors import AuditBroken
from service.audit.jws import Signer, Verifier
from service.audit.verify import check_audit, check_folder
from tests.support.service.audit_logs import edit, fill


def test_each_chain_is_checked_and_names_its_replica(tmp_path: Path) -> None:
    public = write_key_pair(tmp_path / "device.pem")
    signer = Signer(tmp_path / "device.pem")
    logs = tmp_path / "logs"
    logs.mkdir()
    for number in (1, 2):
        fill(logs / f"audit-{number}.jsonl", 20, signer, replica=f"pod-{number}", max_bytes=4096)
    # Written before replicas had names.
    fill(logs / "old.jsonl", 3)
    (logs / "audit-1.jsonl.lock").touch()
    found = check_folder(logs, Verifier(public))
    assert {name: report.replica for name, report in found.chains.items()} == {
        "audit-1.jsonl": "pod-1",
        "audit-2.jsonl": "pod-2",
        "old.jsonl": "",
    }
    assert [report.decisions for report in found.chains.values()] == [20, 20, 3]
    assert len(list(logs.glob("audit-1.*.jsonl"))) >= 1
    assert found.chains["audit-1.jsonl"].signed > 0
    assert (found.broken, found.named_twice) == ((), ())


def test_every_broken_chain_is_named(tmp_path: Path) -> None:
    for number in range(3):
        fill(tmp_path / f"{number}.jsonl", 3, replica=f"pod-{number}")
    for number in (0, 2):
        edit(tmp_path / f"{number}.jsonl", lambda lines: lines.__setitem__(2, lines[2].replace(b"uncertain", b"live")))
    found = check_folder(tmp_path)
    assert set(found.chains) == {"1.jsonl"}
    assert [sentence.partition(",")[0] for sentence in found.broken] == [
        str(tmp_path / "0.jsonl"),
        str(tmp_path / "2.jsonl"),
    ]


def test_a_copy_is_not_another_replicas_log(tmp_path: Path) -> None:
    fill(tmp_path / "a.jsonl", 3, replica="pod-1")
    shutil.copy(tmp_path / "a.jsonl", tmp_path / "b.jsonl")
    (sentence,) = check_folder(tmp_path).broken
    assert "one is a copy of the other" in sentence


def test_two_logs_of_one_name_are_said(tmp_path: Path) -> None:
    for name in ("a", "b"):
        fill(tmp_path / f"{name}.jsonl", 1, replica="pod-1")
    found = check_folder(tmp_path)
    assert (found.broken, found.named_twice) == ((), ("pod-1",))


def test_a_replica_that_gets_another_name_says_so(tmp_path: Path) -> None:
    fill(tmp_path / "a.jsonl", 1, replica="pod-1")
    fill(tmp_path / "a.jsonl", 1, replica="pod-2")
    assert check_audit(tmp_path / "a.jsonl").replica == "pod-2"


def test_a_folder_without_logs_is_no_good_folder(tmp_path: Path) -> None:
    with pytest.raises(AuditBroken, match="there is no audit log"):
        check_folder(tmp_path)
