"""Cheap refusals: slow senders, endless headers, too many connections, too many requests."""

from __future__ import annotations

import contextlib
import json
import select
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from service.config.settings import LimitSettings, Settings
from tests.support.service.liveness_requests import HEAD, check_problem, pair
from tests.support.service.running_service import RunningService, running
from tests.support.waiting import until

QUICK = LimitSettings(body_bytes=300_000, header_s=0.4, body_s=0.6, header_bytes=4096, connections=60)


@pytest.fixture(scope="module")
def strict() -> Iterator[RunningService]:
    with running(Settings(limits=QUICK)) as found:
        yield found


def connect(service: RunningService) -> socket.socket:
    return socket.create_connection(("127.0.0.1", service.port), timeout=20)


def read_all(connection: socket.socket) -> bytes:
    answer = b""
    with contextlib.suppress(ConnectionResetError):
        while data := connection.recv(65536):
            answer += data
    return answer


def problem_in(answer: bytes, status: int, code: str) -> None:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ".encode()), answer[:200]
    assert b"application/problem+json" in head
    assert b"connection: close" in head.lower()
    assert json.loads(body)["code"] == code


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.parametrize("sent", [b"", b"POST /liv", b"POST /liveness HTTP/1.1\r\nHost: x\r\nX-Slow: ", b"\r\n\r\n"])
def test_headers_that_do_not_come(strict: RunningService, sent: bytes) -> None:
    with connect(strict) as connection:
        connection.sendall(sent)
        problem_in(read_all(connection), 408, "request_timeout")


def test_headers_a_byte_at_a_time(strict: RunningService) -> None:
    with connect(strict) as connection:
        began = time.monotonic()
        with contextlib.suppress(OSError):
            for byte in HEAD.encode() * 20:
                connection.send(bytes([byte]))
                answered, _, _ = select.select([connection], [], [], 0.02)
                if answered or time.monotonic() - began > 15:
                    break
        assert time.monotonic() - began < 15


def test_a_body_that_does_not_come(strict: RunningService) -> None:
    with connect(strict) as connection:
        connection.sendall(HEAD.encode() + b"Content-Length: 1000\r\n\r\n--b\r\n")
        problem_in(read_all(connection), 408, "request_timeout")


def test_a_second_request_that_does_not_come(strict: RunningService) -> None:
    with connect(strict) as connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        connection.sendall(b"GET /livez HTTP")
        problem_in(read_all(connection), 408, "request_timeout")


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X-Many: 1\r\n" * 10_000,
        b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: " + b"a" * 500_000,
        b"GET /" + b"a" * 500_000,
    ],
)
def test_headers_without_end(strict: RunningService, head: bytes) -> None:
    before = resident_bytes()
    with connect(strict) as connection:
        with contextlib.suppress(OSError):
            connection.sendall(head)
        answer = read_all(connection)
        # A client that is still sending when the service closes may lose the response.
        if answer:
            problem_in(answer, 431, "request_header_too_large")
    assert resident_bytes() - before < 50 << 20
    assert strict.judge(pair()).status_code == 200


def test_what_is_no_http(strict: RunningService) -> None:
    with connect(strict) as connection:
        connection.sendall(b"\x16\x03\x01\x02\x00 this is no request\r\n\r\n")
        answer = read_all(connection)
        problem_in(answer, 400, "malformed_request")
        assert b"a TLS connection arrived at a plain HTTP port" in answer
    with connect(strict) as connection:
        connection.sendall(b"\x00\x01 nor is this\r\n\r\n")
        answer = read_all(connection)
        problem_in(answer, 400, "malformed_request")
        assert b"this is not an HTTP/1.1 request" in answer


def test_a_gigabyte_that_is_only_claimed(strict: RunningService) -> None:
    with connect(strict) as connection:
        connection.sendall(HEAD.encode() + b"Content-Length: 1000000000\r\n\r\n")
        problem_in(read_all(connection), 413, "body_too_large")


def test_a_body_a_little_too_large_learns_why(strict: RunningService) -> None:
    response = strict.client.post("/liveness", content=bytes(900_000), headers={"Content-Type": "multipart/form-data"})
    check_problem(response, 413, "body_too_large")


def test_chunks_of_a_byte_are_counted(strict: RunningService) -> None:
    before = resident_bytes()
    with connect(strict) as connection:
        with contextlib.suppress(OSError):
            connection.sendall(HEAD.encode() + b"Transfer-Encoding: chunked\r\n\r\n")
            for _ in range(80):
                connection.sendall(b"1\r\nx\r\n" * 10_000)
        answer = read_all(connection)
    assert not answer or b" 413 " in answer.split(b"\r\n")[0]
    assert resident_bytes() - before < 50 << 20
    assert strict.judge(pair()).status_code == 200


def test_more_connections_than_allowed(strict: RunningService) -> None:
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(connect(strict)) for _ in range(200)]
        refused = 0
        for connection in held:
            connection.settimeout(5)
            with contextlib.suppress(TimeoutError, ConnectionResetError):
                answer = connection.recv(65536)
                refused += answer.startswith(b"HTTP/1.1 503")
        assert refused >= 200 - QUICK.connections - 5

    def answers() -> bool:
        with contextlib.suppress(httpx.TransportError):
            return strict.judge(pair()).status_code == 200
        return False

    until(answers)


def test_a_caller_that_asks_too_often_waits() -> None:
    with running(Settings(limits=LimitSettings(rate_per_s=0.5, burst=2))) as slow:
        assert [slow.judge(pair()).status_code for _ in range(2)] == [200, 200]
        refused = slow.judge(pair())
        body = check_problem(refused, 429, "rate_limited")
        assert body["retryable"] is True
        assert 1 <= int(refused.headers["retry-after"]) <= 2
        assert slow.client.get("/livez").status_code == 200


def test_a_part_over_its_limit() -> None:
    with running(Settings(limits=LimitSettings(part_bytes=20_000))) as service:
        check_problem(service.judge({**pair(), "rgb": bytes(20_001)}), 413, "body_too_large")


def test_an_engine_that_hangs_is_answered_for() -> None:
    with running(Settings(workers=1, limits=LimitSettings(judge_s=0.3, queue=2))) as stuck:
        stuck.engine.gate = threading.Event()
        check_problem(stuck.judge(pair()), 503, "inference_failed")
        until(lambda: stuck.client.get("/readyz").status_code != 200)
        ready = stuck.client.get("/readyz")
        names = [condition["name"] for condition in check_problem(ready, 503, "not_ready")["conditions"]]
        assert "engine_stuck" in names
        stuck.engine.gate.set()
        until(lambda: stuck.client.get("/readyz").status_code == 200)
        assert stuck.judge(pair()).status_code == 200
