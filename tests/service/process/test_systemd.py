"""Notifications over a real datagram socket, named by a path and in the abstract namespace."""

from __future__ import annotations

import socket
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.process.systemd import Notifier


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    name = str(tmp_path / "notify") if request.param == "path" else f"@adsn-{uuid.uuid4().hex}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind("\0" + name[1:] if name.startswith("@") else name)
        listener.settimeout(10)
        yield listener, name


def test_lines_arrive_as_one_datagram(manager: tuple[socket.socket, str]) -> None:
    listener, name = manager
    notifier = Notifier({"NOTIFY_SOCKET": name})
    notifier.send("READY=1", "STATUS=30.0 pairs/s")
    assert listener.recv(1000) == b"READY=1\nSTATUS=30.0 pairs/s"


def test_a_manager_that_does_not_read_or_is_gone_stops_nothing(manager: tuple[socket.socket, str]) -> None:
    listener, name = manager
    notifier = Notifier({"NOTIFY_SOCKET": name})
    for _ in range(2000):
        notifier.send("WATCHDOG=1")
    assert listener.recv(1000) == b"WATCHDOG=1"
    listener.close()
    notifier.send("WATCHDOG=1")


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": "/nowhere"}])
def test_without_a_manager_nothing_is_raised(environ: dict[str, str]) -> None:
    Notifier(environ).send("READY=1")
