"""Remote scoring: every way in which a server can fail."""

from __future__ import annotations

import json
import select
import socket
import threading
import time
from functools import partial
from typing import Any

import pytest

from runtime.core.errors import EngineUnavailable, InferenceFailed
from service.app import components_of
from service.config.settings import Settings
from tests.support.fakes import SIZE, FakeEngine, loaded
from tests.support.models.engine_contract import random_batch
from tests.support.service.remote_servers import (
    link,
    read_request,
    remote,
    reply,
    server,
)
from tests.support.service.running_service import RunningService, running
from tests.support.waiting import until


def test_a_connection_is_used_again() -> None:
    numbers: list[int] = []

    def answer(connection: socket.socket, number: int) -> None:
        while True:
            read_request(connection)
            numbers.append(number)
            connection.sendall(reply(b"{}"))

    with server(answer) as port:
        found = link(port)
        for _ in range(3):
            assert found.exchange("GET", "/", limit=10).body == b"{}"
        found.close()
    assert numbers == [0, 0, 0]


def test_a_connection_that_the_server_closed_costs_no_attempt() -> None:
    closed: list[int] = []

    def answer(connection: socket.socket, number: int) -> None:
        read_request(connection)
        connection.sendall(reply(b"{}"))
        connection.close()
        closed.append(number)

    with server(answer) as port:
        found = link(port, retries=0)
        for number in range(4):
            assert found.exchange("GET", "/", limit=10).status == 200
            until(partial(lambda number: number in closed, number))


@pytest.mark.parametrize("failure", ["busy", "reset", "nothing"])
def test_it_asks_again_as_often_as_it_may(failure: str) -> None:
    asked: list[int] = []

    def answer(connection: socket.socket, number: int) -> None:
        read_request(connection)
        asked.append(number)
        if number < 2:
            if failure == "busy":
                connection.sendall(reply(b"", "503 Busy", "Connection: close"))
            elif failure == "reset":
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            return
        connection.sendall(reply(b"{}"))

    with server(answer) as port:
        assert link(port, retries=2).exchange("GET", "/", limit=10).status == 200
    assert len(asked) == 3
    asked.clear()
    with server(answer) as port:
        engine = link(port, retries=1)
        if failure == "busy":
            assert engine.exchange("GET", "/", limit=10).status == 503
        else:
            with pytest.raises(Exception, match=r".") as caught:
                engine.exchange("GET", "/", limit=10)
            assert type(caught.value).__name__ == "Unreachable"
    assert len(asked) == 2


@pytest.mark.parametrize("where", ["before", "headers", "body"])
def test_a_server_that_drips_holds_nobody(where: str) -> None:
    def answer(connection: socket.socket, number: int) -> None:
        read_request(connection)
        whole = reply(b"x" * 10_000)
        start = {"before": 0, "headers": 10, "body": whole.index(b"xxx")}[where]
        connection.sendall(whole[:start])
        for i in range(start, len(whole)):
            connection.sendall(whole[i : i + 1])
            # The socket becomes readable when the client has closed it.
            if select.select([connection], [], [], 0.05)[0]:
                return

    with server(answer) as port:
        began = time.monotonic()
        with pytest.raises(Exception, match="timed out"):
            link(port, timeout_s=0.4, retries=5).exchange("GET", "/", limit=1 << 20)
        assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n" + b"x" * 4096,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000,
    ],
)
def test_what_is_no_answer_is_none(raw: bytes) -> None:
    def answer(connection: socket.socket, number: int) -> None:
        read_request(connection)
        connection.sendall(raw)

    with server(answer) as port, pytest.raises(Exception, match=r".") as caught:
        link(port, retries=0).exchange("GET", "/", limit=1024)
    assert type(caught.value).__name__ == "Unreachable"


def test_a_redirect_is_not_followed(service: RunningService) -> None:
    def answer(connection: socket.socket, number: int) -> None:
        read_request(connection)
        connection.sendall(reply(b"", "307 Elsewhere", f"Location: http://127.0.0.1:{service.port}/v2/models/fake"))

    with server(answer) as port, pytest.raises(EngineUnavailable, match="307"):
        remote(port)


METADATA: dict[str, Any] = {
    "name": "fake",
    "versions": ["1"],
    "inputs": [
        {"name": "rgb", "datatype": "UINT8", "shape": [-1, SIZE, SIZE, 3]},
        {"name": "ir", "datatype": "UINT8", "shape": [-1, SIZE, SIZE, 1]},
    ],
    "outputs": [{"name": n, "datatype": "FP32", "shape": [-1]} for n in ("score", "stream_scores", "attention")],
}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b"\xff",
        b"null",
        json.dumps(METADATA).encode(),
        json.dumps({**METADATA, "parameters": 7}).encode(),
    ],
)
def test_a_server_that_does_not_say_which_model_it_runs_is_refused(body: bytes) -> None:
    def answer(connection: socket.socket, number: int) -> None:
        while True:
            head = read_request(connection)
            connection.sendall(reply(b"{}" if b"/config" in head else body))

    with server(answer) as port, pytest.raises(EngineUnavailable):
        remote(port)


def test_a_triton_states_the_model_in_its_configuration() -> None:
    """Parse Triton's /config response, in which parameters are objects with a string_value."""

    def answer(connection: socket.socket, number: int) -> None:
        while True:
            head = read_request(connection)
            if b"POST" in head:
                connection.sendall(reply(json.dumps({"error": "far enough \x1b[31m"}).encode(), "400 No"))
            elif b"/config" in head:
                connection.sendall(
                    reply(json.dumps({"parameters": {"model_sha256": {"string_value": "0" * 64}}}).encode())
                )
            else:
                connection.sendall(reply(json.dumps(METADATA).encode()))

    with server(answer) as port, pytest.raises(EngineUnavailable, match=r"far enough \?\[31m"):
        remote(port)


def test_a_server_that_was_gone_proves_itself_again(service: RunningService) -> None:
    """Check the engine again after a reconnect, through a relay that can be cut."""
    cut = threading.Event()
    proofs: list[bytes] = []

    def answer(connection: socket.socket, number: int) -> None:
        with socket.create_connection(("127.0.0.1", service.port)) as onward:

            def back() -> None:
                try:
                    while data := onward.recv(65536):
                        connection.sendall(data)
                except OSError:
                    return

            threading.Thread(target=back, daemon=True).start()
            while data := connection.recv(65536):
                if cut.is_set():
                    return
                if data.startswith(b"GET"):
                    proofs.append(data)
                onward.sendall(data)

    with server(answer) as port:
        engine = remote(port, retries=0)
        assert len(proofs) == 1
        engine.infer(random_batch(engine, 1))
        cut.set()
        for _ in range(2):
            with pytest.raises(InferenceFailed):
                engine.infer(random_batch(engine, 1))
        cut.clear()
        engine.infer(random_batch(engine, 1))
        assert len(proofs) == 2
        engine.infer(random_batch(engine, 1))
        assert len(proofs) == 2
        engine.close()


def test_a_model_that_is_exchanged_under_way_gives_no_score() -> None:
    engines = [FakeEngine(), FakeEngine()]
    digest = ["0" * 64]

    def load() -> Any:
        made = loaded(engines.pop())
        return type(made)(made.pipeline, made.manifest, digest[0])

    with running(Settings(), load) as service:
        engine = remote(service.port)
        engine.infer(random_batch(engine, 1))
        model = components_of(service.app).model
        before, digest[0] = model.loaded, "1" * 64
        model.reload()
        until(lambda: model.loaded is not before)
        with pytest.raises(InferenceFailed, match="now runs another model"):
            engine.infer(random_batch(engine, 1))
        with pytest.raises(InferenceFailed, match="has not been verified again"):
            engine.infer(random_batch(engine, 1))
