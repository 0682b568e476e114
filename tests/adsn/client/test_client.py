"""The client against an ``adsn-serve`` process, and against broken servers."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from adsn.client import AsyncClient, Client, ConnectionFailed, InvalidAnswer, RequestRefused, new_nonce
from runtime.capture.simulated.rig import SyntheticRig
from runtime.core.errors import ConfigError
from service.config.settings import Settings
from tests.support.images import encode, ir_file, rgb_file
from tests.support.service.certificates import Authority
from tests.support.service.running_service import running
from tests.support.service.serving_process import serving


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Image files of a simulated person."""
    folder = tmp_path_factory.mktemp("images")
    pair = SyntheticRig(seed=107, subject=9000).next().pair
    (folder / "rgb.png").write_bytes(encode(pair.image("rgb")[:, :, ::-1], ".png"))
    (folder / "ir.png").write_bytes(encode(pair.image("ir"), ".png"))
    return folder / "rgb.png", folder / "ir.png"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(tmp_path_factory.mktemp("log") / "log", "--rig", "synthetic") as (_, found):
        yield found


def test_paths_and_bytes_are_assessed(address: str, images: tuple[Path, Path]) -> None:
    rgb, ir = images
    with Client(address) as client:
        answer = client.assess(rgb, str(ir), meta={"session_id": "door-7", "nonce": new_nonce()})
        assert answer.is_live
        assert (answer.session_id, answer.replayed, answer.pair.source) == ("door-7", False, "upload")
        assert answer.modalities.ir is not None
        assert answer.modalities.ir.illuminated
        assert answer.modalities.depth is None
        again = client.assess(rgb.read_bytes(), ir.read_bytes())
        assert (again.score, again.session_id) == (answer.score, None)
        assert again.request_id != answer.request_id


def test_an_attack_is_an_answer(address: str, images: tuple[Path, Path]) -> None:
    dark = encode(SyntheticRig(seed=107, subject=9000).next().pair.image("ir") // 16, ".png")
    with Client(address) as client:
        answer = client.assess(images[0], dark)
    assert answer.decision != "live"
    assert answer.reasons
    assert not answer.is_live


def test_pictures_of_where_the_network_looked(address: str, images: tuple[Path, Path]) -> None:
    with Client(address) as client:
        answer = client.assess(*images, explain=True)
        assert answer.explain is not None
        assert set(answer.explain) == {"rgb", "ir"}


def test_a_refusal_names_its_code(address: str) -> None:
    with Client(address) as client:
        with pytest.raises(RequestRefused, match=r"^no_face: ") as caught:
            client.assess(rgb_file(), ir_file())
        assert (caught.value.status, caught.value.problem_code) == (422, "no_face")
        assert caught.value.problem is not None
        assert caught.value.problem.request_id
        with pytest.raises(RequestRefused, match="missing_part"):
            client.assess(rgb_file())


def test_a_nonce_counts_once(address: str, images: tuple[Path, Path]) -> None:
    nonce = new_nonce()
    with Client(address) as client:
        client.assess(*images, meta={"nonce": nonce})
        with pytest.raises(RequestRefused, match="replayed_nonce"):
            client.assess(*images, meta={"nonce": nonce})


def test_a_key_of_ones_own_brings_the_same_answer_in_another_process(address: str, images: tuple[Path, Path]) -> None:
    answers = []
    for _ in range(2):
        with Client(address) as client:
            answers.append(client.assess(*images, meta={"nonce": "n-0123456789"}, idempotency_key="visit-1"))
    first, second = answers
    assert (first.replayed, second.replayed) == (False, True)
    assert second == first.model_copy(update={"replayed": True})
    with Client(address) as client, pytest.raises(RequestRefused, match="idempotency_conflict"):
        client.assess(images[0], images[0], idempotency_key="visit-1")


def test_the_cameras_of_the_service(address: str) -> None:
    with Client(address) as client:
        answer = client.assess_camera(timeout_ms=5000, session_id="door-7")
        assert (answer.pair.source, answer.session_id) == ("camera", "door-7")


def test_how_the_service_is(address: str) -> None:
    with Client(address) as client:
        assert client.ready().ready
        info = client.info()
        assert info.model.modalities == ("rgb", "ir")
        assert "camera" in info.capabilities


def test_the_asynchronous_client_does_the_same(address: str, images: tuple[Path, Path]) -> None:
    async def ask() -> None:
        async with AsyncClient(address) as client:
            answers = await asyncio.gather(*(client.assess(*images) for _ in range(4)))
            assert [answer.decision for answer in answers] == ["live"] * 4
            assert len({answer.score for answer in answers}) == 1
            assert (await client.assess_camera(timeout_ms=5000)).pair.source == "camera"
            assert (await client.ready()).ready
            assert (await client.info()).contract_version == "1.0"
            with pytest.raises(RequestRefused, match="no_face"):
                await client.assess(rgb_file(), ir_file())

    asyncio.run(ask())


def test_a_key_and_a_rate_of_the_service(tmp_path: Path, images: tuple[Path, Path]) -> None:
    config = tmp_path / "adsn.toml"
    config.write_text('api_key = "a-key-of-some-length-0123456789"\n[limits]\nrate_per_s = 1\nburst = 1\n')
    with serving(tmp_path / "log", "--config", str(config)) as (_, address):
        with Client(address) as client, pytest.raises(RequestRefused) as refused:
            client.assess(*images)
        assert (refused.value.status, refused.value.problem_code) == (401, "unauthorized")
        with Client(address, api_key="a-key-of-some-length-0123456789", retries=0) as client:
            client.assess(*images)
            with pytest.raises(RequestRefused) as refused:
                client.assess(*images)
            assert (refused.value.problem_code, refused.value.retry_after_s) == ("rate_limited", 1)
        began = time.monotonic()
        with Client(address, api_key="a-key-of-some-length-0123456789") as client:
            assert client.assess(*images).is_live
        assert time.monotonic() - began > 0.9


def test_tls_to_a_plain_port_and_the_other_way_round(address: str, images: tuple[Path, Path], tmp_path: Path) -> None:
    with Client(address.replace("http:", "https:")) as client:
        for call in (client.info, lambda: client.assess(*images)):
            with pytest.raises(ConnectionFailed, match=r"speaks plain HTTP on this port: use http://"):
                call()
    authority = Authority(tmp_path)
    certificate, key = authority.issue("server")
    settings = Settings.model_validate({"tls": {"certificate": certificate, "key": key}})
    trust = ssl.create_default_context(cafile=authority.certificate)
    with running(settings, verify=trust) as secure, Client(f"http://127.0.0.1:{secure.port}", retries=0) as client:
        for call in (client.info, lambda: client.assess(*images)):
            with pytest.raises(ConnectionFailed, match=r"If the server speaks TLS on this port, use https://\."):
                call()


class Scripted:
    """A server that reads complete requests and follows its script: bytes to send, or None to close the connection."""

    def __init__(self, *script: bytes | None) -> None:
        self.script = list(script)
        self.bodies: list[bytes] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.listener.settimeout(20)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        for step in self.script:
            connection, _ = self.listener.accept()
            with connection:
                data = b""
                while b"\r\n\r\n" not in data:
                    data += connection.recv(65536)
                head, _, body = data.partition(b"\r\n\r\n")
                lines = dict(line.split(b": ", 1) for line in head.lower().split(b"\r\n")[1:])
                while len(body) < int(lines.get(b"content-length", b"0")):
                    body += connection.recv(65536)
                self.bodies.append(lines.get(b"idempotency-key", b"") + body)
                if step is not None:
                    connection.sendall(step)

    def close(self) -> None:
        self._thread.join(30)
        self.listener.close()


@contextmanager
def scripted(*script: bytes | None) -> Iterator[Scripted]:
    server = Scripted(*script)
    try:
        yield server
    finally:
        server.close()


def response(body: bytes, status: bytes = b"200 OK", headers: bytes = b"") -> bytes:
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\nConnection: close\r\n%s\r\n%s" % (status, len(body), headers, body)


def answer_from(address: str, images: tuple[Path, Path]) -> bytes:
    files = {"rgb": images[0].read_bytes(), "ir": images[1].read_bytes()}
    return httpx.post(f"{address}/liveness", files=files, timeout=20).content


def test_an_answer_that_was_lost_is_fetched_again_with_the_same_key_and_bytes(
    address: str, images: tuple[Path, Path]
) -> None:
    good = response(answer_from(address, images))
    with scripted(None, good) as server, Client(server.address) as client:
        assert client.assess(*images).is_live
    first, second = server.bodies
    assert first == second


def test_without_a_key_it_is_not(images: tuple[Path, Path]) -> None:
    with scripted(None) as server, Client(server.address) as client:
        with pytest.raises(ConnectionFailed) as caught:
            client.assess(*images, meta={"nonce": new_nonce()}, explain=True)
        assert caught.value.sent
    assert len(server.bodies) == 1


def test_a_service_that_is_just_starting_is_tried_again(address: str, images: tuple[Path, Path]) -> None:
    good = response(answer_from(address, images))
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with Client(f"http://127.0.0.1:{port}", retries=0) as client, pytest.raises(ConnectionFailed) as caught:
        client.assess(*images)
    assert not caught.value.sent

    def listen() -> None:
        time.sleep(0.3)
        with socket.create_server(("127.0.0.1", port)) as listener:
            connection, _ = listener.accept()
            with connection:
                while connection.recv(65536)[-2:] != b"\r\n":
                    pass
                connection.sendall(good)

    later = threading.Thread(target=listen, daemon=True)
    later.start()
    with Client(f"http://127.0.0.1:{port}", retries=8) as client:
        assert client.assess(*images, meta={"nonce": new_nonce()}, idempotency_key="k").is_live
    later.join(20)


def test_a_service_that_does_not_answer_costs_no_more_than_the_timeout(images: tuple[Path, Path]) -> None:
    async def ask(url: str) -> None:
        async with AsyncClient(url, timeout_s=0.3) as client:
            await client.assess(*images)

    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"http://127.0.0.1:{mute.getsockname()[1]}"
        began = time.monotonic()
        with Client(url, timeout_s=0.3) as client, pytest.raises(ConnectionFailed, match=r"no answer within 0\.3 s"):
            client.assess(*images)
        with pytest.raises(ConnectionFailed, match=r"no answer within 0\.3 s"):
            asyncio.run(ask(url))
        assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("reply", "error", "words"),
    [
        (response(b"<html>"), InvalidAnswer, "contract version 1"),
        (response(b'{"decision": "live"}'), InvalidAnswer, "contract_version"),
        (response(b"", b"302 Found", b"Location: http://127.0.0.1:1/\r\n"), RequestRefused, "redirects"),
        (response(b"busy", b"502 Bad Gateway"), RequestRefused, "something other than adsn-serve"),
        (b"garbage\r\n\r\n", ConnectionFailed, "illegal status line"),
    ],
)
def test_what_is_no_answer_is_an_error(
    images: tuple[Path, Path], reply: bytes, error: type[Exception], words: str
) -> None:
    with scripted(reply) as server, Client(server.address, retries=0) as client, pytest.raises(error, match=words):
        client.assess(*images)


def test_an_answer_to_another_session_is_an_error(address: str, images: tuple[Path, Path]) -> None:
    good = response(answer_from(address, images))
    with scripted(good) as server, Client(server.address) as client, pytest.raises(InvalidAnswer, match="for session"):
        client.assess(*images, meta={"session_id": "door-7"})


def test_a_client_of_ones_own_is_used_and_left_open(address: str) -> None:
    with httpx.Client() as http:
        with Client(address, http=http) as client:
            assert client.ready().ready
        assert not http.is_closed


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://door.example:8000", "faces would cross the network unencrypted"),
        ("ftp://127.0.0.1", "is http://HOST:PORT"),
        ("127.0.0.1:8000", "is http://HOST:PORT"),
        ("http://me:secret@127.0.0.1", "Pass api_key"),
        ("http://127.0.0.1:99999", "Port out of range"),
    ],
)
def test_an_address_that_cannot_be_used_is_a_configuration_error(url: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Client(url)


def test_plaintext_to_another_machine_is_asked_for() -> None:
    with Client("http://door.example:8000/", plaintext=True) as client:
        assert repr(client) == "<Client http://door.example:8000>"
    with pytest.raises(ConfigError, match="api_key"):
        Client(api_key="two\nlines")
