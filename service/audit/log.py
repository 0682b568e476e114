"""The audit log: a JSON line for each decision and each event of the log itself, such as opening, closing or a gap.
Each line has the digest of the previous one.

Changing, removing or inserting a line breaks the chain, which `service.audit.verify` detects. An attacker who can
rewrite the whole file could forge a new chain. If a key is configured, signed checkpoints prevent that for all lines up
to the last checkpoint. Lines contain decisions and reasons, but never images or faces, and no scores if scores are
hidden.

A crash can leave a partial ("torn") last line. The next start seals it: it appends a line with the digest of the torn
bytes, and the chain continues from the last complete line.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal

from runtime.core.errors import AuditUnavailable, ConfigError
from service.audit.jws import Signer
from service.audit.lines import (
    CHECKPOINT_TYPE,
    FIRST_LINK,
    MAX_LINE_BYTES,
    closed_files,
    last_link,
    link_of,
    next_closed,
    torn_digest,
)

log = logging.getLogger("adsn.audit")
Policy = Literal["required", "best-effort"]
Sync = Literal["each", "none"]
NEW_FILE = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
MODE = 0o640


@dataclass(frozen=True, slots=True)
class AuditLogOptions:
    """Options of the audit log.

    ``policy``: what happens if a line cannot be written. ``required`` withholds the decision; ``best-effort`` does not.
    Either way the log later states how many lines may be missing. ``sync``: with ``each``, a line is on disk before its
    decision is returned; with ``none``, the system decides when to flush. ``max_bytes``: size at which a file is closed
    and a new one started. ``keep``: number of closed files to keep, 0 for all. ``checkpoint_every``: number of lines
    between signed checkpoints, if there is a key. ``replica``: name of the writing process, recorded when it starts;
    empty for no name.
    """

    path: Path
    policy: Policy = "required"
    sync: Sync = "each"
    max_bytes: int = 64 << 20
    keep: int = 0
    checkpoint_every: int = 100
    replica: str = ""


def _utc_now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")


class AuditLog:
    """Writer of the log at ``settings.path``. Thread-safe. Only one process may own the file.

    ``link``: number and digest of the last line. ``failures``: number of lines whose writing failed.

    Raises:
        ConfigError: another process owns the file, or the file cannot be opened.
        AuditBroken: the file does not end like an audit log.
    """

    def __init__(self, settings: AuditLogOptions, signer: Signer | None = None) -> None:
        self._settings = settings
        self._signer = signer
        self._lock = threading.Lock()
        self._syncing = threading.Lock()
        self._synced = 0
        self._lost = 0
        self._end = 0
        self._since_checkpoint = 0
        self.failures = 0
        self.link = FIRST_LINK
        self._claimed = _claim(settings.path)
        self._file = -1
        try:
            self._file = os.open(settings.path, NEW_FILE, MODE)
            self._resume()
            os.fsync(self._file)
            self._sync_folder()
        except OSError as error:
            self._release()
            raise ConfigError(
                f"{settings.path}: the audit log cannot be opened: {error.strerror}. Check audit.path."
            ) from error
        except BaseException:
            self._release()
            raise

    def decision(self, answer: Mapping[str, Any], *, caller: str, device: str = "") -> None:
        """Write a decision: a response body of ``POST /liveness``, or a decision of a kiosk in that form.

        Raises:
            AuditUnavailable: the line cannot be written and the policy is ``required``. Do not return the decision.
        """
        self.write(
            "decision",
            {
                "request_id": answer["request_id"],
                "session_id": answer.get("session_id"),
                "caller": caller,
                "device": device,
                "decision": answer["decision"],
                "reasons": list(answer["reasons"]),
                "score": answer.get("score"),
                "threshold": answer.get("threshold"),
                "source": answer["pair"]["source"],
                "model_sha256": answer["model"]["sha256"],
                "backend": answer["model"]["backend"],
            },
        )

    def write(self, kind: str, members: Mapping[str, Any]) -> None:
        """Append one line of ``kind``. Raises the same errors as `decision`."""
        try:
            with self._lock:
                if self._file < 0:
                    raise OSError(errno.EBADF, "the log is closed")
                if self._lost:
                    self._append("gap", {"lost": self._lost})
                    log.warning("%s: writing works again; %d lines are missing.", self._settings.path, self._lost)
                    self._lost = 0
                self._append(kind, members)
                mine = self.link.seq
                self._since_checkpoint += 1
                if self._since_checkpoint >= self._settings.checkpoint_every:
                    self._checkpoint()
                if self._end >= self._settings.max_bytes:
                    self._rotate()
            self._sync_to(mine)
        except OSError as error:
            self._failed(error)

    def close(self) -> None:
        """Write a last line, sign it if there is a key, and release the file. May be called more than once."""
        with self._lock:
            if self._file < 0:
                return
            with suppress(OSError):
                self._append("close", {})
                self._checkpoint()
                os.fsync(self._file)
            self._release()

    def _failed(self, error: OSError) -> None:
        with self._lock:
            # The line counts as lost even if it was written and only the flush or the rotation failed.
            self.failures += 1
            self._lost += 1
            first = self._lost == 1
        if first:
            log.error("%s: the audit log cannot be written: %s", self._settings.path, error.strerror)
        if self._settings.policy == "required":
            raise AuditUnavailable(
                "the audit log is required but cannot be written, so no decision is returned. See the service's log "
                "for the cause."
            ) from error

    def _sync_to(self, seq: int) -> None:
        """Wait until line ``seq`` is on disk. Threads waiting at the same time share one fsync."""
        if self._settings.sync == "none":
            return
        with self._syncing:
            with self._lock:
                if self._synced >= seq:
                    return
                reached, file = self.link.seq, os.dup(self._file)
            try:
                os.fsync(file)
            finally:
                os.close(file)
            with self._lock:
                self._synced = max(self._synced, reached)

    # The methods below are called with the lock held, or by the constructor.

    def _resume(self) -> None:
        """Continue after the last complete line: seal torn bytes and append an ``open`` line."""
        path = self._settings.path
        size = self._end = os.fstat(self._file).st_size
        closed = closed_files(path)
        if size == 0 and not closed:
            self._append("open", self._opening(None))
            return
        # If the file is empty and there are closed ones, the process stopped after closing a file and before writing to
        # the next.
        before = closed[-1].read_bytes()[-4 * MAX_LINE_BYTES :] if size == 0 else None
        tail = os.pread(self._file, 4 * MAX_LINE_BYTES, max(0, size - 4 * MAX_LINE_BYTES)) if before is None else before
        self.link, torn = last_link(tail, str(path))
        begin = b"" if size == 0 or tail.endswith(b"\n") else b"\n"
        if torn and size:
            log.warning("%s: a crash tore the last line; it has been sealed.", path)
            stated = {"torn_bytes": len(torn.removesuffix(b"\n")), "torn_sha256": torn_digest(torn)}
            self._append("sealed", stated, begin)
            begin = b""
        self._append("open", self._opening(closed[-1].name if size == 0 else None), begin)

    def _opening(self, after: str | None) -> dict[str, Any]:
        """Return the members of an ``open`` line, written when a process opens the log and when a new file begins.

        ``after``: name of the closed file that a new file follows; None otherwise.
        """
        return {"after": after} | ({"replica": self._settings.replica} if self._settings.replica else {})

    def _append(self, kind: str, members: Mapping[str, Any], begin: bytes = b"") -> None:
        line = self.link.next(kind, _utc_now(), members)
        if len(line) >= MAX_LINE_BYTES:
            raise OSError(errno.EMSGSIZE, "a line is too long")
        data = begin + line + b"\n"
        try:
            if os.write(self._file, data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            # Remove a partial line; otherwise the next line would be appended to it.
            os.ftruncate(self._file, self._end)
            raise
        self._end += len(data)
        self.link = link_of(line, {"seq": self.link.seq + 1})

    def _checkpoint(self) -> None:
        if self._signer is not None:
            claims = {"seq": self.link.seq, "digest": self.link.digest, "time": _utc_now()}
            self._append("checkpoint", {"token": self._signer.sign(CHECKPOINT_TYPE, claims)})
        self._since_checkpoint = 0

    def _rotate(self) -> None:
        path, target = self._settings.path, next_closed(self._settings.path)
        self._checkpoint()
        os.fsync(self._file)
        os.rename(path, target)
        try:
            file = os.open(path, NEW_FILE | os.O_EXCL, MODE)
        except OSError:
            os.rename(target, path)
            raise
        os.close(self._file)
        self._file, self._end = file, 0
        self._append("open", self._opening(target.name))
        os.fsync(self._file)
        self._sync_folder()
        self._synced = self.link.seq
        if self._settings.keep:
            for old in closed_files(path)[: -self._settings.keep]:
                old.unlink()

    def _sync_folder(self) -> None:
        folder = os.open(self._settings.path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _release(self) -> None:
        for file in (self._file, self._claimed):
            if file >= 0:
                os.close(file)
        self._file = self._claimed = -1


def _claim(path: Path) -> int:
    """Lock ``path`` for this process. Return the descriptor whose closing releases the lock."""
    # The lock file is separate, because rotation replaces the log file.
    beside = path.with_name(path.name + ".lock")
    try:
        file = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigError(f"{path}: the audit log cannot be opened: {error.strerror}. Check audit.path.") from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(file)
        raise ConfigError(f"{path}: another process writes this audit log. Give each process its own.") from error
    return file
