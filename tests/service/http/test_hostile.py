"""Thousands of damaged and forged requests: none may cause a 500, stop the service, or change the response to a valid
request.

The requests are seeded, and a failure gives the number that reproduces its request.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from service.config.settings import LimitSettings, Settings
from tests.support.images import bomb, encode, ir_file, rgb_file, textured
from tests.support.service.running_service import RunningService, running

BOUNDARY = b"a-boundary-0123456789"
DECLARED = {200, 400, 403, 409, 413, 415, 422, 503}
SOME_MIB = 150
GOOD_META = b'{"face_box": [200, 120, 200, 200]}'
SUFFIXES = (".jpg", ".png", ".webp", ".bmp")
SMALL = {
    suffix: (encode(textured(120, (96, 128, 3)), suffix), encode(textured(180, (96, 128)), suffix))
    for suffix in SUFFIXES
}
METAS = (
    b"",
    b"{}",
    b"null",
    b"[" * 2000,
    b'{"a":' * 600,
    b'{"face_box": [1e999, 0, 1, 1]}',
    b'{"face_box": [0, 0, 128, 96]}',
    b'{"face_box": [10, 10, 64, 64]}',
    b'{"face_box": [-1e308, 1e308, 1e308, 1e308]}',
    b'{"face_box": [0.0000001, 0, 1, 1]}',
    b'{"rgb_timestamp_ns": 9223372036854775807, "ir_timestamp_ns": 0, "clock": "unix"}',
    b'{"rgb_timestamp_ns": 99999999999999999999999}',
    b'{"clock": "wall"}',
    b'{"session_id": "\\u0000\\ud800"}',
    b'{"session_id": "line\\nfeed"}',
    b'{"nonce": "short"}',
    b'{"nonce": "aaaaaaaaaaaaaaaa"}',
    b"\xef\xbb\xbf{}",
    b"\xff\xfe{\0}\0",
)


def part(name: bytes, data: bytes, headers: bytes = b"") -> bytes:
    head = b'--%s\r\nContent-Disposition: form-data; name="%s"\r\n%s\r\n' % (BOUNDARY, name, headers)
    return head + data + b"\r\n"


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + b"--" + BOUNDARY + b"--\r\n"


def damaged(data: bytes, rng: random.Random) -> bytes:
    """Return ``data`` with damage: changed bits or bytes, or a part removed, repeated or zeroed."""
    out = bytearray(data)
    if not out:
        return data
    for _ in range(rng.choice((1, 1, 2, 8, 64))):
        at = rng.randrange(len(out) or 1)
        # Hit headers more often, because they control the decoder.
        if rng.random() < 0.5:
            at = min(at, rng.randrange(64))
        match rng.randrange(6):
            case 0:
                out[at : at + 1] = bytes([out[at] ^ (1 << rng.randrange(8))]) if out else b""
            case 1:
                out[at : at + 1] = bytes([rng.choice((0, 0xFF, 0x7F, 0x80, rng.randrange(256)))])
            case 2:
                del out[at : at + rng.choice((1, 4, 300))]
            case 3:
                out[at:at] = out[at : at + rng.choice((1, 4, 300))]
            case 4:
                out[at : at + 4] = rng.choice((b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\0\0\xff\xff"))
            case _:
                del out[at:]
        if not out:
            break
    return bytes(out)


def pictures(rng: random.Random) -> bytes:
    """Return a request with images that are damaged, of a different type than their name says, or decompression
    bombs."""
    rgb, ir = SMALL[rng.choice(SUFFIXES)]
    if rng.random() < 0.1:
        rgb = bomb(rng.choice((1, 4000, 60000)), rng.choice((1, 4000, 60000)))
    which = rng.randrange(3)
    rgb, ir = (damaged(rgb, rng) if which != 1 else rgb), (damaged(ir, rng) if which != 0 else ir)
    return form(part(b"rgb", rgb), part(b"ir", ir), part(b"meta", b'{"face_box": [16, 8, 80, 80]}'))


def metas(rng: random.Random) -> bytes:
    """Return damaged metadata with valid images."""
    rgb, ir = SMALL[".jpg"]
    meta = rng.choice(METAS) if rng.random() < 0.5 else damaged(GOOD_META, rng)
    return form(part(b"rgb", rgb), part(b"ir", ir), part(b"meta", meta))


def structure(rng: random.Random) -> bytes:
    """Return a damaged multipart structure."""
    rgb, ir = SMALL[".png"]
    whole = form(
        part(b"rgb", rgb[:200]),
        part(
            rng.choice((b"ir", b"rgb", b"", b"depth", b'i"r', b"\xff", b"a" * 5000)),
            ir[:200],
            b"X: y\r\n" * rng.choice((0, 1, 40)),
        ),
    )
    return damaged(whole, rng)


def noise(rng: random.Random) -> bytes:
    """Return a body that is not a form."""
    return rng.randbytes(rng.choice((0, 1, 50, 5000)))


KINDS: tuple[Callable[[random.Random], bytes], ...] = (pictures, pictures, pictures, metas, structure, noise)
TYPES = (
    b"multipart/form-data; boundary=" + BOUNDARY,
    b"multipart/form-data; boundary=" + b"x" * 300,
    b'multipart/form-data; boundary="',
    b"multipart/form-data; boundary=; boundary=a",
    b"multipart/form-data; boundary*=utf-8''%ff",
    b"application/json",
    b"application/json; charset=utf-7",
    b"text/plain",
    b"",
)


class Attacker:
    """Attacker that sends hostile requests on one connection, with valid ones in between."""

    def __init__(self, service: RunningService) -> None:
        self._service = service
        self._connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=30)
        self._honest = form(part(b"rgb", rgb_file()), part(b"ir", ir_file()), part(b"meta", GOOD_META))
        self.seen: dict[int, int] = {}

    def post(self, body: bytes, kind: bytes, query: str = "") -> tuple[int, bytes]:
        self._connection.putrequest("POST", "/liveness" + query)
        self._connection.putheader("Content-Type", kind)
        self._connection.putheader("Content-Length", str(len(body)))
        self._connection.endheaders(body)
        response = self._connection.getresponse()
        return response.status, response.read()

    def attack(self, seed: int) -> None:
        rng = random.Random(seed)
        body = rng.choice(KINDS)(rng)
        kind = TYPES[0] if rng.random() < 0.93 else rng.choice(TYPES)
        query = "" if rng.random() < 0.95 else rng.choice(("?explain=true", "?explain=%00", "?explain=1&explain=2"))
        status, answer = self.post(body, kind, query)
        self.seen[status] = self.seen.get(status, 0) + 1
        assert status in DECLARED, f"request {seed}: {status} {answer[:300]!r}"
        found = json.loads(answer)
        if status == 200:
            assert found["score"] is None or 0 <= found["score"] <= 1
        else:
            assert found["status"] == status
            assert found.get("decision") != "live"

    def close(self) -> None:
        self._connection.close()

    def check_honest(self, expected: float | None) -> float:
        status, answer = self.post(self._honest, TYPES[0])
        assert status == 200, answer
        body = json.loads(answer)
        assert body["decision"] == "live"
        assert expected is None or body["score"] == expected
        score: float = body["score"]
        return score


def resident_mib() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20


@pytest.fixture(scope="module")
def target() -> Iterator[RunningService]:
    with running(Settings(limits=LimitSettings(body_bytes=2_000_000))) as found:
        yield found


def siege(target: RunningService, first: int, count: int) -> Attacker:
    attacker = Attacker(target)
    with contextlib.closing(attacker):
        _besiege(attacker, first, count)
    assert target.client.get("/readyz").status_code == 200
    return attacker


def _besiege(attacker: Attacker, first: int, count: int) -> None:
    expected = attacker.check_honest(None)
    for seed in range(first, first + 50):
        attacker.attack(seed)
    before = resident_mib()
    for seed in range(first + 50, first + count):
        attacker.attack(seed)
        if seed % 100 == 0:
            attacker.check_honest(expected)
    attacker.check_honest(expected)
    assert resident_mib() - before < SOME_MIB


def test_a_thousand_hostile_requests(target: RunningService) -> None:
    attacker = siege(target, 0, 1000)
    # The attack reaches every layer: the form parser refuses some, the decoder others, and some are scored.
    assert {200, 400, 413, 415, 422} <= set(attacker.seen)


@pytest.mark.hostile
@pytest.mark.timeout(1800)
def test_twelve_thousand_hostile_requests(target: RunningService) -> None:
    attacker = siege(target, 10_000, 12_000)
    print(dict(sorted(attacker.seen.items())))
