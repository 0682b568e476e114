"""The audit log: every decision as one JSON line, each line holding the digest of the one before it.

Whoever changes, removes or inserts a line breaks the chain from there on, which `service.audit.verify` finds. Whoever
can write the whole file could forge a whole new chain; signed checkpoints, where a key is configured, stop that for all
that came before the last of them. Lines hold decisions and reasons: no picture, no face, and no score where scores
are hidden.

A crash can tear the last line. The next start seals it: a line that states the torn bytes' digest follows, and the
chain goes on from the last whole line.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import threading
from collections.abc import Callable, Mapping
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
    """``policy``: what happens when a line cannot be written: no decision, or a gap that the log states later.

    ``sync``: ``each`` line is on the disk before its decision is given; ``none`` leaves that to the system.
    ``max_bytes``: a file is closed and the next begun above it. ``keep``: closed files kept, 0 for all.
    ``checkpoint_every``: lines between signed checkpoints, where there is a key. ``replica``: the process that writes,
    named in the lines at which it begins; empty for none.
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
    """Writes the log at ``settings.path``. Safe to call from several threads; one process owns the file.

    Raises:
        ConfigError: another process has it, or it cannot be opened. AuditBroken: its end is no end of an audit log.
    """

    def __init__(
        self, settings: AuditLogOptions, signer: Signer | None = None, clock: Callable[[], str] = _utc_now
    ) -> None:
        self._settings = settings
        self._signer = signer
        self._clock = clock
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
                f"{settings.path}: the audit log cannot be opened: {error.strerror}. See ADSN_AUDIT."
            ) from error
        except BaseException:
            self._release()
            raise

    def decision(self, answer: Mapping[str, Any], *, caller: str, device: str = "") -> None:
        """Write down the body of an answer of ``POST /liveness``, or of a kiosk's decision of the same form.

        Raises:
            AuditUnavailable: it could not be written and the policy is ``required``: the decision must not be given.
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
        """Append one line of ``kind``. Raises as `decision`."""
        try:
            with self._lock:
                if self._file < 0:
                    raise OSError(errno.EBADF, "it is closed")
                if self._lost:
                    self._append("gap", {"lost": self._lost})
                    log.warning("%s: written again; %d lines are missing.", self._settings.path, self._lost)
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
        """Write a last line, sign it, and let go of the file. May be called twice."""
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
            self.failures += 1
            self._lost += 1
            first = self._lost == 1
        if first:
            log.error("%s: the audit log cannot be written: %s", self._settings.path, error.strerror)
        if self._settings.policy == "required":
            raise AuditUnavailable(
                "the decision could not be written to the audit log, which is required; none is given. See the "
                "service's log."
            ) from error

    def _sync_to(self, seq: int) -> None:
        """Wait until line ``seq`` is on the disk. Threads that wait together share one call."""
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

    # What follows runs under the lock, or before anyone else knows of the log.

    def _resume(self) -> None:
        """Find the last whole line, seal what a crash left behind it, and say that the log goes on."""
        path = self._settings.path
        size = self._end = os.fstat(self._file).st_size
        closed = closed_files(path)
        if size == 0 and not closed:
            self._append("open", self._opening(None))
            return
        # An empty file beside closed ones: stopped between closing one and the first line of the next.
        before = closed[-1].read_bytes()[-4 * MAX_LINE_BYTES :] if size == 0 else None
        tail = os.pread(self._file, 4 * MAX_LINE_BYTES, max(0, size - 4 * MAX_LINE_BYTES)) if before is None else before
        self.link, torn = last_link(tail, str(path))
        begin = b"" if size == 0 or tail.endswith(b"\n") else b"\n"
        if torn and size:
            log.warning("%s: a crash tore the last line; it is sealed.", path)
            stated = {"torn_bytes": len(torn.removesuffix(b"\n")), "torn_sha256": torn_digest(torn)}
            self._append("sealed", stated, begin)
            begin = b""
        self._append("open", self._opening(closed[-1].name if size == 0 else None), begin)

    def _opening(self, after: str | None) -> dict[str, Any]:
        """What a line says at which a process or a file begins. ``after``: the file that was closed before."""
        return {"after": after} | ({"replica": self._settings.replica} if self._settings.replica else {})

    def _append(self, kind: str, members: Mapping[str, Any], begin: bytes = b"") -> None:
        line = self.link.next(kind, self._clock(), members)
        if len(line) >= MAX_LINE_BYTES:
            raise OSError(errno.EMSGSIZE, "a line is too long")
        data = begin + line + b"\n"
        try:
            if os.write(self._file, data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            # Half a line must not stay: the next one would be glued to it.
            os.ftruncate(self._file, self._end)
            raise
        self._end += len(data)
        self.link = link_of(line, {"seq": self.link.seq + 1})

    def _checkpoint(self) -> None:
        if self._signer is not None:
            claims = {"seq": self.link.seq, "digest": self.link.digest, "time": self._clock()}
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
    """Make this process the only one that writes ``path``; returns what to close when it no longer is."""
    # Not on the log itself, whose file changes when it grows.
    beside = path.with_name(path.name + ".lock")
    try:
        file = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigError(f"{path}: the audit log cannot be opened: {error.strerror}. See ADSN_AUDIT.") from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(file)
        raise ConfigError(f"{path}: another process writes this audit log. Give each one its own.") from error
    return file
