"""Remote scoring against our own server: the contract of all engines, and every way in which a server can fail."""

from __future__ import annotations

import json
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import SecretStr

from runtime.bundle.manifest import open_bundle
from runtime.core.errors import ConfigError, EngineUnavailable, InferenceFailed
from runtime.engines.base import InputSpec
from runtime.engines.golden import GoldenVectors
from runtime.engines.remote.connection import RemoteConnection, RemoteSettings
from runtime.engines.remote.engine import RemoteEngine
from runtime.liveness.open import open_engine, open_pipeline
from service.app import components_of
from service.auth.keys import new_key, toml_of
from service.config.settings import Settings, TlsSettings, read_settings
from service.config.trust import AuthSettings
from tests.support.fakes import SIZE, FakeEngine, loaded
from tests.support.models.engine_contract import EngineContract, Reference, random_batch
from tests.support.service.certificates import Authority
from tests.support.service.output_events import until
from tests.support.service.running_service import RunningService, running

INPUTS = (InputSpec("rgb", "uint8", (SIZE, SIZE, 3)), InputSpec("ir", "uint8", (SIZE, SIZE, 1)))


OPENED: list[RemoteConnection] = []


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    """Close every link after its test."""
    yield
    while OPENED:
        OPENED.pop().close()


def linked(url: str, **settings: Any) -> RemoteConnection:
    made = RemoteConnection(RemoteSettings(url, **settings))
    OPENED.append(made)
    return made


def golden() -> GoldenVectors:
    """Return the fake engine's scores of two pairs."""
    batch = random_batch(FakeEngine(), 2, seed=1)
    scores = FakeEngine().infer(batch)
    return GoldenVectors(batch, {"int8": np.concatenate([scores.score[:, None], scores.stream_scores], 1)})


def remote(port: int, *, sha256: str = "0" * 64, scheme: str = "http", **settings: Any) -> RemoteEngine:
    to = linked(f"{scheme}://127.0.0.1:{port}", **{"timeout_s": 10.0, **settings})
    return RemoteEngine(to, "fake", INPUTS, {sha256: "model-int8-cpu"}, golden())


class TestContract(EngineContract):
    @pytest.fixture
    def engine(self, service: RunningService) -> RemoteEngine:
        return remote(service.port)

    @pytest.fixture
    def reference(self) -> Reference:
        """Return the engine behind the server: the protocol must not change its scores."""
        behind = FakeEngine()
        return Reference(behind, random_batch(behind, 3, seed=5), 0.0)


def test_it_says_what_runs_where(service: RunningService) -> None:
    info = remote(service.port).info
    assert (info.backend, info.precision, info.device) == ("remote", "int8", f"127.0.0.1:{service.port}")
    assert info.versions == {"model": "1", "artifact": "model-int8-cpu", "backend": "fake"}


def test_another_model_is_refused(service: RunningService) -> None:
    with pytest.raises(EngineUnavailable, match="the local manifest has 111111111111"):
        remote(service.port, sha256="1" * 64)


def test_a_server_that_computes_something_else_is_refused(service: RunningService) -> None:
    service.engine.error = InferenceFailed("it burnt.")
    try:
        with pytest.raises(EngineUnavailable, match="it burnt"):
            remote(service.port, retries=0)
    finally:
        service.engine.error = None
    other = golden()
    other.scores["int8"][:] = 0.0
    with pytest.raises(EngineUnavailable, match="does not reproduce"):
        RemoteEngine(
            linked(f"http://127.0.0.1:{service.port}"),
            "fake",
            INPUTS,
            {"0" * 64: "model-int8-cpu"},
            other,
        )


def test_other_inputs_are_refused(service: RunningService) -> None:
    to = linked(f"http://127.0.0.1:{service.port}")
    for inputs in (INPUTS[:1], (INPUTS[0], InputSpec("depth", "float32", (SIZE, SIZE, 1)))):
        with pytest.raises(EngineUnavailable):
            RemoteEngine(to, "fake", inputs, {"0" * 64: "model-int8-cpu"}, golden())
    with pytest.raises(EngineUnavailable, match="no such model"):
        RemoteEngine(to, "other", INPUTS, {"0" * 64: "model-int8-cpu"}, golden())


def test_keys_and_certificates(tmp_path: Path) -> None:
    key, entry = new_key(["infer"], "kiosk")
    (tmp_path / "keys.toml").write_text(toml_of(entry))
    (tmp_path / "keys.toml").chmod(0o600)
    authority = Authority(tmp_path)
    certificate, private = authority.issue("server")
    own, own_key = authority.issue("kiosk")
    tls = TlsSettings(certificate=certificate, key=private, client_ca=authority.certificate)
    context = ssl.create_default_context(cafile=authority.certificate)
    context.load_cert_chain(own, own_key)
    with running(Settings(tls=tls, auth=AuthSettings(keys=tmp_path / "keys.toml")), verify=context) as service:
        mine: dict[str, Any] = {
            "ca": authority.certificate,
            "certificate": own,
            "certificate_key": own_key,
            "retries": 0,
        }
        engine = remote(service.port, scheme="https", key=key, **mine)
        engine.infer(random_batch(engine, 1))
        engine.close()
        with pytest.raises(EngineUnavailable, match="401"):
            remote(service.port, scheme="https", **mine)
        with pytest.raises(EngineUnavailable, match="cannot be reached"):
            remote(service.port, scheme="https", key=key, ca=authority.certificate, retries=0)
        with pytest.raises(EngineUnavailable, match="not trusted"):
            remote(service.port, scheme="https", key=key, **{**mine, "ca": None})
        with pytest.raises(EngineUnavailable, match="cannot be reached"):
            remote(service.port, key=key, retries=0, timeout_s=2)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"url": "http://192.0.2.1:8000"}, "unencrypted"),
        ({"url": "http://127.0.0.1.example:8000"}, "unencrypted"),
        ({"url": "ftp://127.0.0.1"}, "https://HOST:PORT"),
        ({"url": "127.0.0.1:8000"}, "https://HOST:PORT"),
        ({"url": "https://127.0.0.1:8000/v2"}, "https://HOST:PORT"),
        ({"url": "https://127.0.0.1:x"}, "port"),
        ({"url": "https://me:secret@127.0.0.1"}, "password"),
        ({"url": "https://127.0.0.1", "ca": Path("/nonexistent.pem")}, "nonexistent"),
        ({"url": "https://127.0.0.1", "key": "a\r\nb"}, "characters"),
    ],
)
def test_settings_that_cannot_be_used(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        RemoteConnection(RemoteSettings(**settings))
    assert "secret" not in str(caught.value)


def test_plain_http_to_elsewhere_is_the_operators_explicit_wish() -> None:
    assert RemoteConnection(RemoteSettings("http://192.0.2.1:8000", plaintext=True)).port == 8000
    assert "k" * 20 not in repr(RemoteSettings("https://192.0.2.1", key="k" * 20))


# Failing servers.


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
            until(lambda number=number: number in closed)  # type: ignore[misc]


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
            # Readable means that the client has closed.
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


# The shipped bundle, end to end.


def test_a_kiosk_scores_on_a_server_with_the_same_bundle() -> None:
    local = open_pipeline(Settings().bundle)
    with running(Settings(), lambda: open_pipeline(Settings().bundle)) as service:
        elsewhere = open_pipeline(
            Settings().bundle,
            backend="remote",
            remote=RemoteSettings(f"http://127.0.0.1:{service.port}"),
            required=True,
        )
        engine = elsewhere.pipeline.engine
        assert engine.info.backend == "remote"
        assert not engine.info.degraded
        assert elsewhere.model_sha256 == local.model_sha256
        batch = random_batch(engine, 2)
        assert np.array_equal(engine.infer(batch).score, local.pipeline.engine.infer(batch).score)
        engine.close()
    local.pipeline.engine.close()


def test_a_kiosk_whose_server_is_away_scores_by_itself_unless_that_is_forbidden() -> None:
    bundle = open_bundle(Settings().bundle)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        away = RemoteSettings(f"http://127.0.0.1:{taken.getsockname()[1]}", timeout_s=0.2, retries=0)
        with pytest.raises(EngineUnavailable, match="remote is required"):
            open_engine(bundle, backend="remote", remote=away, required=True)
        engine = open_engine(bundle, backend="remote", remote=away)
    assert engine.info.backend == "onnx-cpu"
    assert engine.info.degraded
    assert "timed out" in engine.info.reason
    engine.close()


def test_the_settings_reach_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"remote\.url"):
        read_settings(environ={"ADSN_ENGINE": "remote"})
    environ = {"ADSN_ENGINE": "remote", "ADSN_REMOTE__URL": "https://192.0.2.1", "ADSN_REMOTE__KEY": "k" * 20}
    found = read_settings(environ={**environ, "ADSN_REMOTE__TIMEOUT_MS": "500", "ADSN_REMOTE__MODEL": "other"}).remote
    assert found.key == SecretStr("k" * 20)
    assert found.engine() == RemoteSettings("https://192.0.2.1", key="k" * 20, timeout_s=0.5, model="other")
