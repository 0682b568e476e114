"""Write and alter audit logs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from service.audit.jws import Signer
from service.audit.log import AuditLog, AuditLogOptions


def answer(number: int = 0, score: float | None = 0.5) -> dict[str, Any]:
    return {
        "request_id": f"r-{number}",
        "session_id": None,
        "decision": "uncertain",
        "reasons": ["ir_unlit"],
        "score": score,
        "threshold": None,
        "pair": {"source": "upload"},
        "model": {"sha256": "0" * 64, "backend": "fake"},
        "face": {"bbox": [1, 2, 3, 4]},
    }


def fill(path: Path, count: int, signer: Signer | None = None, **settings: Any) -> None:
    log = AuditLog(AuditLogOptions(path, **settings), signer)
    for number in range(count):
        log.decision(answer(number), caller="gate")
    log.close()


def edit(path: Path, change: Callable[[list[bytes]], None]) -> None:
    found = path.read_bytes().splitlines(keepends=True)
    change(found)
    path.write_bytes(b"".join(found))
