"""A full disk."""

from __future__ import annotations

import errno
import os


class FullDisk:
    """`os.write` on a disk with ``room`` bytes left."""

    def __init__(self, room: int) -> None:
        self.room = room
        self._write = os.write

    def __call__(self, file: int, data: bytes) -> int:
        if self.room <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        taken = self._write(file, data[: self.room])
        self.room -= taken
        return taken
