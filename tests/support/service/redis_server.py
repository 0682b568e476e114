"""Run a real Redis or Valkey on loopback for tests, with a record of everything written to it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

BINARIES = ("redis-server", "valkey-server")
MISSING = "needs Debian's redis-server (apt-get install redis-server) and the package redis"


def binaries() -> list[str]:
    """Return the servers installed on this machine."""
    return [name for name in BINARIES if shutil.which(name)]


def require_redis() -> str:
    """Return the server program to test with. Skip the test if none is installed."""
    pytest.importorskip("redis", reason=MISSING)
    found = binaries()
    if not found:
        pytest.skip(MISSING)
    return found[0]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


class RedisServer:
    """A server with its data in ``folder``. ``options``: options as in the configuration file of the server."""

    def __init__(self, folder: Path, binary: str = "redis-server", **options: str) -> None:
        self.folder, self.binary, self.options = folder, binary, options
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self.written = Written()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start the server, and wait until it responds. Existing data are loaded."""
        given = {"port": str(self.port), "bind": "127.0.0.1", "dir": str(self.folder), "save": "", **self.options}
        words = [word for name, value in given.items() for word in (f"--{name.replace('_', '-')}", value)]
        self.process = subprocess.Popen([self.binary, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 20
        while not self.answers():
            assert self.process.poll() is None, f"{self.binary} {words} ended"
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1) as line:
            line.settimeout(1)
            line.sendall(b"PING\r\n")
            # A server with a password responds like this before authentication.
            return line.recv(100).startswith((b"+PONG", b"-NOAUTH"))
        return False

    def watch(self) -> None:
        """Record every command from now on."""
        self.written.follow(self.port, self.options.get("requirepass", ""))

    def kill(self) -> None:
        """Kill the server (kill -9)."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def pause(self) -> None:
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.resume()
            self.process.kill()
            self.process.wait()

    def ask(self, *words: str | bytes) -> Any:
        """Return the response to one command."""
        import redis

        with redis.Redis(port=self.port, password=self.options.get("requirepass")) as client:
            return client.execute_command(*words)

    def _signal(self, number: int) -> None:
        assert self.process is not None
        os.kill(self.process.pid, number)


class Written:
    """Output of MONITOR from a server: every command that it executed, including those in scripts."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self._thread: threading.Thread | None = None

    def follow(self, port: int, password: str) -> None:
        line = socket.create_connection(("127.0.0.1", port), 5)
        greeting = f"AUTH {password}\r\nMONITOR\r\n" if password else "MONITOR\r\n"
        line.sendall(greeting.encode())
        stream = line.makefile("rb")
        for _ in range(2 if password else 1):
            assert stream.readline() == b"+OK\r\n"
        line.settimeout(None)
        self._thread = threading.Thread(target=self._read, args=(line, stream), daemon=True)
        self._thread.start()

    def _read(self, line: socket.socket, stream: Any) -> None:
        # The connection ends when the server does.
        with line, contextlib.suppress(OSError):
            self.lines.extend(stream)

    def end(self) -> list[bytes]:
        """Return all lines, once the server has ended."""
        if self._thread is not None:
            self._thread.join(10)
        return self.lines


@contextlib.contextmanager
def redis_server(folder: Path, binary: str = "redis-server", **options: str) -> Iterator[RedisServer]:
    """Run a server."""
    server = RedisServer(folder, binary, **options)
    try:
        server.start()
        yield server
    finally:
        server.stop()
