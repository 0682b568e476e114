"""Servers with responses that the test determines, and remote engines that use them."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from runtime.engines.base import InputSpec
from runtime.engines.golden import GoldenVectors
from runtime.engines.remote.connection import RemoteConnection, RemoteSettings
from runtime.engines.remote.engine import RemoteEngine
from tests.support.fakes import SIZE, FakeEngine
from tests.support.models.engine_contract import random_batch

INPUTS = (InputSpec("rgb", "uint8", (SIZE, SIZE, 3)), InputSpec("ir", "uint8", (SIZE, SIZE, 1)))


OPENED: list[RemoteConnection] = []


def linked(url: str, **settings: Any) -> RemoteConnection:
    made = RemoteConnection(RemoteSettings(url, **settings))
    OPENED.append(made)
    return made


def golden() -> GoldenVectors:
    """Return golden vectors with the fake engine's scores of two pairs."""
    batch = random_batch(FakeEngine(), 2, seed=1)
    scores = FakeEngine().infer(batch)
    return GoldenVectors(batch, {"int8": np.concatenate([scores.score[:, None], scores.stream_scores], 1)})


def remote(port: int, *, sha256: str = "0" * 64, scheme: str = "http", **settings: Any) -> RemoteEngine:
    to = linked(f"{scheme}://127.0.0.1:{port}", **{"timeout_s": 10.0, **settings})
    return RemoteEngine(to, "fake", INPUTS, {sha256: "model-int8-cpu"}, golden())


@contextmanager
def server(answer: Callable[[socket.socket, int], None]) -> Iterator[int]:
    """Run a server that passes each connection and its number to ``answer``."""
    listener = socket.create_server(("127.0.0.1", 0))
    open_now: list[socket.socket] = []

    def accept() -> None:
        for number in range(1000):
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            open_now.append(connection)
            threading.Thread(target=handle, args=(connection, number), daemon=True).start()

    def handle(connection: socket.socket, number: int) -> None:
        try:
            answer(connection, number)
        except OSError:
            pass
        finally:
            connection.close()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for connection in open_now:
            connection.close()
        thread.join(10)


def read_request(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65536)
        if not more:
            raise OSError
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    length = next((int(h.split(b":")[1]) for h in head.split(b"\r\n") if h.lower().startswith(b"content-length")), 0)
    while len(body) < length:
        body += connection.recv(65536)
    return head


def reply(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def link(port: int, **settings: Any) -> RemoteConnection:
    return linked(f"http://127.0.0.1:{port}", **{"timeout_s": 5.0, **settings})
