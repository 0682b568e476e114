"""System calls of the V4L2 reader: a small interface and its implementation. Tests use a fake one."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import grp
import mmap
import os
import select
import time
from collections.abc import Collection
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

ByteArray = NDArray[np.uint8]


class MappedBuffer(Protocol):
    """A mapped buffer of the driver. ``view``: uint8 [length]; do not use it after `close`."""

    @property
    def view(self) -> ByteArray: ...

    def close(self) -> None: ...


class Kernel(Protocol):
    """System calls. All raise `OSError` with the kernel's errno."""

    def open(self, path: str) -> int: ...

    def close(self, fd: int) -> None: ...

    def ioctl(self, fd: int, request: int, argument: ctypes.Structure | ctypes.c_int32) -> None:
        """Call the driver, which may change ``argument``."""
        ...

    def map(self, fd: int, length: int, offset: int) -> MappedBuffer: ...

    def wait(self, fds: Collection[int], timeout_s: float) -> set[int]:
        """Wait until some of ``fds`` have data or an error, and return them; empty after ``timeout_s``."""
        ...

    def waker(self) -> tuple[int, int]:
        """Create a pipe and return its read end and its write end. Writing to the second ends a `wait` on the first."""
        ...

    def wake(self, fd: int) -> None: ...

    def now_ns(self) -> int:
        """Return the time of CLOCK_MONOTONIC."""
        ...

    def nodes(self) -> list[str]:
        """Return the paths of all video nodes, /dev/video0 first."""
        ...

    def links(self, folder: str) -> dict[str, str]:
        """Return the links in a folder of /dev/v4l: name → node."""
        ...

    def realpath(self, path: str) -> str:
        """Return the path with all links resolved."""
        ...

    def parameter(self, module: str, name: str) -> str | None:
        """Return a kernel module's parameter, or None if it does not exist."""
        ...

    def group_of(self, path: str) -> str:
        """Return the name of the group that owns a node."""
        ...

    def holders(self, path: str) -> list[str]:
        """Return the other programs that have a node open, as far as this user can see: name and process number."""
        ...


class _MmapBuffer:
    def __init__(self, memory: mmap.mmap) -> None:
        self._memory = memory
        self._view: ByteArray | None = np.frombuffer(memory, np.uint8)

    @property
    def view(self) -> ByteArray:
        assert self._view is not None
        return self._view

    def close(self) -> None:
        self._view = None
        # If a view of the memory still exists, it stays mapped until that view is deleted.
        with contextlib.suppress(BufferError):
            self._memory.close()


class LinuxKernel:
    """`Kernel` of this machine."""

    def open(self, path: str) -> int:
        return os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)

    def close(self, fd: int) -> None:
        os.close(fd)

    def ioctl(self, fd: int, request: int, argument: ctypes.Structure | ctypes.c_int32) -> None:
        while True:
            try:
                fcntl.ioctl(fd, request, argument)
                return
            except InterruptedError:
                continue

    def map(self, fd: int, length: int, offset: int) -> MappedBuffer:
        return _MmapBuffer(mmap.mmap(fd, length, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE, offset=offset))

    def wait(self, fds: Collection[int], timeout_s: float) -> set[int]:
        poll = select.poll()
        for fd in fds:
            poll.register(fd, select.POLLIN)
        return {fd for fd, _ in poll.poll(max(0.0, timeout_s) * 1000)}

    def waker(self) -> tuple[int, int]:
        return os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def wake(self, fd: int) -> None:
        os.write(fd, b"\0")

    def now_ns(self) -> int:
        return time.monotonic_ns()

    def nodes(self) -> list[str]:
        names = [n for n in os.listdir("/dev") if n.startswith("video") and n[5:].isdigit()]
        return [f"/dev/{n}" for n in sorted(names, key=lambda n: int(n[5:]))]

    def links(self, folder: str) -> dict[str, str]:
        try:
            return {name: os.path.realpath(f"{folder}/{name}") for name in sorted(os.listdir(folder))}
        except OSError:
            return {}

    def realpath(self, path: str) -> str:
        return os.path.realpath(path)

    def parameter(self, module: str, name: str) -> str | None:
        try:
            with open(f"/sys/module/{module}/parameters/{name}", encoding="ascii") as file:
                return file.read().strip()
        except (OSError, UnicodeDecodeError):
            return None

    def group_of(self, path: str) -> str:
        gid = -1
        try:
            gid = os.stat(path).st_gid
            return grp.getgrgid(gid).gr_name
        except (OSError, KeyError):
            return "video" if gid < 0 else str(gid)

    def holders(self, path: str) -> list[str]:
        found, real = [], os.path.realpath(path)
        for process in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError, UnicodeDecodeError):
                folder = f"/proc/{process}/fd"
                if process == str(os.getpid()):
                    continue
                if any(os.readlink(f"{folder}/{fd}") == real for fd in os.listdir(folder)):
                    with open(f"/proc/{process}/comm", encoding="utf-8") as file:
                        found.append(f"{file.read().strip()} (process {process})")
        return found
