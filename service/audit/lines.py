"""Format of the lines and files of an audit log, shared by the writer and the verifier."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.core.errors import AuditBroken
from service.audit.jws import canonical

CHECKPOINT_TYPE = "adsn-audit+jws"
GENESIS = "0" * 64
"""Value of the previous digest in the very first line."""
MAX_LINE_BYTES = 64 << 10


@dataclass(frozen=True, slots=True)
class ChainLink:
    """Number and digest of a line, to which the next line refers."""

    seq: int
    digest: str

    def next(self, kind: str, time: str, members: Mapping[str, Any]) -> bytes:
        """Return the line that follows, without a line break."""
        return canonical({"seq": self.seq + 1, "time": time, "kind": kind, "prev": self.digest, **members})


FIRST_LINK = ChainLink(0, GENESIS)


def parse_line(line: bytes) -> dict[str, Any] | None:
    """Return the members of a line, or None if it is not a line of an audit log."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or type(found.get("seq")) is not int or not isinstance(found.get("prev"), str):
        return None
    return found


def link_of(line: bytes, members: Mapping[str, Any]) -> ChainLink:
    """Return the link that the line after ``line`` refers to."""
    return ChainLink(members["seq"], hashlib.sha256(line).hexdigest())


def torn_digest(torn: bytes) -> str:
    """Return the digest of torn bytes, as stated in the ``sealed`` line after them. Their final line break is left
    out."""
    return hashlib.sha256(torn.removesuffix(b"\n")).hexdigest()


def last_link(tail: bytes, where: str) -> tuple[ChainLink, bytes]:
    """Return the link of the last complete line in the ``tail`` of a file, and the torn bytes after it.

    A line that lacks only its line break counts as complete.

    Raises:
        AuditBroken: the tail contains no complete line.
    """
    lines = tail.split(b"\n")
    torn = lines.pop()
    members = parse_line(torn)
    if members is not None:
        return link_of(torn, members), b""
    while lines:
        line = lines.pop()
        members = parse_line(line)
        if members is not None:
            return link_of(line, members), torn
        torn = line + b"\n" + torn
    raise AuditBroken(f"{where}: the file does not end with an audit log line. Move it away and find out who wrote it.")


def closed_files(path: Path) -> list[Path]:
    """Return the closed files of the log at ``path``, oldest first: ``audit.000001.jsonl`` next to ``audit.jsonl``."""
    return sorted(
        (p for p in path.parent.glob(f"{path.stem}.*{path.suffix}") if _number(path, p)), key=lambda p: p.name
    )


def log_of(path: Path) -> Path:
    """Return the log that a file belongs to: ``audit.jsonl`` for ``audit.000001.jsonl``, otherwise the file itself."""
    stem, _, number = path.stem.rpartition(".")
    log = path.with_name(f"{stem}{path.suffix}")
    return log if stem and len(number) == 6 and _number(log, path) else path


def next_closed(path: Path) -> Path:
    """Return the path to which the file at ``path`` is renamed when it is closed."""
    closed = closed_files(path)
    number = _number(path, closed[-1]) + 1 if closed else 1
    return path.with_name(f"{path.stem}.{number:06d}{path.suffix}")


def _number(path: Path, closed: Path) -> int:
    middle = closed.name[len(path.stem) + 1 : len(closed.name) - len(path.suffix)]
    return int(middle) if len(middle) == 6 and middle.isdecimal() else 0
