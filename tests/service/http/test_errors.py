"""Refusals of POST /liveness: each error through a real server, as a problem document."""

from __future__ import annotations

import json
import math
import socket
import threading

import httpx
import numpy as np
import pytest

from runtime.core.errors import InferenceFailed
from runtime.liveness.open import LoadedModel
from service.config.settings import LimitSettings, Settings
from tests.support.images import bomb, encode, ir_file, rgb_file, textured
from tests.support.service.liveness_requests import HEAD, check_problem, meta, pair
from tests.support.service.running_service import RunningService, running
from tests.support.waiting import until


@pytest.mark.parametrize("name", ["rgb", "ir"])
def test_missing_part(service: RunningService, name: str) -> None:
    files = pair()
    del files[name]
    assert f"'{name}'" in check_problem(service.judge(files), 422, "missing_part")["detail"]


def test_empty_part(service: RunningService) -> None:
    check_problem(service.judge({**pair(), "rgb": b""}), 422, "missing_part")


def test_unknown_part(service: RunningService) -> None:
    check_problem(service.judge({**pair(), "selfie": b"x"}), 422, "unknown_part")


@pytest.mark.parametrize("content", [b"not an image at all", b"GIF89a" + bytes(100), bytes(2000), b"%PDF-1.7 ..."])
def test_not_an_image(service: RunningService, content: bytes) -> None:
    check_problem(service.judge({**pair(), "rgb": content}), 415, "not_an_image")


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".webp"])
@pytest.mark.parametrize("kept", [0.05, 0.5, 0.98])
def test_truncated_image(service: RunningService, suffix: str, kept: float) -> None:
    whole = rgb_file(suffix=suffix)
    check_problem(service.judge({**pair(), "rgb": whole[: int(len(whole) * kept)]}), 422, "truncated_image")


def test_damaged_png(service: RunningService) -> None:
    damaged = bytearray(ir_file())
    damaged[len(damaged) // 2] ^= 0xFF
    check_problem(service.judge({**pair(), "ir": bytes(damaged)}), 422, "truncated_image")


@pytest.mark.parametrize(
    ("part", "content"),
    [
        ("rgb", encode(textured(90, (480, 640)), ".png")),
        ("rgb", encode(np.full((480, 640, 4), 90, np.uint8), ".png")),
        ("rgb", encode(np.full((480, 640, 3), 9000, np.uint16), ".png")),
        ("ir", encode(np.full((480, 640), 9000, np.uint16), ".png")),
        ("ir", encode(np.dstack([textured(60), textured(200)])[:, :, 1:4], ".png")),
    ],
    ids=["grey rgb", "rgb with alpha", "16-bit rgb", "16-bit ir", "colour ir"],
)
def test_wrong_channels(service: RunningService, part: str, content: bytes) -> None:
    assert part in check_problem(service.judge({**pair(), part: content}), 422, "wrong_channels")["detail"]


@pytest.mark.parametrize("colour", [0, 2])
def test_decompression_bomb(service: RunningService, colour: int) -> None:
    part = "rgb" if colour == 2 else "ir"
    content = bomb(colour=colour)
    assert len(content) < 1000
    check_problem(service.judge({**pair(), part: content}), 413, "image_too_large")


def test_oversize_body(service: RunningService) -> None:
    check_problem(service.judge({**pair(), "rgb": bytes(3_000_000)}), 413, "body_too_large")


def raw_request(port: int, head: str, chunks: list[bytes]) -> bytes:
    """Send exactly these bytes and return the response until the server closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(head.encode())
        try:
            for part in chunks:
                connection.sendall(part)
        except OSError:
            pass  # refused before everything was sent, as intended
        answer = b""
        try:
            while data := connection.recv(65536):
                answer += data
        except ConnectionResetError:
            pass
    return answer


def test_oversize_body_is_refused_from_its_declared_length_alone(service: RunningService) -> None:
    head = HEAD + "Content-Length: 1000000000\r\n\r\n"
    answer = raw_request(service.port, head, [])
    assert b" 413 " in answer.split(b"\r\n")[0]
    assert b"body_too_large" in answer


def test_oversize_chunked_body_without_a_length(service: RunningService) -> None:
    head = HEAD + "Transfer-Encoding: chunked\r\n\r\n"
    block = b"10000\r\n" + bytes(0x10000) + b"\r\n"
    answer = raw_request(service.port, head, [block] * 40)
    assert b" 413 " in answer.split(b"\r\n")[0]


@pytest.mark.parametrize(
    "box",
    [
        [500, 120, 200, 200],
        [-40, 120, 200, 200],
        [200, 400, 200, 200],
        [200, 120, 0, 10],
        [1e9, 1e9, 1e9, 1e9],
        [1, 2, 3, math.nan],
    ],
)
def test_face_box_outside_the_image(service: RunningService, box: list[float]) -> None:
    check_problem(service.judge({**pair(), "meta": meta(face_box=box)}), 422, "invalid_face_box")


def test_infrared_face_box_outside_its_image(service: RunningService) -> None:
    check_problem(service.judge({**pair(), "meta": meta(ir_face_box=[600, 10, 90, 90])}), 422, "invalid_face_box")


def test_no_face_fails_closed_for_a_caller_that_reads_only_the_decision(service: RunningService) -> None:
    blank = {
        "rgb": encode(np.full((480, 640, 3), 128, np.uint8)),
        "ir": encode(np.full((480, 640), 128, np.uint8), ".png"),
    }
    body = check_problem(service.judge(blank), 422, "no_face")
    assert (body["decision"], body["reasons"]) == ("uncertain", ["no_face"])


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"[]",
        b'{"face_box": [1, 2, 3]}',
        b'{"face_box": ["a", 2, 3, 4]}',
        b'{"box": [1, 2, 3, 4]}',
        b'{"rgb_timestamp_ns": -1}',
        b'{"session_id": "' + b"x" * 200 + b'"}',
        b" " * 5000,
        b"\xff\xfe",
    ],
)
def test_bad_meta(service: RunningService, content: bytes) -> None:
    check_problem(service.judge({**pair(), "meta": content}), 400, "malformed_request")


@pytest.mark.parametrize(
    ("content_type", "body", "status", "code"),
    [
        ("application/x-www-form-urlencoded", b"rgb=1", 415, "unsupported_media"),
        ("multipart/form-data", b"x", 415, "unsupported_media"),
        ("", b"x", 415, "unsupported_media"),
        ("multipart/form-data; boundary=b", b"no boundary here", 400, "malformed_request"),
        ("multipart/form-data; boundary=b", b"", 400, "malformed_request"),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="rgb"\r\n\r\nx',
            400,
            "malformed_request",
        ),
    ],
)
def test_not_multipart(service: RunningService, content_type: str, body: bytes, status: int, code: str) -> None:
    response = service.client.post("/liveness", content=body, headers={"Content-Type": content_type})
    check_problem(response, status, code)


def test_unknown_path_and_wrong_method(service: RunningService) -> None:
    check_problem(service.client.get("/nowhere"), 404, "not_found")
    response = service.client.get("/liveness")
    check_problem(response, 405, "method_not_allowed")
    assert response.headers["allow"] == "POST"


def test_a_failing_engine_gives_no_answer_that_opens(service: RunningService) -> None:
    service.engine.error = InferenceFailed("the engine is closed.")
    try:
        body = check_problem(service.judge(pair()), 503, "inference_failed")
    finally:
        service.engine.error = None
    assert body["retryable"] is True


def test_a_score_that_is_no_number_gives_no_answer(service: RunningService) -> None:
    service.engine.nan = True
    try:
        check_problem(service.judge(pair()), 503, "inference_failed")
    finally:
        service.engine.nan = False


def test_an_unexpected_error_tells_nothing_of_itself(service: RunningService, caplog: pytest.LogCaptureFixture) -> None:
    service.engine.error = RuntimeError("secret pixels 1 2 3")
    try:
        response = service.judge(pair())
    finally:
        service.engine.error = None
    check_problem(response, 500, "internal_error")
    assert "secret" not in response.text
    assert "RuntimeError" in caplog.text
    assert "secret" not in caplog.text


def test_keys() -> None:
    key = "0123456789abcdef0123"
    with running(Settings(api_key=key)) as keyed:  # type: ignore[arg-type]  # pydantic wraps it
        for headers in ({}, {"X-API-Key": "wrong"}, {"Authorization": f"Basic {key}"}, {"X-API-Key": "ü"}):
            encoded = httpx.Headers([(name.encode(), value.encode()) for name, value in headers.items()])
            response = keyed.judge(pair(), headers=encoded)
            check_problem(response, 401, "unauthorized")
            assert response.headers["www-authenticate"] == "Bearer"
            check_problem(keyed.client.get("/info", headers=encoded), 401, "unauthorized")
        assert keyed.judge(pair(), headers={"X-API-Key": key}).status_code == 200
        assert keyed.judge(pair(), headers={"Authorization": f"Bearer {key}"}).status_code == 200
        assert keyed.client.get("/livez").status_code == 200


def test_not_ready() -> None:
    hold = threading.Event()

    def load() -> LoadedModel:
        hold.wait(20)
        raise RuntimeError("never")

    with running(Settings(), load, wait=False) as starting:
        assert starting.client.get("/livez").json() == {"status": "alive"}
        ready = starting.client.get("/readyz")
        check_problem(ready, 503, "not_ready")
        assert ready.headers["retry-after"]
        check_problem(starting.judge(pair()), 503, "not_ready")
        hold.set()


def test_a_full_queue_refuses_and_recovers() -> None:
    with running(Settings(workers=1, limits=LimitSettings(queue=1))) as busy:
        busy.engine.gate = threading.Event()
        answers: list[httpx.Response] = []
        threads = [threading.Thread(target=lambda: answers.append(busy.judge(pair()))) for _ in range(4)]
        for thread in threads:
            thread.start()
        # One request runs and one waits, so two of the four are refused at once.
        until(lambda: len(answers) >= 2)
        for response in list(answers):
            assert check_problem(response, 503, "overloaded")["retryable"] is True
            assert response.headers["retry-after"]
        busy.engine.gate.set()
        for thread in threads:
            thread.join(20)
        assert sorted(response.status_code for response in answers) == [200, 200, 503, 503]
        assert busy.judge(pair()).status_code == 200


def test_every_status_is_declared(service: RunningService) -> None:
    schema = service.client.get("/openapi.json").json()
    declared = set(schema["paths"]["/liveness"]["post"]["responses"])
    assert declared >= {"200", "400", "401", "413", "415", "422", "500", "503"}
    json.dumps(schema)


def test_the_reference_page_fetches_nothing(service: RunningService) -> None:
    response = service.client.get("/", follow_redirects=True)
    assert response.url.path == "/docs"
    assert "http://" not in response.text
    assert "https://" not in response.text
    assert "synthetic faces only" in response.text
    assert "default-src 'none'" in response.headers["content-security-policy"]
