"""The webhook with a real server: verifiable signatures, no redirects, no late deliveries."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from runtime.core.tls_files import TlsFile, server_context
from runtime.core.units import SECOND
from service.outputs.base import EventExpired, OutputError
from service.outputs.webhook import WebhookOutput, sign, verify
from tests.support.docs.pages import blocks_of
from tests.support.service.certificates import Authority
from tests.support.service.output_events import Clock, decision, other

SECRET = b"a secret of some length"


class Receiver:
    """Receiver with the requests that arrived. It responds with the given statuses in order; the last one is
    repeated."""

    def __init__(self, *statuses: int, act: Callable[[BaseHTTPRequestHandler], None] | None = None) -> None:
        self.got: list[tuple[str, dict[str, str], bytes]] = []
        self.statuses = list(statuses) or [204]
        self.act = act
        self.url = ""

    @contextmanager
    def serving(self) -> Iterator[Receiver]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.got.append((self.path, dict(self.headers), body))
                if receiver.act is not None:
                    return receiver.act(self)
                status = receiver.statuses.pop(0) if len(receiver.statuses) > 1 else receiver.statuses[0]
                self.send_response(status)
                if 300 <= status < 400:
                    self.send_header("Location", receiver.url + "elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None: ...

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        self.url = f"http://127.0.0.1:{server.server_address[1]}/hook?door=1"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            thread.join(20)
            server.server_close()


def test_a_receiver_can_tell_who_spoke_and_when() -> None:
    with Receiver().serving() as receiver:
        WebhookOutput(receiver.url, SECRET, timeout_s=20).send(decision("s3"))
    ((path, headers, body),) = receiver.got
    assert path == "/hook?door=1"
    assert headers["Idempotency-Key"] == "s3"
    told = json.loads(body)
    assert (told["decision"], told["id"]) == ("live", "s3")
    assert 0 < told["expires_in_ms"] <= 2000
    signature, now = headers["Adsn-Signature"], time.time()
    assert verify(SECRET, signature, body, now, 60)
    assert not verify(SECRET, signature, body + b" ", now, 60)
    assert not verify(b"another secret", signature, body, now, 60)
    assert not verify(SECRET, signature, body, now + 120, 60)
    assert not verify(SECRET, signature.replace("t=", "t=1"), body, now, 60)
    for wrong in ("", "t=,v1=", "v1=00", "t=x,v1=00", "t=é"):
        assert not verify(SECRET, wrong, body, now)


def test_the_signature_is_what_the_documentation_says() -> None:
    # printf '1700000000.{}' | openssl dgst -sha256 -hmac 'a secret of some length'
    assert sign(SECRET, 1700000000, b"{}") == (
        "t=1700000000,v1=9008b8e96ac884fb56cbbbb39d8c4b578c2c6de7951cbcce7f1f18311f3cd9f2"
    )


def test_the_receiver_of_the_documentation_takes_what_is_signed_and_nothing_else() -> None:
    """Check the ten lines of docs/kiosk.md, which use no code of ours."""
    (block,) = [block for block in blocks_of("docs/kiosk.md") if "def is_ours" in block.text]
    receiver: dict[str, Any] = {}
    exec(compile(block.text, block.where, "exec"), receiver)
    assert {
        name.partition(".")[0] for name in re.findall(r"^import (\S+)", block.text, re.M)
    } <= sys.stdlib_module_names
    body, now = b'{"decision": "live"}', int(time.time())
    assert receiver["is_ours"](SECRET, sign(SECRET, now, body), body)
    assert not receiver["is_ours"](SECRET, sign(SECRET, now, body), body + b" ")
    assert not receiver["is_ours"](b"another secret", sign(SECRET, now, body), body)
    assert not receiver["is_ours"](SECRET, sign(SECRET, now - 60, body), body)
    for wrong in ("", "t=,v1=", "v1=00", "t=x,v1=00", "t=é", "t", f"t={now}"):
        assert not receiver["is_ours"](SECRET, wrong, body)


def test_tls_to_a_plain_port_is_told_so() -> None:
    with Receiver().serving() as receiver, pytest.raises(OutputError, match="does not speak TLS on this port"):
        WebhookOutput(receiver.url.replace("http:", "https:"), SECRET, timeout_s=20).send(other())
    assert receiver.got == []


def test_a_plain_request_to_a_tls_port_is_told_so(tmp_path: Path) -> None:
    certificate, key = Authority(tmp_path).issue("server")
    context = server_context(TlsFile("certificate", certificate), TlsFile("key", key))

    def accept() -> None:
        connection, _ = listener.accept()
        with connection, contextlib.suppress(ssl.SSLError):
            context.wrap_socket(connection, server_side=True)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=accept)
        thread.start()
        output = WebhookOutput(f"http://127.0.0.1:{listener.getsockname()[1]}/hook", SECRET, timeout_s=20)
        with pytest.raises(OutputError, match=r"write https:// in webhook\.url"):
            output.send(decision())
        thread.join(20)


def test_a_failing_receiver_is_tried_again_with_the_same_key() -> None:
    with Receiver(503, 500, 200).serving() as receiver:
        WebhookOutput(receiver.url, SECRET, timeout_s=20).send(decision(left_s=60))
    assert len(receiver.got) == 3
    assert len({headers["Idempotency-Key"] for _, headers, _ in receiver.got}) == 1


def test_nothing_is_tried_after_it_expired() -> None:
    clock = Clock()
    event = decision(now=clock.now)

    def fail(request: BaseHTTPRequestHandler) -> None:
        clock.now += 3 * SECOND
        request.send_response(503)
        request.send_header("Content-Length", "0")
        request.end_headers()

    with Receiver(act=fail).serving() as receiver:
        hook = WebhookOutput(receiver.url, SECRET, timeout_s=20, clock=clock)
        with pytest.raises(OutputError, match="answered 503"):
            hook.send(event)
        assert len(receiver.got) == 1
        with pytest.raises(EventExpired):
            hook.send(event)
        assert len(receiver.got) == 1


def test_what_does_not_expire_is_told_once() -> None:
    with Receiver(503).serving() as receiver, pytest.raises(OutputError, match="answered 503"):
        WebhookOutput(receiver.url, SECRET, timeout_s=20).send(other())
    assert len(receiver.got) == 1


@pytest.mark.parametrize(
    ("status", "says"), [(302, "redirects are not followed"), (401, "refused the event with status")]
)
def test_a_refusal_is_final(status: int, says: str) -> None:
    with Receiver(status).serving() as receiver, pytest.raises(OutputError, match=says):
        WebhookOutput(receiver.url, SECRET, timeout_s=20).send(decision(left_s=60))
    assert len(receiver.got) == 1


def test_an_answer_by_drips_is_cut_off() -> None:
    stop = threading.Event()

    def drip(request: BaseHTTPRequestHandler) -> None:
        for sign_ in b"HTTP/1.1 200 OK" * 1000:
            if stop.wait(0.05):
                break
            try:
                request.wfile.write(bytes([sign_]))
            except OSError:
                break

    with Receiver(act=drip).serving() as receiver:
        with pytest.raises(OutputError):
            WebhookOutput(receiver.url, SECRET, timeout_s=0.5).send(other())
        stop.set()


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(OutputError, match=r"127.0.0.1: .*refused"):
        WebhookOutput(f"http://127.0.0.1:{port}/", SECRET).send(other())


def test_kinds() -> None:
    hook = WebhookOutput("https://host.example/x", SECRET, kinds=frozenset({"decision", "health"}))
    assert hook.wants(decision(made="spoof"))
    assert hook.wants(other("health"))
    assert not hook.wants(other())
