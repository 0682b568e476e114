"""Features of HTTP and MIME that clients use."""

from __future__ import annotations

import base64
import json
import socket
from typing import Any

import pytest

from service.config.settings import LimitSettings, Settings
from tests.support.images import ir_file, rgb_file
from tests.support.service.liveness_requests import BOX, check_problem
from tests.support.service.running_service import RunningService, running

BOUNDARY = b"x1y2"
PARTS = {"rgb": rgb_file(), "ir": ir_file(), "meta": json.dumps({"face_box": BOX}).encode()}


def exchange(service: RunningService, request: bytes, *, shut: bool = False) -> bytes:
    with socket.create_connection(("127.0.0.1", service.port), timeout=20) as connection:
        connection.sendall(request)
        if shut:
            connection.shutdown(socket.SHUT_WR)
        answer = b""
        while data := connection.recv(65536):
            answer += data
        return answer


@pytest.mark.parametrize(
    "path", ["/livez", "/readyz", "/metrics", "/info", "/openapi.json", "/docs", "/v2/health/ready"]
)
def test_head_says_what_get_says_without_its_body(service: RunningService, path: str) -> None:
    got, head = service.client.get(path), service.client.head(path)
    assert head.status_code == got.status_code == 200
    assert head.content == b""
    assert head.headers.get("content-type") == got.headers.get("content-type")
    if path not in ("/metrics", "/readyz"):
        assert head.headers["content-length"] == got.headers["content-length"]
    assert head.headers["x-content-type-options"] == "nosniff"


def test_head_of_what_has_no_get_or_no_end(service: RunningService) -> None:
    for path, status in (("/liveness", 405), ("/events", 405), ("/nothing", 404)):
        assert service.client.head(path).status_code == status


def test_head_asks_for_a_key_as_get_does() -> None:
    with running(Settings.model_validate({"api_key": "k" * 24}), wait=False) as service:
        assert service.client.head("/livez").status_code == 200
        assert service.client.head("/info").status_code == 401


@pytest.mark.parametrize("coding", ["gzip", "br", "GZIP", "identity, gzip"])
def test_a_compressed_body_is_refused_before_it_is_read(service: RunningService, coding: str) -> None:
    headers = {"content-encoding": coding}
    check_problem(service.judge({"rgb": b"x"}, headers=headers), 415, "unsupported_media")
    check_problem(
        service.client.post("/liveness", json={"source": "camera"}, headers=headers), 415, "unsupported_media"
    )
    check_problem(
        service.client.post("/v2/models/fake/infer", content=b"{}", headers=headers), 415, "unsupported_media"
    )


def test_identity_is_no_compression(service: RunningService) -> None:
    assert service.judge(dict(PARTS), headers={"content-encoding": "identity"}).status_code == 200


@pytest.mark.parametrize(
    ("target", "host", "status"),
    [
        ("/info", "localhost", 200),
        ("/info", "evil.example", 421),
        ("http://evil.example/info", "localhost", 421),
        ("http://evil.example:80/info", "127.0.0.1", 421),
        ("http://localhost:8000/info", "evil.example", 200),
        ("http://127.0.0.1/info?a=b", "evil.example", 200),
        ("http://[::1]:8000/info", "evil.example", 200),
    ],
)
def test_the_authority_of_an_absolute_target_is_the_host(
    service: RunningService, target: str, host: str, status: int
) -> None:
    answer = exchange(service, f"GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    assert answer.startswith(f"HTTP/1.1 {status} ".encode()), answer[:200]


def body(preamble: bytes = b"", padding: bytes = b"", end: bytes = b"\r\n", epilogue: bytes = b"") -> bytes:
    parts = b""
    for name, data in PARTS.items():
        head = b'Content-Disposition: form-data; name="%s"' % name.encode()
        parts += b"--%s%s\r\n%s\r\n\r\n%s\r\n" % (BOUNDARY, padding, head, data)
    return preamble + parts + b"--%s--%s%s%s" % (BOUNDARY, padding, end, epilogue)


@pytest.mark.parametrize(
    "sent",
    [
        body(),
        body(end=b""),
        body(preamble=b"This is a message in MIME format.\r\n"),
        body(preamble=b"\r\n"),
        body(preamble=b"--x1y\r\n--other\r\n\r\n"),
        body(padding=b" "),
        body(padding=b" \t "),
        body(padding=b"\t", end=b""),
        body(epilogue=b"and a last word"),
        body(preamble=b"first\r\n", padding=b"  ", epilogue=b"last\r\n"),
    ],
)
def test_what_rfc_2046_allows_around_boundaries(service: RunningService, sent: bytes) -> None:
    headers = {"content-type": f"multipart/form-data; boundary={BOUNDARY.decode()}"}
    response = service.client.post("/liveness", content=sent, headers=headers)
    assert response.status_code == 200, response.text
    assert response.json()["face"]["bbox"] == BOX


@pytest.mark.parametrize("sent", [b"", b"no boundary at all", b"\r\n--x1y2", body()[:-8], body(padding=b" x")])
def test_what_it_does_not_allow(service: RunningService, sent: bytes) -> None:
    headers = {"content-type": f"multipart/form-data; boundary={BOUNDARY.decode()}"}
    check_problem(service.client.post("/liveness", content=sent, headers=headers), 400, "malformed_request")


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


@pytest.mark.parametrize(
    "sent",
    [
        {"rgb": encoded(PARTS["rgb"]), "ir": encoded(PARTS["ir"])},
        {"source": "camera", "image": "QUJD"},
        {"images": [1, 2]},
        {"other": "A" * 20_000},
    ],
)
def test_pictures_in_json_are_told_where_they_go(service: RunningService, sent: dict[str, Any]) -> None:
    found = check_problem(service.client.post("/liveness", json=sent), 400, "malformed_request")
    assert "multipart/form-data" in found["detail"]
    assert "/docs" in found["detail"]


@pytest.mark.parametrize("prefix", ["", "data:image/jpeg;base64,"])
def test_a_part_in_base64_is_told_so(service: RunningService, prefix: str) -> None:
    parts = {**PARTS, "rgb": (prefix + encoded(PARTS["rgb"])).encode()}
    found = check_problem(service.judge(parts), 415, "not_an_image")
    assert "base64" in found["detail"]


@pytest.mark.parametrize(
    ("meta", "says"),
    [
        ({"facebox": [1, 2, 3, 4]}, "meta: facebox: unknown key; did you mean face_box?"),
        ({"rgb_timestamp": 5}, "did you mean rgb_timestamp_ns?"),
        ({"quux": 1}, "the keys are session_id, nonce, face_box"),
    ],
)
def test_a_misspelt_key_of_meta_is_told_the_nearest_one(
    service: RunningService, meta: dict[str, Any], says: str
) -> None:
    found = check_problem(service.judge({**PARTS, "meta": json.dumps(meta).encode()}), 400, "malformed_request")
    assert says in found["detail"]


def test_a_misspelt_key_of_a_request_for_the_cameras_is_told_too(service: RunningService) -> None:
    sent = {"source": "camera", "timeout": 5}
    found = check_problem(service.client.post("/liveness", json=sent), 400, "malformed_request")
    assert "did you mean timeout_ms?" in found["detail"]
    long = check_problem(
        service.client.post("/liveness", json={"source": "camera", "x" * 9000: 1}), 400, "malformed_request"
    )
    assert len(long["detail"]) < 300


def test_meta_may_begin_with_a_byte_order_mark(service: RunningService) -> None:
    marked = {**PARTS, "meta": b"\xef\xbb\xbf" + PARTS["meta"]}
    assert service.judge(dict(marked)).json()["face"]["bbox"] == BOX


def test_a_client_that_has_said_all_it_wants_to_say_gets_its_answer(service: RunningService) -> None:
    sent = body()
    head = (
        f"POST /liveness HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary={BOUNDARY.decode()}"
        f"\r\nContent-Length: {len(sent)}\r\n\r\n"
    ).encode()
    answer = exchange(service, head + sent, shut=True)
    assert answer.startswith(b"HTTP/1.1 200 "), answer[:200]
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["face"]["bbox"] == BOX
    assert exchange(service, b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n", shut=True).startswith(b"HTTP/1.1 200 ")


def test_a_client_that_leaves_inside_its_request_gets_none(service: RunningService) -> None:
    cut = (
        b"POST /liveness HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
    )
    assert exchange(service, cut, shut=True) == b""
    assert exchange(service, cut[:30], shut=True) == b""


def test_a_half_closed_connection_does_not_stay() -> None:
    with running(Settings(limits=LimitSettings(idle_s=60))) as service:
        answer = exchange(service, b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n", shut=True)
        # `exchange` has returned, so the service has closed the connection, long before the idle timeout.
        assert answer.endswith(b'{"status": "alive"}')
