"""Browser sessions, and counts of wrong keys per address, in this process. Pure: the times are arguments.

Use both classes on the event loop only.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict

from service.store.base import SessionRecord


class Sessions:
    """Browser sessions by the digest of their token. They do not survive a restart; users then enter their key
    again."""

    def __init__(self, lifetime_s: float, limit: int = 256) -> None:
        self._lifetime_s, self._limit = lifetime_s, limit
        self._open: OrderedDict[str, tuple[SessionRecord, float]] = OrderedDict()

    def begin(self, session: str, record: SessionRecord, now_s: float) -> None:
        """Store a new session. If there are too many, the oldest ends."""
        while len(self._open) >= self._limit:
            self._open.popitem(last=False)
        self._open[session] = record, now_s + self._lifetime_s

    def find(self, session: str, now_s: float) -> SessionRecord | None:
        """Return the session unless it has ended."""
        found = self._open.get(session)
        return found[0] if found is not None and now_s < found[1] else None

    def end(self, session: str) -> None:
        """End the session if it exists."""
        self._open.pop(session, None)


class LoginFailures:
    """Counts of wrong keys per address. After ``limit`` wrong keys within ``window_s`` the address must wait until the
    window ends.

    When the table is full, the address whose last failure is oldest is removed.
    """

    def __init__(self, limit: int, window_s: float, addresses: int = 4096) -> None:
        self._limit, self._window_s, self._addresses = limit, window_s, addresses
        self._counts: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def count(self, address: str, now_s: float) -> float:
        """Count a wrong key from ``address`` and return 0. If the address must wait, count nothing and return the
        seconds."""
        wait = self.wait_s(address, now_s)
        if wait > 0:
            return wait
        who = network_of(address)
        began, count = self._counts.pop(who, (now_s, 0))
        if now_s - began >= self._window_s:
            began, count = now_s, 0
        self._make_room()
        self._counts[who] = (began, count + 1)
        return 0.0

    def _make_room(self) -> None:
        while len(self._counts) >= self._addresses:
            self._counts.popitem(last=False)

    def hold(self, address: str, wait_s: float, now_s: float) -> None:
        """Make ``address`` wait for ``wait_s``, because it has failed too often at another replica."""
        who = network_of(address)
        self._counts.pop(who, None)
        self._make_room()
        self._counts[who] = now_s + min(wait_s, self._window_s) - self._window_s, self._limit

    def wait_s(self, address: str, now_s: float) -> float:
        """Return the seconds that ``address`` must wait; 0 if it has not failed too often."""
        began, count = self._counts.get(network_of(address), (now_s, 0))
        left = began + self._window_s - now_s
        return left if count >= self._limit and left > 0 else 0.0


def network_of(address: str) -> str:
    """Return the network as which ``address`` is counted. The 2^64 IPv6 addresses that one customer has count as
    one."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv6Address):
        mapped = found.ipv4_mapped
        return str(mapped) if mapped is not None else str(ipaddress.IPv6Network((int(found) >> 64 << 64, 64)))
    return address
