"""Open connections, shared out among the addresses that they come from.

When there are as many as are accepted, or as many as one address may have, a connection that waits for a request makes
room for the new one: a client that opens connections and says nothing takes them from itself first, and from nobody who
asks for something.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Iterable
from typing import Protocol

GRACE_S = 0.25
"""A connection that has waited for less makes no room: its request is on the way."""


class Connection(Protocol):
    """What is known of an open connection."""

    @property
    def address(self) -> str:
        """Where it comes from; see `group_of`."""
        ...

    @property
    def waiting_since(self) -> float | None:
        """Loop time since which it has waited for a request, None while it has one."""
        ...

    @property
    def sent(self) -> int:
        """Bytes of a request whose headers are not whole yet."""
        ...

    def make_room(self) -> None:
        """Close it; `Shares.leave` follows."""
        ...


def group_of(address: str) -> str:
    """What a client's address is counted as: an IPv4 address itself, of IPv6 the network of 64 bits, because one
    machine has as many addresses in it as it likes."""
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
    """The connections of one server. ``most``: of all addresses together; ``share``: of one of them."""

    def __init__(self, most: int, share: int) -> None:
        self._most, self._share = most, share
        self._open: dict[int, Connection] = {}
        self._counts: Counter[str] = Counter()

    def enter(self, new: Connection, now: float) -> str:
        """Count a new connection, and close one that waits where there is no place. Returns why it cannot stay, empty
        when it can; `leave` follows either way. ``now``: loop time."""
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
            return f"more than {self._share} connections are open from {new.address}."
        return f"more than {self._most} connections are open."

    def leave(self, connection: Connection) -> None:
        """A connection has ended; nothing happens to one that is not counted."""
        if self._open.pop(id(connection), None) is not None:
            self._counts[connection.address] -= 1
            if not self._counts[connection.address]:
                del self._counts[connection.address]

    def _longest_waiting(self, connections: Iterable[Connection], now: float) -> Connection | None:
        """Of those that wait: of the address that has most, one that has sent nothing before one that has, and then the
        one that has waited longest."""
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
