"""Event log: one JSON object per line, with rotation by size and configurable flushing to disk."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Literal

from service.outputs.base import Clock, Event, OutputError, boottime_ns

Sync = Literal["always", "decisions", "never"]


class JournalOutput:
    """Output that appends events to ``path``.

    At ``max_bytes`` the file is renamed to ``path.1``, the previous ``path.1`` to ``path.2``, and so on up to ``keep``.
    When the disk is full, events are lost and counted, and the first line written afterwards states the count. A
    partial line is terminated before the next one. Other programs (logrotate) may move the file at any time.
    """

    name = "log"

    def __init__(
        self, path: Path, *, max_bytes: int = 16 << 20, keep: int = 5, sync: Sync = "decisions",
        clock: Clock = boottime_ns,
    ) -> None:  # fmt: skip
        self._path, self._max, self._keep, self._sync, self._clock = path, max_bytes, keep, sync, clock
        self._fd = -1
        self._size = 0
        self._torn = False
        self._lost = 0

    def wants(self, event: Event) -> bool:
        return True

    def send(self, event: Event) -> None:
        """Append the event.

        Raises:
            OutputError: the event is lost. The message says why.
        """
        try:
            self._report_loss()
            durable = self._sync == "always" or (self._sync == "decisions" and event.kind == "decision")
            self._append(event.body(self._clock()), durable)
        except OSError as error:
            self._lost += 1
            self._close_file()
            raise OutputError(f"{self._path}: {error.strerror}. Events lost so far: {self._lost}.") from error

    def probe(self) -> bool:
        try:
            self._report_loss()
        except OSError:
            self._close_file()
            return False
        return True

    def close(self) -> None:
        self._close_file()

    def _report_loss(self) -> None:
        if self._lost:
            self._append({"kind": "lost", "count": self._lost}, self._sync != "never")
            self._lost = 0

    def _append(self, body: object, durable: bool) -> None:
        line = json.dumps(body, separators=(",", ":"), allow_nan=False).encode() + b"\n"
        self._open(len(line))
        # A full disk or a power failure may have left a partial line. End it first.
        data = b"\n" + line if self._torn else line
        self._torn = True
        written = os.write(self._fd, data)
        self._size += written
        if written < len(data):
            raise OSError(28, "no space left on the device")
        self._torn = False
        if durable:
            os.fdatasync(self._fd)

    def _open(self, incoming: int) -> None:
        """Make sure that the file at the path is open and has room for ``incoming`` bytes."""
        if self._fd >= 0 and (self._moved() or self._size + incoming > self._max):
            self._close_file()
        if self._fd >= 0:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        if self._path.exists() and self._path.stat().st_size + incoming > self._max:
            self._rotate()
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        self._fd = os.open(self._path, flags, 0o640)
        self._size = os.fstat(self._fd).st_size
        self._torn = self._torn or (self._size > 0 and not self._ends_with_newline())

    def _ends_with_newline(self) -> bool:
        with self._path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1) == b"\n"

    def _moved(self) -> bool:
        try:
            named, opened = os.stat(self._path), os.fstat(self._fd)
        except FileNotFoundError:
            return True
        return (named.st_ino, named.st_dev) != (opened.st_ino, opened.st_dev)

    def _rotate(self) -> None:
        for number in range(self._keep - 1, 0, -1):
            older = self._path.with_name(f"{self._path.name}.{number}")
            if older.exists():
                os.replace(older, self._path.with_name(f"{self._path.name}.{number + 1}"))
        if self._keep > 0:
            os.replace(self._path, self._path.with_name(f"{self._path.name}.1"))
        else:
            self._path.unlink()
        self._torn = False

    def _close_file(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
