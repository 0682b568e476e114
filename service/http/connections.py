"""Limit the number of open connections, fairly among client addresses.

When the total limit or the limit per address is reached, a connection that is waiting for a request is closed to make
room for the new one. A client that opens many idle connections therefore loses its own first, and a request in progress
is never interrupted.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Iterable
from typing import Protocol

GRACE_S = 0.25
"""Time in seconds for which a waiting connection is not closed, because its request may be on the way."""


class Connection(Protocol):
    """An open connection."""

    @property
    def address(self) -> str:
        """Group of the client's address; see `group_of`."""
        ...

    @property
    def waiting_since(self) -> float | None:
        """Loop time since which the connection has been waiting for a request; None while it has one."""
        ...

    @property
    def sent(self) -> int:
        """Number of bytes received of a request whose headers are still incomplete."""
        ...

    def make_room(self) -> None:
        """Close the connection. `Shares.leave` is called when it has closed."""
        ...


def group_of(address: str) -> str:
    """Return the group as which a client address is counted: for IPv4 the address itself, for IPv6 its /64 network.

    A single machine can use any address of its /64 network.
    """
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
    """The open connections of a server. ``most``: total limit. ``share``: limit per address."""

    def __init__(self, most: int, share: int) -> None:
        self._most, self._share = most, share
        self._open: dict[int, Connection] = {}
        self._counts: Counter[str] = Counter()

    def enter(self, new: Connection, now: float) -> str:
        """Count a new connection, and close a waiting one if a limit is reached.

        Returns why the new connection cannot stay, or an empty string if it can. Call `leave` in both cases when it has
        closed. ``now``: loop time.
        """
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
        """Remove a connection that has closed. Does nothing if it is not counted."""
        if self._open.pop(id(connection), None) is not None:
            self._counts[connection.address] -= 1
            if not self._counts[connection.address]:
                del self._counts[connection.address]

    def _longest_waiting(self, connections: Iterable[Connection], now: float) -> Connection | None:
        """Return the waiting connection to close, or None.

        It belongs to the address with the most connections. Of these, one that has sent nothing is preferred, and then
        the one that has waited longest.
        """
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
