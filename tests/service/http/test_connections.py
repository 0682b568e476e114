"""Connection limits: which connections are accepted, which are closed to make room, and the share of one address."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import httpx
import pytest

from service.config.settings import LimitSettings, Settings
from service.http.connections import GRACE_S, Shares, group_of
from tests.support.service.liveness_requests import HEAD, pair
from tests.support.service.running_service import RunningService, running

FEW = LimitSettings(connections=16, header_s=8, body_s=8)


@dataclass(eq=False)
class Held:
    """A connection with fixed properties. ``closed``: whether it was told to make room."""

    address: str
    waiting_since: float | None = 0.0
    sent: int = 0
    closed: bool = field(default=False)

    def make_room(self) -> None:
        self.closed = True


def test_who_has_waited_longest_makes_room() -> None:
    shares = Shares(3, 3)
    busy, early, late = Held("a", None), Held("a", 1.0), Held("a", 2.0)
    for held in (busy, early, late):
        assert shares.enter(held, 10.0) == ""
    assert shares.enter(Held("a", None), 10.0) == ""
    assert [h.closed for h in (busy, early, late)] == [False, True, False]
    assert shares.enter(Held("a", None), 10.0) == ""
    assert late.closed
    assert "more than 3 connections" in shares.enter(Held("a", None), 10.0)
    assert not busy.closed


def test_the_address_with_most_makes_room_and_silence_before_a_slow_request() -> None:
    shares = Shares(5, 4)
    mine = Held("b", 0.0)
    slow, silent = Held("a", 1.0, sent=40), Held("a", 3.0)
    others = [Held("a", None), Held("a", None)]
    for held in (mine, slow, silent, *others):
        assert shares.enter(held, 10.0) == ""
    assert shares.enter(Held("c", None), 10.0) == ""
    assert (mine.closed, slow.closed, silent.closed) == (False, False, True)


def test_a_connection_that_has_just_come_makes_no_room() -> None:
    shares = Shares(2, 2)
    new = [Held("a", 10.0), Held("a", 10.0)]
    assert [shares.enter(held, 10.0) for held in new] == ["", ""]
    refused = Held("a", None)
    assert "more than 2" in shares.enter(refused, 10.0 + GRACE_S / 2)
    shares.leave(refused)
    assert shares.enter(Held("a", None), 10.0 + GRACE_S) == ""
    assert new[0].closed


def test_one_address_has_its_share_and_no_more() -> None:
    shares = Shares(100, 4)
    busy = [Held("a", None) for _ in range(4)]
    assert [shares.enter(held, 10.0) for held in busy] == [""] * 4
    refused = Held("a", None)
    assert "more than 4 connections are open from a" in shares.enter(refused, 10.0)
    shares.leave(refused)
    assert shares.enter(Held("b", None), 10.0) == ""
    shares.leave(busy[0])
    shares.leave(busy[0])
    assert shares.enter(Held("a", None), 10.0) == ""
    assert "more than 4" in shares.enter(Held("a", None), 10.0)


@pytest.mark.parametrize(
    ("address", "group"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8::ffff:1", "2001:db8::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("", ""),
    ],
)
def test_what_counts_as_one_address(address: str, group: str) -> None:
    assert group_of(address) == group


@pytest.fixture(scope="module")
def small() -> Iterator[RunningService]:
    with running(Settings(limits=FEW)) as found:
        yield found


def open_from(stack: contextlib.ExitStack, service: RunningService, address: str, said: bytes = b"") -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", service.port), timeout=20, source_address=(address, 0))
    stack.enter_context(connection)
    connection.sendall(said)
    return connection


def judged(service: RunningService) -> int:
    """Return the status that a legitimate caller gets on a new connection, or 0 if the connection was closed."""
    with contextlib.suppress(httpx.TransportError), httpx.Client(base_url=service.client.base_url, timeout=20) as fresh:
        return fresh.post("/liveness", files=pair()).status_code
    return 0


@pytest.mark.parametrize("said", [b"", b"POST /liveness HTTP/1.1\r\nHost: local"])
def test_three_hundred_that_say_nothing_keep_nobody_out(small: RunningService, said: bytes) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(300):
            open_from(stack, small, "127.0.0.1", said)
        began = time.monotonic()
        for _ in range(3):
            while judged(small) != 200:
                assert time.monotonic() - began < FEW.header_s / 2, "it waited for the others to be timed out"


def test_slow_bodies_from_one_address_keep_no_other_out(small: RunningService) -> None:
    slow = HEAD.encode() + b"Content-Length: 1000\r\n\r\n--b\r\n"
    with contextlib.ExitStack() as stack:
        held = [open_from(stack, small, "127.0.0.2", slow) for _ in range(40)]
        assert judged(small) == 200
        refused = 0
        for connection in held:
            connection.settimeout(0.2)
            with contextlib.suppress(TimeoutError, ConnectionResetError):
                refused += connection.recv(65536).startswith(b"HTTP/1.1 503")
        assert refused >= 40 - FEW.connections
