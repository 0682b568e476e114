"""Open connections, shared fairly among client addresses.

When the total or the per-address limit is reached, a connection that is waiting for a request is closed in favour of
the new one. A client that opens idle connections therefore takes them from itself first, and never from a client with a
request in progress.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Iterable
from typing import Protocol

GRACE_S = 0.25
"""A connection that has waited for less is not closed: its request may be on the way."""


class Connection(Protocol):
    """Interface of an open connection."""

    @property
    def address(self) -> str:
        """The client's address; see `group_of`."""
        ...

    @property
    def waiting_since(self) -> float | None:
        """Loop time since which it has waited for a request; None while it has one."""
        ...

    @property
    def sent(self) -> int:
        """Bytes received of a request whose headers are still incomplete."""
        ...

    def make_room(self) -> None:
        """Close the connection; `Shares.leave` follows."""
        ...


def group_of(address: str) -> str:
    """Return the group in which a client address is counted: the address itself for IPv4, its /64 network for IPv6,
    because one machine can use any address of its /64."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return address
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((found, 64), strict=False))


class Shares:
    """The connections of one server. ``most``: limit in total. ``share``: limit per address."""

    def __init__(self, most: int, share: int) -> None:
        self._most, self._share = most, share
        self._open: dict[int, Connection] = {}
        self._counts: Counter[str] = Counter()

    def enter(self, new: Connection, now: float) -> str:
        """Count a new connection, and close a waiting one if a limit is reached. Return why the new one cannot stay;
        empty if it can. `leave` follows in both cases. ``now``: loop time."""
        own = self._counts[new.address] >= self._share
        full = len(self._open) >= self._most
        self._open[id(new)] = new
        self._counts[new.address] += 1
        if not (own or full):
            return ""
        others = [found for found in self._open.values() if found is not new]
        found = self._longest_waiting([c for c in others if c.address == new.address] if own else others, now)
        if found is not None:
            self.leave(found)
            found.make_room()
            return ""
        if own:
            return f"more than {self._share} connections are open from {new.address}. Try again later."
        return f"more than {self._most} connections are open. Try again later."

    def leave(self, connection: Connection) -> None:
        """Remove a connection that has ended. Does nothing if it is not counted."""
        if self._open.pop(id(connection), None) is not None:
            self._counts[connection.address] -= 1
            if not self._counts[connection.address]:
                del self._counts[connection.address]

    def _longest_waiting(self, connections: Iterable[Connection], now: float) -> Connection | None:
        """Return the waiting connection to close: from the address with the most connections, preferably one that
        has sent nothing, then the one that has waited longest."""
        found: Connection | None = None
        best: tuple[int, bool, float] | None = None
        for connection in connections:
            since = connection.waiting_since
            if since is None or now - since < GRACE_S:
                continue
            key = (-self._counts[connection.address], connection.sent > 0, since)
            if best is None or key < best:
                found, best = connection, key
        return found
