"""Verify an audit log, or a folder with the logs of several replicas: ``adsn-serve audit verify PATH``.

Any line that was changed, removed, inserted or moved is detected. The files alone cannot show that lines were cut off
at the end, or that all lines after the last signed checkpoint were forged. To detect that, compare ``seq`` and
``digest`` of the last line with values stored elsewhere (the metric ``adsn_audit_seq`` exports ``seq``).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.core.errors import AuditBroken, TokenInvalid
from service.audit.jws import Verifier
from service.audit.lines import (
    CHECKPOINT_TYPE,
    FIRST_LINK,
    ChainLink,
    closed_files,
    link_of,
    log_of,
    parse_line,
    torn_digest,
)


@dataclass(slots=True)
class AuditReport:
    """Result of verifying a whole log.

    ``first``: number of the first line, above 1 if older files were removed. ``signed``: number of the last line
    covered by a verified checkpoint, 0 for none. ``lost``: number of lines that the writer reported as lost.
    ``sealed``: number of lines torn by crashes. ``torn_end``: whether the last line is torn and not sealed yet.
    ``watched``: digest of the requested line. ``replica``: name of the last writer, empty if the log has none.
    ``begin``: digest of the first line.
    """

    lines: int = 0
    first: int = 0
    last: ChainLink = FIRST_LINK
    decisions: int = 0
    checkpoints: int = 0
    signed: int = 0
    lost: int = 0
    sealed: int = 0
    torn_end: bool = False
    watched: str = ""
    replica: str = ""
    begin: str = ""


def check_audit(path: Path, verifier: Verifier | None = None, *, watch_seq: int | None = None) -> AuditReport:
    """Verify the log at ``path`` together with its closed files.

    ``verifier``: if given, the checkpoints are verified as well. ``watch_seq``: number of a line whose digest is to be
    reported.

    Raises:
        AuditBroken: there is no log, or a line is wrong. The message names the file, the line and the fault.
    """
    report = AuditReport()
    torn: list[bytes] = []
    torn_at = ""
    for where, line in _lines(path):
        members = parse_line(line)
        if members is None:
            torn_at = torn_at if torn else where
            torn.append(line)
            continue
        if torn and members.get("kind") != "sealed":
            raise AuditBroken(f"{torn_at}: not a line of an audit log, and the next line does not seal it.")
        _check(report, where, line, members, b"\n".join(torn), verifier)
        torn.clear()
        if report.last.seq == watch_seq:
            report.watched = report.last.digest
    if not report.lines:
        raise AuditBroken(f"{path}: there is no audit log, or it has no complete line.")
    # A crash leaves a torn line at the very end, which the next start seals.
    report.torn_end = bool(torn)
    return report


@dataclass(frozen=True, slots=True)
class FolderReport:
    """Result of verifying the logs of a folder.

    ``chains``: file name → report. ``broken``: one sentence for each log that is broken. ``named_twice``: names of
    replicas that occur in several logs, so that the author of a line is unclear.
    """

    chains: dict[str, AuditReport]
    broken: tuple[str, ...]
    named_twice: tuple[str, ...]


def check_folder(folder: Path, verifier: Verifier | None = None) -> FolderReport:
    """Verify every log in ``folder``, each together with its closed files.

    A broken log does not end the verification of the others.

    Raises:
        AuditBroken: the folder contains no log, or cannot be read.
    """
    try:
        paths = sorted(path for path in folder.glob("*.jsonl") if path.is_file())
    except OSError as error:
        raise AuditBroken(f"{folder}: cannot be read: {error.strerror}.") from error
    logs = sorted({log_of(path) for path in paths})
    if not logs:
        raise AuditBroken(f"{folder}: there is no audit log (*.jsonl) in it. Name the folder with the replicas' logs.")
    chains: dict[str, AuditReport] = {}
    broken: list[str] = []
    begun: dict[str, Path] = {}
    for path in logs:
        try:
            report = check_audit(path, verifier)
        except AuditBroken as error:
            broken.append(error.message)
            continue
        chains[path.name] = report
        other = begun.setdefault(report.begin, path)
        if other != path:
            broken.append(f"{path}: begins with the same line as {other.name}: one is a copy of the other.")
    names = [report.replica for report in chains.values() if report.replica]
    return FolderReport(chains, tuple(broken), tuple(sorted({name for name in names if names.count(name) > 1})))


def _lines(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield location and content of every line in all files of a log."""
    for file in (*closed_files(path), path):
        try:
            with file.open("rb") as stream:
                for number, line in enumerate(stream, 1):
                    yield f"{file}, line {number}", line.removesuffix(b"\n")
        except FileNotFoundError:
            continue
        except OSError as error:
            raise AuditBroken(f"{file} cannot be read: {error.strerror}.") from error


def _check(
    report: AuditReport, where: str, line: bytes, members: dict[str, Any], torn: bytes, verifier: Verifier | None
) -> None:
    kind, seq = members.get("kind"), members["seq"]
    if not report.lines:
        if seq == 1 and members["prev"] != FIRST_LINK.digest:
            raise AuditBroken(f"{where}: line number 1 does not start a chain.")
        report.first, report.begin = seq, link_of(line, members).digest
    elif members["prev"] != report.last.digest:
        raise AuditBroken(f"{where}: does not follow the line before it. That line was changed, or lines are missing.")
    elif seq != report.last.seq + 1:
        raise AuditBroken(f"{where}: has the number {seq} after {report.last.seq}.")
    if kind == "sealed":
        if torn_digest(torn) != members.get("torn_sha256"):
            raise AuditBroken(f"{where}: the sealed digest does not match the bytes before it.")
        report.sealed += 1
    elif kind == "checkpoint":
        _check_signature(report, where, members, verifier)
    elif kind == "gap":
        report.lost += int(members["lost"])
    elif kind == "decision":
        report.decisions += 1
    elif kind == "open":
        report.replica = str(members.get("replica", report.replica))
    report.lines += 1
    report.last = link_of(line, members)


def _check_signature(report: AuditReport, where: str, members: dict[str, Any], verifier: Verifier | None) -> None:
    report.checkpoints += 1
    if verifier is None:
        return
    try:
        claims = verifier.verify(CHECKPOINT_TYPE, str(members.get("token")))
    except TokenInvalid as error:
        raise AuditBroken(f"{where}: the checkpoint is not signed by this key: {error.message}") from error
    if (claims.get("seq"), claims.get("digest")) != (members["seq"] - 1, members["prev"]):
        raise AuditBroken(f"{where}: the checkpoint is for another line; lines before it were forged.")
    report.signed = members["seq"] - 1
